r"""Does a query find its partner? Recall at k: the share of queries with a right one among the k of
the gallery that are most similar to them.

A gallery item is right where it has the query's key (the number of its caption, say), so equal
captions are never held against each other. By chance, with r right ones among m,

.. math:: R@k = 1 - \binom{m - r}{k} \Big/ \binom{m}{k} .

Reference: Karpathy & Fei-Fei (2015), Deep Visual-Semantic Alignments for Generating Image
Descriptions, arXiv 1412.2306, section 4.1.
"""

import torch
from torch import Tensor

from gradlogp.metrics.base import Measure, binomial_error


def recall_at(k: int, similarity: Tensor, keys: Tensor, gallery: Tensor) -> Measure:
    """R@k of similarity [n, m] between queries with `keys` [n] and a gallery with keys [m].

    Ties are counted against the query: where all is equally similar, nothing is found but by k = m.
    """
    n, m = similarity.shape
    if keys.shape != (n,) or gallery.shape != (m,) or not 1 <= k <= m:
        raise ValueError(
            f"expected keys [{n}] of the queries, [{m}] of the gallery and k from 1 to {m}, got"
            f" {list(keys.shape)}, {list(gallery.shape)} and {k}."
        )
    right = keys[:, None] == gallery
    best = similarity.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    above = ((similarity >= best) & ~right).sum(1)
    value = float(((above < k) & right.any(1)).double().mean())
    return Measure(
        f"recall_at_{k}",
        value,
        binomial_error(value, n),
        n,
        "higher",
        f"{n} queries in a gallery of {m}, binomial standard error over queries",
        trivial=float(by_chance(k, right.sum(1), m).mean()),
    )


def by_chance(k: int, right: Tensor, m: int) -> Tensor:
    """The chance that k of m drawn without replacement hold one of the `right` ones [n], [n]."""
    wrong = (m - right).double()
    missed = (_log_ways(wrong, k) - _log_ways(torch.full_like(wrong, m), k)).exp()
    return 1 - torch.where(wrong >= k, missed, 0.0)


def _log_ways(n: Tensor, k: int) -> Tensor:
    """ln of n! / (n - k)!, how many ways there are to draw k of n in turn; n below k is nonsense."""
    return torch.lgamma(n + 1) - torch.lgamma(n - k + 1)

r"""One site of a discrete x at a time: the conditionals that Gibbs sampling draws from and
pseudo-likelihood scores.

A site with K states can move on by 1 ... K - 1 of them, :math:`x \to x_{i+s}`, and its law given
all other sites needs no Z:

.. math:: p(x_{i+s} \mid x_{-i}) = \frac{e^{E(x) - E(x_{i+s})}}{\sum_r e^{E(x) - E(x_{i+r})}}, \qquad s = 0 \dots K - 1 .

Two layouts. *Binary*: x [B, *shape] holds the two `values` (low, high), every entry is a site, and
K = 2. *One-hot*, with `values` None: x [B, *sites, K], and the last axis holds one 1. Any field
with an energy will do; it is never asked between the states.
"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

Values = tuple[float, float] | None  # of a binary site; None: one-hot along the last axis


def check_values(values: Values) -> Values:
    if values is not None and values[0] >= values[1]:
        raise ValueError(
            f"a binary site has values (low, high) with low < high, got {values}; None means"
            " one-hot."
        )
    return values


def check_states(x: Tensor, values: Values) -> Tensor:
    """x as it is; ValueError where its entries are not states (looked at on the CPU only, where
    looking costs no host sync).
    """
    if x.device.type != "cpu":
        return x
    low, high = (0.0, 1.0) if values is None else values
    if not ((x == low) | (x == high)).all():
        raise ValueError(
            f"expected entries {low:g} and {high:g} only, got others, from {x.min():.4g} to"
            f" {x.max():.4g}; binarise x, or name the two `values`."
        )
    if values is None and (x.ndim < 3 or not (x.sum(-1) == 1).all()):
        raise ValueError(
            "expected one-hot x of shape [B, *sites, K] with a single 1 along the last axis, got"
            f" {list(x.shape)}; use torch.nn.functional.one_hot, or name the two `values` of"
            " binary x."
        )
    return x


def states(x: Tensor, values: Values) -> int:
    """K, the states of one site."""
    return x.shape[-1] if values is None else 2


def sites(x: Tensor, values: Values) -> int:
    """The sites of one example."""
    return x[0].numel() // (x.shape[-1] if values is None else 1)


def moved(x: Tensor, at: Tensor, values: Values) -> Tensor:
    """x [B, *shape] with each of the sites `at` [B, m] moved on by 1 ... K - 1 states, [B, m, K -
    1, *shape].
    """
    k, (b, m) = states(x, values), at.shape
    rows = x.reshape(b, 1, 1, sites(x, values), -1).expand(b, m, k - 1, -1, -1).clone()
    index = at[:, :, None, None, None].expand(b, m, k - 1, 1, rows.shape[-1])
    here = rows.gather(3, index)
    rows.scatter_(3, index, _on(here, k) if values is None else sum(values) - here)
    return rows.reshape(b, m, k - 1, *x.shape[1:])


def _on(here: Tensor, k: int) -> Tensor:
    """One-hot rows [B, m, K - 1, 1, K], moved on by 1 ... K - 1 along the third axis."""
    shift = torch.arange(1, k, device=here.device)[:, None]
    return one_hot((here.argmax(-1) + shift) % k, k).to(here.dtype)

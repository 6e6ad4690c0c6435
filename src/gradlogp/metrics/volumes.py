r"""Sets of binary volumes compared by how much of them overlaps, d(a, b) = 1 - IoU(a, b).

    COV   = share of the real that are the nearest real one of some generated      all modes drawn: high
    MMD   = mean over the real of the distance to the nearest generated            each is drawn well: low
    1-NNA = share of all whose nearest other is of its own kind                    .5 = cannot be told apart

COV does not see bad examples beside good ones, nor MMD missing modes that are near others; 1-NNA
sees both. Equal n and m in every row of a table: all three depend on both.

References: Achlioptas et al. (2018), Learning Representations and Generative Models for 3D Point
Clouds, arXiv 1707.02392, section 2 (COV, MMD); Yang et al. (2019), PointFlow, arXiv 1906.12320,
section 5.1 (1-NNA; what the others miss).
"""

import torch
from torch import Tensor

from gradlogp.metrics.base import Measure, binomial_error, finite, standard_error


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of each of a [n, *shape] with each of b [m, *shape], [n, m]; two
    empty volumes are equal. Bool, or 0 and 1.
    """
    a, b = _bits(a, "a"), _bits(b, "b")
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"volumes need one shape, but have {a.shape[1]} and {b.shape[1]} voxels; pass both of"
            " one data set."
        )
    both = a @ b.T
    union = a.sum(1)[:, None] + b.sum(1) - both
    return torch.where(union > 0, both / union.clamp(min=1), 1.0)


def volume_sets(real: Tensor, fake: Tensor) -> list[Measure]:
    """COV, MMD and 1-NNA by IoU of binary volumes [n, *shape] and [m, *shape]; as many real as
    generated are used.
    """
    n = min(len(real), len(fake))
    if n < 3:
        raise ValueError(f"sets of volumes need 3 of each kind or more, got {n}; draw more.")
    real, fake = real[:n], fake[:n]
    across = 1 - iou(real, fake)
    covered = torch.zeros(n, dtype=torch.float64).index_fill(0, across.argmin(0), 1.0)
    nearest = across.min(1).values
    alike = told_apart(1 - iou(real, real), 1 - iou(fake, fake), across)
    about = f"distance 1 - IoU, {n} real and {n} generated volumes, "
    coverage, nna = float(covered.mean()), float(alike.double().mean())
    binomial = "binomial standard error"
    return [
        Measure("cov_iou", coverage, binomial_error(coverage, n), n, "higher", about + binomial),
        Measure(
            "mmd_iou",
            float(nearest.mean()),
            standard_error(nearest),
            n,
            "lower",
            about + "standard error over the real",
        ),
        Measure(
            "1nna_iou", nna, binomial_error(nna, 2 * n), n, "lower", about + binomial, 0.5, 1.0
        ),
    ]


def told_apart(real: Tensor, fake: Tensor, across: Tensor) -> Tensor:
    """Whether the nearest other of each of all is of its own kind, [n + m] bool, by the distances
    within the real [n, n], within the generated [m, m] and across [n, m].
    """
    own = torch.cat([_others(real).amin(1), _others(fake).amin(1)])
    return own < torch.cat([across.amin(1), across.amin(0)])


def _others(distances: Tensor) -> Tensor:
    return distances.clone().fill_diagonal_(torch.inf)


def _bits(x: Tensor, name: str) -> Tensor:
    flat = finite(x.flatten(1), name, torch.float32)
    if not ((flat == 0) | (flat == 1)).all():
        raise ValueError(
            f"`{name}` needs binary volumes, 0 and 1, but holds others; threshold them first."
        )
    return flat

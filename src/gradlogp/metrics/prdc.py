r"""Precision, recall, density and coverage: who lies in whose k-nearest-neighbour balls.

    B_k(x) = ball around x that reaches its k-th neighbour in its own sample

    precision = share of fakes in some real ball        recall   = share of reals in some fake ball
    density   = mean over fakes of (real balls) / k     coverage = share of reals whose ball holds a fake

For two samples of one law E density = 1 and E coverage = 1 - prod_{i=1..k} (n - i) / (n + m - i),
whatever the law. Precision and recall have no such constant, but leaving out one real point at a
time gives their identity value without bias: the share of reals that are among the k neighbours of
some other real.

References: Kynkaanniemi et al. (2019), arXiv 1904.06991, eq. 1-2; Naeem et al. (2020), arXiv
2002.09797, eq. 3-5.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics.base import Measure, feature_pair, standard_error

CELLS = 2**23  # distances held at once: 64 MiB


def expected_coverage(n: int, m: int, k: int = 5) -> float:
    """Coverage of n real by m generated points of the same law."""
    return 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))


def prdc(real: Tensor, fake: Tensor, k: int = 5, network: str = "unnamed") -> dict[str, Measure]:
    """All four from one table of distances between features [n, d] and [m, d], in blocks of 64 MiB.

    Spreads are standard errors over the judged points with the balls held fixed: at n = m some 1.1
    to 1.4 times too small, more where n and m are far apart. The floor of recall is that of n
    fakes; it moves by .02 for m = n / 3.
    """
    if k < 1:
        raise UserError(f"`k` needs to be at least 1, but is {k}; pass k=5 as the papers do.")
    real, fake = feature_pair(real, fake, at_least=k + 1)
    (n, d), m = real.shape, len(fake)
    reach_real, reached = _balls(real, k)
    reach_fake, _ = _balls(fake, k)
    hits = real.new_zeros(m)
    covered = []
    recalled = []
    for rows, distance in _blocks(real, fake):
        inside = distance <= reach_real[rows, None]
        hits += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((distance <= reach_fake).any(1))
    found = {
        "precision": (hits > 0, "generated", reached),
        "recall": (torch.cat(recalled), "reals", reached),
        "density": (hits / k, "generated", 1.0),
        "coverage": (torch.cat(covered), "reals", expected_coverage(n, m, k)),
    }
    protocol = (
        f"k = {k} nearest neighbours, {d} features of network {network}, {n} real and {m}"
        " generated, standard error: "
    )
    return {
        name: Measure(
            name,
            float(each.double().mean()),
            standard_error(each),
            m,
            "higher",
            f"{protocol}standard error over the {judged} with the balls fixed",
            floor,
        )
        for name, (each, judged, floor) in found.items()
    }


def precision(real: Tensor, fake: Tensor, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["precision"]


def recall(real: Tensor, fake: Tensor, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["recall"]


def density(real: Tensor, fake: Tensor, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["density"]


def coverage(real: Tensor, fake: Tensor, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["coverage"]


def _balls(x: Tensor, k: int) -> tuple[Tensor, float]:
    """Distance [n] to the k-th neighbour, and the share of points that are a neighbour of some
    other point.
    """
    near = [
        distance.topk(k + 1, largest=False) for _, distance in _blocks(x, x)
    ]  # a point is its own nearest
    neighbours = torch.cat([found.indices[:, 1:] for found in near]).unique()
    return torch.cat([found.values[:, k] for found in near]), len(neighbours) / len(x)


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the distance table [n, m], some at a time.

    By differences, not by |x|^2 + |y|^2 - 2 x.y: that is some times faster but loses the small
    distances to cancellation (a copy lands at 1e-8 |x|, not 0), so that ties with a ball's rim fall
    either way.
    """
    step = max(1, CELLS // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield rows, torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")

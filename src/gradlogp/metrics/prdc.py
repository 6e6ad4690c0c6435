r"""Precision, recall, density and coverage: who lies in whose k-nearest-neighbour balls.

    B_k(x) = closed ball around x that reaches its k-th neighbour in its own sample

    precision = share of fakes in some real ball        recall   = share of reals in some fake ball
    density   = mean over fakes of (real balls) / k     coverage = share of reals whose ball holds a fake

For two samples of one law E density = 1 and E coverage = 1 - prod_{i=1..k} (n - i) / (n + m - i),
whatever the law (without ties). Precision and recall have no such constant, but leaving out one
real point at a time gives their identity value without bias: the share of reals that lie in the
ball of some other real. Balls are closed: what lies on the rim, such as a copy, is inside.

References: Kynkaanniemi et al. (2019), arXiv 1904.06991, eq. 1-2; Naeem et al. (2020), arXiv
2002.09797, eq. 3-5.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers
from gradlogp.core.errors import UserError
from gradlogp.metrics.balls import Pairs
from gradlogp.metrics.base import QUARTERS, Better, Measure, Metric, feature_pair, subsample_error


def expected_coverage(n: int, m: int, k: int = 5) -> float:
    """Coverage of n real by m generated points of the same law."""
    return 1 - math.prod((n - i) / (n + m - i) for i in range(1, k + 1))


def prdc(real: Numbers, fake: Numbers, k: int = 5, network: str = "unnamed") -> dict[str, Measure]:
    """All four from one table of distances between features [n, d] and [m, d], in blocks.

    Standard errors are over reals, generated and balls alike, None for samples of fewer than 4 (k +
    1). The reference of recall is that of n fakes; it moves by .02 for m = n / 3.
    """
    if k < 1:
        raise UserError(f"`k` needs to be at least 1, but is {k}; pass k=5 as the papers do.")
    real, fake = feature_pair(real, fake, at_least=k + 1)
    (n, d), m = real.shape, len(fake)
    values, reach = _shares(real, fake, k)
    error: list[float | None] = [None] * 4
    if min(n, m) >= QUARTERS * (k + 1):
        halves = subsample_error(lambda x, y: _shares(x, y, k)[0], real, fake)
        error = [float(e) for e in halves]
    protocol = (
        f"k = {k} nearest neighbours, closed balls, {d} features of network {network}, {n} real and"
        f" {m} generated, standard error by random quarters"
    )
    reached = _reached(real, reach)
    references = (reached, reached, 1.0, expected_coverage(n, m, k))
    return {
        metric.key: metric.measure(float(value), error[i], m, protocol, references[i])
        for i, (metric, value) in enumerate(zip(PRDC, values, strict=True))
    }


def values(real: Numbers, fake: Numbers, k: int = 5) -> dict[str, float]:
    """The four numbers alone, without standard errors and references, at a third of the price."""
    found, _ = _shares(*feature_pair(real, fake, at_least=k + 1), k)
    return {metric.key: value for metric, value in zip(PRDC, found.tolist(), strict=True)}


def _shares(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Precision, recall, density and coverage, [4], and the radii of the reals' balls, [n]."""
    reach_real, reach_fake = Pairs(real).near(k), Pairs(fake).near(k)
    hits = real.new_zeros(len(fake))
    covered, recalled = (real.new_zeros(len(real), dtype=torch.bool) for _ in range(2))
    for theirs, ours in Pairs(real, fake).inside(reach_real[:, None], reach_fake):
        hits += theirs[1].bincount(minlength=len(fake))
        covered[theirs[0]] = True
        recalled[ours[0]] = True
    each = (hits > 0, recalled, hits / k, covered)
    return torch.stack([x.double().mean() for x in each]), reach_real


def _reached(x: Tensor, reach: Tensor) -> float:
    """The share of points that lie in the ball of some other point."""
    found = x.new_zeros(len(x), dtype=torch.bool)
    for ((_, j),) in Pairs(x).inside(reach[:, None]):
        found[j] = True
    return float(found.double().mean())


def precision(real: Numbers, fake: Numbers, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["precision"]


def recall(real: Numbers, fake: Numbers, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["recall"]


def density(real: Numbers, fake: Numbers, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["density"]


def coverage(real: Numbers, fake: Numbers, k: int = 5, network: str = "unnamed") -> Measure:
    return prdc(real, fake, k, network)["coverage"]


def _metric(
    key: str,
    call: Callable[..., Measure],
    says: str,
    meaning: str,
    better: Better = "higher",
    aim: float | None = None,
) -> Metric:
    return Metric(
        key=key,
        call=call,
        takes=("features", "features"),
        says=says,
        name=key,
        meaning=meaning,
        better=better,
        aim=aim,
    )


PRECISION = _metric(
    "precision",
    precision,
    "share of generated that lie among the real",
    "The share of drawn pictures that look like some real one. Low: many drawings are of nothing.",
)
RECALL = _metric(
    "recall",
    recall,
    "share of real that lie among the generated",
    "The share of real pictures that look like some drawn one. Low: whole kinds are never drawn.",
)
DENSITY = _metric(
    "density",
    density,
    "how densely real surrounds generated, 1 if equal",
    "How closely the drawn pictures are surrounded by real ones; 1 is alike. Above 1 the method"
    " keeps to the most ordinary pictures.",
    better="none",
    aim=1.0,
)
COVERAGE = _metric(
    "coverage",
    coverage,
    "share of real with a generated neighbour",
    "The share of real pictures that have a drawn one for a near neighbour: quality and variety in"
    " one.",
)
PRDC = (PRECISION, RECALL, DENSITY, COVERAGE)

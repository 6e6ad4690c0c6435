r"""Are the samples of a trained model worth anything? A cheap test of any shape, without a network.

A loss cannot tell: an energy's is 0 when it is right and when it learns nothing, an adversary's is
a tie either way. So, when training ends, a few samples x are drawn and held against the data y,
both flattened. The energy distance

.. math:: D(x, y) = 2\,\mathbb E|x - y| - \mathbb E|x - x'| - \mathbb E|y - y'| \ge 0

is 0 for samples of the data's own distribution, whatever its shape, and punishes samples that are
off, too few kinds of them, or all the same: one point alone is further than the spatial median is.
In many dimensions it feels mean and variance more than structure, so distances to the nearest data
are looked at too. Both are put on a scale that needs no unit,

.. math:: \text{distance} = \frac{D(x, y)}{\min\{D(\bar y, y),\ D(u, y)\}}, \qquad
          \text{remoteness} = \frac{\nu(x) - \nu(y)}{\nu(u) - \nu(y)},

0 for the data and 1 for what takes no learning: the mean example :math:`\bar y`, or uniform noise u
in the data's range; :math:`\nu` is the mean distance to the nearest data (to the nearest *other*
for y). Noise that has the right mean and variance at each entry is nearer than u, and its energy
distance is small. So remoteness is measured a second time, with the data's own entries, each taken
from another example, for u: 1 for what has learned no more than each entry by itself. Where the
data have no more than that, nothing is asked. Samples are healthy while all are below their limits
and the samples are not too much alike; the first two limits part what a classifier finds useless
from what it finds fine (docs/guard.md), the third lies below all draws of such noise that the tests
make.

It is a test for collapse and for noise, not a measure of quality: a Gaussian with the data's
covariance passes.

References: Szekely & Rizzo (2013), Energy statistics: A class of statistics based on distances,
section 3 (the energy distance and its unbiased estimate); Lopez-Paz & Oquab (2017), Revisiting
Classifier Two-Sample Tests, arXiv 1610.06545 (nearest neighbours as a test).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.errors import UserError
from gradlogp.core.kernel import NotFinite
from gradlogp.core.neighbours import nearest
from gradlogp.core.random import seeded
from gradlogp.objectives import ContrastiveDivergence, Objective

SAMPLES, DATA = 64, 512  # examples compared
FEW_SAMPLES, FEW_DATA = 16, 100  # fewer say nothing of structure
# Healthy samples stay below, as parts of the way to no learning, and to noise of the data's entries,
DISTANCE, REMOTENESS, STRUCTURE = 0.6, 0.75, 0.9
DIVERSITY = 1 / 3  # and above this share of the data's diversity
SAME = 0.1  # below this share of it they are all the same
EDGE = 0.01  # of the data's range: an entry this near to an end of it is saturated


class Useless(UserError):
    """A run that ended, with samples that are worth nothing; the message is the verdict."""

    code = 3


@final
@dataclass(frozen=True)
class Health:
    """What `sample_health` found. verdict: one sentence. finite: share of samples without NaN or
    infinity; where that is not 1 nothing else is known.

    diversity: mean distance between samples over that between data. saturation: share of entries at
    an end of the data's range. distance, remoteness: see above; structure: the second remoteness.
    """

    healthy: bool
    verdict: str
    finite: float
    diversity: float | None = None
    saturation: float | None = None
    distance: float | None = None
    remoteness: float | None = None
    structure: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| of x [n, d] and y [m, d], without bias; in units of x."""
    return 2 * float(torch.cdist(x, y).mean()) - apart(x) - apart(y)


def apart(x: Tensor) -> float:
    """The mean distance between two different rows of x [n, d]; 0 where there is one row."""
    return float(torch.cdist(x, x).sum()) / max(1, len(x) * (len(x) - 1))


def sample_health(x: Tensor, data: Tensor, seed: int = 0) -> Health:
    """Judge samples x [n, *shape] by data [m, *shape], n, m >= 2, in the same coordinates.

    At most `SAMPLES` and `DATA` of them are looked at. The noise that they are compared with has a
    stream of its own, decided by `seed`.
    """
    if x.shape[1:] != data.shape[1:] or min(len(x), len(data)) < 2:
        raise ValueError(
            "expected two samples or more, of the shape of two examples or more, got"
            f" {list(x.shape)} and {list(data.shape)}."
        )
    generator = seeded(seed, "health")
    data = data[data.isfinite().flatten(1).all(1)]
    x, y = _some(x, SAMPLES, generator), _some(data, DATA, generator)
    finite = float(x.isfinite().all(1).double().mean())
    if finite < 1:
        return not_finite(finite)
    low, high = float(y.min()), float(y.max())
    noise = torch.empty_like(x).uniform_(low, high, generator=generator)
    return _weighed(
        diversity=apart(x) / apart(y) if apart(y) > 0 else 1.0,
        saturation=_at_an_end(x, low, high),
        usual=_at_an_end(y, low, high),
        distance=_distance(x, y, noise),
        remoteness=_remoteness(x, y, noise),
        structure=_structure(x, y, generator),
    )


def _some(x: Tensor, n: int, generator: Generator) -> Tensor:
    """At most `n` of the rows, flattened, in float64."""
    rows = torch.randperm(len(x), generator=generator)[:n]
    return x.detach().cpu()[rows].flatten(1).double()


def _distance(x: Tensor, y: Tensor, noise: Tensor) -> float:
    """Noise is a level to beat only where the data are unlike it."""
    mean = energy_distance(y.mean(0, keepdim=True), y)
    trivial = [level for level in (mean, energy_distance(noise, y)) if level > 0.2 * mean]
    return _ratio(energy_distance(x, y), min(trivial, default=mean))


def _structure(x: Tensor, y: Tensor, generator: Generator) -> float:
    """The second remoteness; 0 where too few are compared to tell."""
    if len(x) < FEW_SAMPLES or len(y) < FEW_DATA:
        return 0.0
    return _remoteness(x, y, structureless(y, len(x), generator))


def structureless(y: Tensor, n: int, generator: Generator) -> Tensor:
    """Noise [n, d] of the entries of y [m, d], each taken from a row of its own."""
    rows = torch.randint(len(y), (n, y.shape[1]), generator=generator)
    return y.gather(0, rows)


def _remoteness(x: Tensor, y: Tensor, noise: Tensor) -> float:
    usual = float(nearest(y, y, 2)[:, -1].mean())
    far = float(nearest(noise, y, 1).mean()) - usual
    found = float(nearest(x, y, 1).mean()) - usual
    return found / far if far > 0.2 * usual else 0.0


def _at_an_end(x: Tensor, low: float, high: float) -> float:
    margin = EDGE * (high - low)
    return float(((x < low + margin) | (x > high - margin)).double().mean())


def _ratio(value: float, unit: float) -> float:
    return value / unit if unit > 0 else float(value > 0)


def not_finite(share: float = 0.0) -> Health:
    """The health of samples of which only `share` are finite."""
    return Health(False, f"useless: {1 - share:.0%} of the samples hold NaN or infinity", share)


def _weighed(
    diversity: float,
    saturation: float,
    usual: float,
    distance: float,
    remoteness: float,
    structure: float,
) -> Health:
    near = remoteness < REMOTENESS and structure < STRUCTURE
    healthy = distance < DISTANCE and near and diversity > DIVERSITY
    looks = "" if healthy else _looks(diversity, saturation, usual)
    verdict = (
        f"{'usable' if healthy else 'useless'}: {looks}energy distance to the data {distance:.2f} of"
        f" what the mean example or noise has (usable below {DISTANCE:g}), nearest neighbours"
        f" {remoteness:.2f} ({REMOTENESS:g}) and {structure:.2f} ({STRUCTURE:g}) of what noise of its"
        f" range and of its entries have, diversity {diversity:.2f} of the data's (above"
        f" {DIVERSITY:.2g})"
    )
    return Health(healthy, verdict, 1.0, diversity, saturation, distance, remoteness, structure)


def _looks(diversity: float, saturation: float, usual: float) -> str:
    """What useless samples look like, in words."""
    if diversity < SAME:
        return "all the same, "
    if 1 - saturation < (1 - usual) / 4:
        return f"{saturation:.0%} of their entries at an end of the range, "
    return ""


def examine(
    draws: Sequence[Callable[[], Tensor]], data: Tensor, worries: Sequence[str] = (), seed: int = 0
) -> Health:
    """The health of what is drawn in one of several ways (after more steps, say): the first that is
    usable, else the last. What is wrong with it is said with what may help: the `worries` that
    there were before, or more training.

    A chain that ends at NaN or infinity is a verdict here, not an error.
    """
    found = not_finite()
    for draw in draws:
        found = _examined(draw, data, seed)
        if found.healthy:
            return found
    remedies = worries or ["train longer, or lower training.learning_rate"]
    return replace(found, verdict="; ".join([found.verdict, *remedies]))


def _examined(draw: Callable[[], Tensor], data: Tensor, seed: int) -> Health:
    try:
        return sample_health(draw(), data, seed)
    except NotFinite:
        return not_finite()


def unhealthy(status: Mapping[str, Any]) -> str:
    """What a run's status says against its samples; empty where there is nothing."""
    found = status.get("samples", {})
    return "" if found.get("healthy", True) else f"the samples are {found['verdict']}"


def doubts(objective: Objective, data: Tensor) -> list[str]:
    """What makes learning impossible, said before it is tried: examples that are no numbers, and
    settings that do not go with data [n, *shape] in model coordinates.
    """
    whole = data[data.isfinite().flatten(1).all(1)]
    found = []
    if len(whole) < len(data):
        found.append(
            f"{len(data) - len(whole)} of the first {len(data)} training examples hold NaN or"
            " infinity: look at the data"
        )
    if isinstance(objective, ContrastiveDivergence) and len(whole) > 1:
        found += _contrastive_doubts(objective, whole)
    return found


def _contrastive_doubts(objective: ContrastiveDivergence, data: Tensor) -> list[str]:
    low, high, std = float(data.min()), float(data.max()), float(data.std())
    clamp = getattr(objective.sampler, "clamp", None)
    found = []
    if objective.data_noise > 2 * std:
        found.append(
            f"data_noise={objective.data_noise:g} drowns data of standard deviation {std:.2g}:"
            " lower it to a tenth of that or less"
        )
    if objective.energy_l2 > 10:
        found.append(
            f"energy_l2={objective.energy_l2:g} holds all energies at 0, so nothing is told"
            " apart: lower it to 1 or less"
        )
    if clamp is not None and (clamp[0] > low or clamp[1] < high):
        found.append(
            f"chain.clamp={clamp} keeps chains out of data in [{low:.2g}, {high:.2g}]: widen it"
        )
    return found

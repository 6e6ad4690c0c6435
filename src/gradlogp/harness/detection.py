r"""Detection on a person's own files: a threshold that normal examples cross as often as was asked
for, and the columns or pixels that speak for a score.

**Threshold.** The scores s of examples that the detector has not learned (cross-fitted, or held
out) say how high normal ones go: the threshold is their quantile :math:`q_{1-a}`, a the share asked
for. Where these examples may hold unmarked outliers, that quantile can lie among the outliers and
miss them. The bulk says what it would be without them: its tail is taken for a Weibull's, whose
exponent k (one over the shape) the quartile above the median and the ninetieth percentile give,
whatever the units of s,

.. math:: t_a = q_{.5} + (q_{.75} - q_{.5}) \Big(\frac{\ln(.5/a)}{\ln 2}\Big)^k , \qquad
    \frac{q_{.9} - q_{.5}}{q_{.75} - q_{.5}} = \Big(\frac{\ln 5}{\ln 2}\Big)^k .

k is 1 for an exponential tail and .76 for a Gaussian. The share o beyond :math:`t_a`, less a, is
taken for outliers; the p-quantile of the others is the p (1 - o)-quantile of all, so all is read
again, until o stays. Where more than 2 a of the examples lie above :math:`t_a`, it is the
threshold; else the quantile is. A normal tail heavier than its bulk says looks the same as outliers
do: where all examples are known to be normal, `clean` takes the quantile.

**What speaks for a score** is found by occlusion: of x with the group g (a column, a patch) put at
its usual value, :math:`c_g = \max(s(x) - s(x_{\setminus g}), 0)`, as a share of their sum. It asks
nothing of the detector but scores.

References: Pickands (1975), Statistical Inference Using Extreme Order Statistics (tails beyond a
quantile); Weibull (1951), A Statistical Distribution Function of Wide Applicability; Zeiler &
Fergus (2014), Visualizing and Understanding Convolutional Networks (occlusion).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field, NoisyField
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import seeded
from gradlogp.harness.fit import Fitted

BULK = (0.5, 0.75, 0.9)  # the quantiles by which a tail is read
EXPONENTS = (0.25, 1.5)  # that a tail may have
ROUNDS, MOST = 8, 0.3  # in which the share of outliers is found, and the largest
EXCESS = 2.0  # times the share asked for beyond the bulk's tail: outliers
LEVELS = (1.0, 2.0, 4.0)  # of noise, in standard deviations of the data, for a score network
DRAWS = 4  # of noise at each of them
ROWS = 20_000  # occluded examples scored at a time

Scores = Callable[[Tensor], Tensor]  # (B, *shape) -> (B,), high = anomalous


@dataclass(frozen=True)
class Threshold:
    """Scores above `value` are flagged; `says` how it was found, `outliers` is the share of the
    held-out examples that were taken for outliers.
    """

    value: float
    says: str
    outliers: float = 0.0


def threshold(held_out: Tensor, share: float, clean: bool = False) -> Threshold:
    """The threshold that `share` of normal examples exceed, from scores [n] of held-out ones, among
    which unmarked outliers may be unless they are known to be `clean`.
    """
    if not 0 < share < 0.5:
        raise UserError(
            f"the share of normal examples to flag lies between 0 and 0.5, got {share}."
        )
    s = held_out.double()
    plain = float(s.quantile(1 - share))
    beyond = bulk_tail(s, share)
    outliers = float((s > beyond).double().mean())
    if clean or outliers <= EXCESS * share:
        return Threshold(plain, f"{share:.2%} of {len(s):,} held-out examples score above it")
    return Threshold(
        beyond,
        f"{share:.2%} of normal examples score above it if their tail goes on as the bulk's does;"
        f" {outliers:.1%} of {len(s):,} held-out examples do, and are taken for outliers",
        outliers,
    )


def bulk_tail(scores: Tensor, share: float) -> float:
    """Where `share` of the normal ones of scores [n] would lie above, by the Weibull tail of their
    bulk.
    """
    outliers, beyond = 0.0, math.inf
    for _ in range(ROUNDS):
        middle, upper, high = (float(scores.quantile(q * (1 - outliers))) for q in BULK)
        beyond = _weibull(middle, upper, high, share)
        above = float((scores > beyond).double().mean())
        outliers = min(max(above - share, 0.0) / (1 - share), MOST)
    return beyond


def _weibull(middle: float, upper: float, high: float, share: float) -> float:
    """Where `share` lies above, from the quantiles of `BULK`."""
    widths = [math.log(0.5 / (1 - q)) for q in BULK[1:]]
    ratio = max((high - middle) / max(upper - middle, 1e-300), 1.0)
    k = math.log(ratio) / math.log(widths[1] / widths[0])
    k = min(max(k, EXPONENTS[0]), EXPONENTS[1])
    return middle + (upper - middle) * (math.log(0.5 / share) / widths[0]) ** k


def occluded(
    score: Scores, x: Tensor, groups: Tensor, usual: Tensor, listener: Listener | None = None
) -> Tensor:
    """The share of each group in the score of each example, [B, G]; zeros where no group raises it.

    x [B, *shape], groups bool [G, *shape], usual [*shape].
    """
    listener = listener or Silent()
    drops = []
    listener.begin("what speaks for it", len(x))
    for some in x.split(max(1, ROWS // len(groups))):
        without = torch.where(groups, usual, some[:, None])
        scores = score(without.flatten(0, 1)).unflatten(0, without.shape[:2])
        drops.append((score(some)[:, None] - scores).clamp(min=0))
        listener.advance(len(some))
    listener.end()
    found = torch.cat(drops).double()
    return found / found.sum(1, keepdim=True).clamp(min=1e-300)


def patches(shape: tuple[int, ...], count: int = 8) -> tuple[Tensor, list[str]]:
    """A picture's squares, bool [G, *shape], `count` a side at most, and where each lies."""
    height, width = shape[-2:]
    size = max(1, math.ceil(max(height, width) / count))
    masks, names = [], []
    for top in range(0, height, size):
        for left in range(0, width, size):
            mask = torch.zeros(shape, dtype=torch.bool)
            mask[..., top : top + size, left : left + size] = True
            masks.append(mask)
            bottom, right = min(top + size, height) - 1, min(left + size, width) - 1
            names.append(f"rows {top}-{bottom} columns {left}-{right}")
    return torch.stack(masks), names


def model_scores(fitted: Fitted, normal: Tensor) -> tuple[Scores, str]:
    """The anomaly scores of a trained model, of examples in the data's own range, and what they
    are: an energy's own, or a score network's denoising errors relative to those of `normal`
    examples.
    """
    kind = fitted.spec.coordinates
    model: Any = fitted.model
    field = model.field() if hasattr(model, "field") else None

    def to_model(x: Tensor) -> Tensor:
        return kind.to_model(x.to(normal)).to(fitted.device)

    if isinstance(field, NoisyField):
        std = fitted.spec.std
        levels = [std * level for level in LEVELS]

        def errors(x: Tensor) -> Tensor:
            return tasks.detect.denoising_errors(
                field, to_model(x), levels, seeded(0, "detect", device=fitted.device), DRAWS
            ).cpu()

        usual = errors(normal)
        return lambda x: tasks.detect.relative(errors(x), usual), "its denoising errors"
    if isinstance(field, Field) and field.has_energy:
        return lambda x: tasks.detect.energy(field, to_model(x)).cpu(), "its energy"
    raise UserError(
        f"{fitted.run.path}: {fitted.recipe.experiment} has neither an energy nor a denoiser to"
        " detect with; take a run of ebm or ncsn."
    )

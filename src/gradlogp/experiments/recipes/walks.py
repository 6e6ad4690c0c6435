"""What a diffusion model's reverse chain reaches: bits per dimension by the variational bound and
Frechet distances, by the variance of its steps, by the number of DDIM's, and along the training.

Bits are of test pictures, with the decoder's bins, one draw of noise for each of the bound's terms,
and the denoised within the range of the data, as samples have it. The distances here are of
`evaluation.trial` samples each, so they compare with one another and not with those of more
samples.

References: Ho et al. (2020), arXiv 2006.11239, section 3.2 and eq. 13 (fixed variances, decoder);
Song, Meng & Ermon (2021), arXiv 2010.02502, section 5.1 (few steps); Nichol & Dhariwal (2021),
arXiv 2102.09672, section 3 (bits along the training).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.core.fields import Level, NoisyField
from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.fit import Fitted, snapshot, snapshots
from gradlogp.harness.likelihood import histogram_bits
from gradlogp.harness.record import Recorder
from gradlogp.metrics import Measure, frechet
from gradlogp.metrics.base import standard_error
from gradlogp.samplers import DDIM, Ancestral
from gradlogp.tasks.likelihood import bits_per_dim, variational_bound

STEPS = (10, 20, 50, 100)  # of DDIM
FIXED = ("small", "large")


@final
@dataclass(frozen=True)
class Within(NoisyField):
    """A field whose mean of x0 is kept in `bounds`, where all data are."""

    field: NoisyField
    bounds: tuple[float, float]

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return self.field.denoise(x, sigma).clamp(*self.bounds)

    def moments(self, x: Tensor, sigma: Level) -> tuple[Tensor, Tensor]:
        mean, variance = self.field.moments(x, sigma)
        return mean.clamp(*self.bounds), variance


def study(fitted: Fitted, data: Dataset, evaluator: Evaluator, recorder: Recorder) -> None:
    """All of the above, as rows."""
    weigh = data.test.x.dtype == torch.uint8  # else there are no bins to find the probability of
    if weigh:
        _bits_by_variance(fitted, data, recorder)
    n = min(fitted.recipe.evaluation.trial, len(data.test))
    real = evaluator.features(data.test.scaled(slice(0, n)))
    recorder.listener.say("walks: Frechet distance by variance and by steps")
    for axes, sampler in _walks(fitted.recipe):
        _distance(fitted, sampler, real, evaluator, recorder, axes)
    _along(fitted, data, real, evaluator, recorder, weigh)


def _walks(recipe: Any) -> list[tuple[dict[str, Any], Any]]:
    clip = recipe.sampler.clip if isinstance(recipe.sampler, Ancestral) else None
    own = [
        (
            {"variance": v},
            Ancestral(recipe.process, recipe.ladder(recipe.levels), clip=clip, variance=v),
        )
        for v in dict.fromkeys((*FIXED, recipe.variance))
    ]
    return own + [({"ddim": n}, DDIM(recipe.process, recipe.ladder(n), clip=clip)) for n in STEPS]


def _distance(
    fitted: Fitted,
    sampler: Any,
    real: Tensor,
    evaluator: Evaluator,
    recorder: Recorder,
    axes: dict[str, Any],
) -> None:
    settings: Any = fitted.recipe
    recipe = replace(settings, sampler=sampler)
    x, _ = replace(fitted, recipe=recipe).draw(len(real), recipe.seed + 7)
    found = frechet.fd(real, evaluator.features(x), evaluator.name)
    recorder.add(found, axes=axes, evaluations=sampler.evaluations)


def bits(fitted: Fitted, data: Dataset, variance: Any = None) -> Tensor:
    """Bits per dimension of the first test pictures by the bound, [n]."""
    recipe: Any = fitted.recipe
    test = data.test[slice(0, recipe.weighed)]
    x0 = fitted.spec.coordinates.to_model(test.scaled()).to(fitted.device)
    cond = test.labels.to(fitted.device) if recipe.conditional else None  # type: ignore[union-attr]
    chain = recipe.chain(variance)
    generator = seeded(recipe.seed, "bound", device=fitted.device)
    model: Any = fitted.model
    field = model.field(cond)
    bounds = fitted.spec.coordinates.bounds
    field = field if bounds is None else Within(field, bounds)
    nats = variational_bound(field, x0, chain, generator).nats
    return bits_per_dim(nats.double().cpu(), math.prod(data.shape), 1.0)


def _bits_by_variance(fitted: Fitted, data: Dataset, recorder: Recorder) -> None:
    recipe: Any = fitted.recipe
    recorder.listener.say("walks: bits per dimension by the variational bound")
    trivial = float(histogram_bits(data.train, data.test[slice(0, recipe.weighed)]).mean())
    for variance in dict.fromkeys((*FIXED, recipe.variance)):
        found = bits(fitted, data, variance)
        measured = _measure(found, recipe, variance, trivial)
        recorder.add(measured, axes={"variance": variance}, evaluations=recipe.levels)
        if variance == recipe.variance:
            recorder.add(measured, evaluations=recipe.levels)


def _measure(found: Tensor, recipe: Any, variance: str, trivial: float | None = None) -> Measure:
    protocol = (
        f"variational bound of a chain of {recipe.levels} levels, {type(recipe.process).__name__}"
        f" schedule, {variance} reverse variance, {recipe.bins} bins; standard error over pictures;"
        " the trivial value is a histogram for each pixel"
    )
    error = standard_error(found)
    value = float(found.mean())
    return Measure(
        "bits_per_dim", value, error, len(found), "lower", protocol, trivial=trivial, unit="bits"
    )


def _along(
    fitted: Fitted,
    data: Dataset,
    real: Tensor,
    evaluator: Evaluator,
    recorder: Recorder,
    weigh: bool,
) -> None:
    """Bits and distance of the averaged weights at even shares of the training."""
    steps = snapshots(fitted.recipe)
    last = {name: x.clone() for name, x in fitted.model.state_dict().items()}
    for step in steps:
        fitted.model.load_state_dict(fitted.run.load(snapshot(step))[0])
        axes = {"share": round(step / steps[-1], 3)}
        recipe: Any = fitted.recipe
        if weigh:
            recorder.add(_measure(bits(fitted, data), recipe, recipe.variance), axes=axes)
        _distance(fitted, recipe.sampler, real, evaluator, recorder, axes)
    fitted.model.load_state_dict(last)

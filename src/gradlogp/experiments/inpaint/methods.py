r"""Completions by a score network and by an energy, context encoders with and without a critic, and
three that need no network.

*The score network* goes down its levels while the known part is put back with each level's noise:
once (replacement), or again and again (RePaint). *The energy*'s chains begin at draws of its
proposal where the picture is unknown, and move that part only (masked Langevin): the exact
conditional of the chain's own distribution.

References: Song et al. (2021), arXiv 2011.13456, app. I.2 (replacement); Lugmayr et al. (2022),
arXiv 2201.09865 (RePaint); Pathak et al. (2016), arXiv 1604.07379 (context encoders).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.baselines.context_encoder import Inpainting, context_encoder as encoder_model
from gradlogp.baselines.impute import (
    Draw,
    Imputer,
    LinearImputer,
    MeanImputer,
    NearestImputer,
    gaussian_draws,
)
from gradlogp.core.kernel import run as walk
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import Randomness, from_seed, normal_
from gradlogp.experiments.inpaint.common import Fill, Inpaint, every_mask
from gradlogp.experiments.recipes.energy import ebm
from gradlogp.experiments.recipes.score import ncsn_from_noise
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context, fitted_inside, trained
from gradlogp.samplers import Ancestral, Masked, RePaint
from gradlogp.tasks.inpaint import begun
from gradlogp.training import Training

AT_ONCE = 100  # pictures that are completed together
JUMP = 10  # levels that RePaint goes through again
BUDGETS: Choices = {
    "any": {
        "full": ("images=600000", "pictures=200", "samples=16"),
        "gpu": ("images=20000000", "pictures=1000", "samples=16"),
    },
    "small": {"any": ("images=30000",)},
}
BEGINNINGS: Choices = {"cifar10": {"any": ("begin=0.5",)}}
CHAIN_BUDGETS: Choices = {"any": {"quick": ("images=20000",), "full": ("images=150000",)}}


def repeated(start: Draw, move: Callable[[Tensor, Tensor, Tensor, Generator], Tensor]) -> Fill:
    """`samples` completions by a method that begins somewhere, start(y, known, generator), and moves
    from there, move(x, y, known, generator).
    """

    def filled(y: Tensor, known: Tensor, samples: int, generator: Generator) -> Tensor:
        rows = y.repeat(samples, *[1] * (y.ndim - 1))
        masks = known.repeat(samples, *[1] * (known.ndim - 1)).expand_as(rows)
        x = start(rows, masks, generator)
        parts = zip(x.split(AT_ONCE), rows.split(AT_ONCE), masks.split(AT_ONCE), strict=True)
        with torch.no_grad():
            drawn = torch.cat([move(*part, generator) for part in parts])
        return drawn.unflatten(0, (samples, len(y)))

    return filled


@final
@dataclass(frozen=True)
class ByScore(Inpaint):
    """levels: of every way down; resamples: how often RePaint goes through each JUMP of them. begin:
    the level where the way begins, at draws of the data's Gaussian given what is known, which costs
    the bias of the levels above; none begins at noise.
    """

    levels: int = 30
    resamples: int = 3
    begin: float | None = None

    def learn(self, context: Context, recorder: Recorder) -> Mapping[str, Fill]:
        recipe = ncsn_from_noise(Target.of(context.data), self.preset, self.seed)
        with recorder.training() as cost:
            fitted = fitted_inside(recorder, recipe, context.data, cost, self.images)
            start = self._start(context)
        model: Any = fitted.model
        field = model.field()
        down = self._down(recipe.sampler.process)

        def begun(y: Tensor, known: Tensor, generator: Randomness) -> Tensor:
            noise = normal_(torch.empty_like(y), generator).mul_(down.ladder[0])
            return noise.add_(start(y, known, generator))

        def again(times: int) -> Fill:
            def move(x: Tensor, y: Tensor, known: Tensor, generator: Generator) -> Tensor:
                sampler = RePaint(down, y, ~known, times, JUMP)
                return walk(sampler, field, x, sampler.steps, generator)

            return repeated(begun, move)

        return {"repaint": again(self.resamples), "replacement": again(1)}

    def _down(self, process: Any) -> Ancestral:
        if self.begin is None:
            return Ancestral(process, self.levels)
        finest = process.ladder(2)[-1]
        return Ancestral(VarianceExploding(finest, self.begin), self.levels)

    def _start(self, context: Context) -> Draw:
        if self.begin is None:
            return lambda y, known, generator: torch.zeros_like(y)
        train = context.data.train.scaled(slice(0, self.images))
        return gaussian_draws(specify(context.data).coordinates.to_model(train))


@final
@dataclass(frozen=True)
class ByEnergy(Inpaint):
    """steps: of the masked chains."""

    steps: int = 60

    def learn(self, context: Context, recorder: Recorder) -> Mapping[str, Fill]:
        recipe = ebm(Target.of(context.data), self.preset, self.seed)
        with recorder.training() as cost:
            fitted = fitted_inside(recorder, recipe, context.data, cost, self.images)
        model: Any = fitted.model
        how: Any = recipe.sampling(model, specify(context.data))
        field = how.field(None)

        def start(y: Tensor, known: Tensor, generator: Randomness) -> Tensor:
            return torch.where(known, y, begun(how, y, ~known, generator))

        def move(x: Tensor, y: Tensor, known: Tensor, generator: Generator) -> Tensor:
            return walk(Masked(how.sampler, ~known), field, x, self.steps, generator)

        return {"masked Langevin": repeated(start, move)}


@final
@dataclass(frozen=True)
class ByEncoder(Inpaint):
    """adversarial: weight of the game against a critic, which sees each example, its completion,
    and that again for the encoder; 0 is the squared error alone.
    """

    adversarial: float = 0.001
    batch: int = 64
    learning_rate: float = 1e-3

    def learn(self, context: Context, recorder: Recorder) -> Mapping[str, Fill]:
        spec = specify(context.data)
        objective = Inpainting(every_mask(min(spec.shape[1:])), self.adversarial)
        training = Training(self.images, batch=self.batch, learning_rate=self.learning_rate)
        halvings = 3 if not any(size % 8 for size in spec.shape[1:]) else 2
        channels = (32, 64, 128)[-halvings:]
        trunk = (16, 32, 64, 64) if self.adversarial else None
        with recorder.training() as cost:
            model = from_seed(self.seed, lambda: encoder_model(spec.shape, channels, trunk))
            x = spec.coordinates.to_model(context.data.train.scaled())
            cost.add(model, self.images, 4 if self.adversarial else 1)
            learned = trained(recorder, "network", model, objective, x, None, training)

        def fill(y: Tensor, known: Tensor, samples: int, generator: Generator) -> Tensor:
            with torch.no_grad():
                return learned(y, known)[None]

        return {"one pass": fill}


@final
@dataclass(frozen=True)
class ByImputer(Inpaint):
    """A closed form that is fitted to training pictures and needs no network."""

    by: str = "linear"

    def learn(self, context: Context, recorder: Recorder) -> Mapping[str, Fill]:
        spec = specify(context.data)
        with recorder.training():
            train = context.data.train.scaled(slice(0, self.images))
            fitted = IMPUTERS[self.by].fit(spec.coordinates.to_model(train), self.seed)

        def fill(y: Tensor, known: Tensor, samples: int, generator: Generator) -> Tensor:
            return fitted(y, known.expand_as(y))[None]

        return {self.by: fill}


IMPUTERS: Mapping[str, Imputer] = {
    "linear": LinearImputer(),
    "nearest": NearestImputer(1),
    "mean": MeanImputer(),
}


def _budgeted(trial: Any, target: Target, preset: str, choices: Choices = BUDGETS) -> Any:
    return chosen(trial, choices, target.families, preset)


def score(target: Target, preset: str = "quick", seed: int = 0) -> ByScore:
    """A score network with RePaint, and replacement beside it."""
    trial = _budgeted(ByScore("score", target.name, preset, seed), target, preset)
    return _budgeted(trial, target, preset, BEGINNINGS)


def energy(target: Target, preset: str = "quick", seed: int = 0) -> ByEnergy:
    """An energy with a replay buffer, by masked chains."""
    trial = _budgeted(ByEnergy("energy", target.name, preset, seed), target, preset)
    return _budgeted(trial, target, preset, CHAIN_BUDGETS)


def context_encoder(target: Target, preset: str = "quick", seed: int = 0) -> ByEncoder:
    """A context encoder, by the squared error and a critic."""
    return _budgeted(ByEncoder("context_encoder", target.name, preset, seed), target, preset)


def encoder(target: Target, preset: str = "quick", seed: int = 0) -> ByEncoder:
    """The same network by the squared error alone."""
    trial = ByEncoder("encoder", target.name, preset, seed, adversarial=0.0)
    return _budgeted(trial, target, preset)


def linear(target: Target, preset: str = "quick", seed: int = 0) -> ByImputer:
    """The conditional mean of one Gaussian of all pixels: the best linear guess."""
    return _budgeted(ByImputer("linear", target.name, preset, seed), target, preset)


def nearest(target: Target, preset: str = "quick", seed: int = 0) -> ByImputer:
    """What the training picture has there that is nearest in the known part."""
    trial = ByImputer("nearest", target.name, preset, seed, by="nearest")
    return _budgeted(trial, target, preset)


def mean(target: Target, preset: str = "quick", seed: int = 0) -> ByImputer:
    """The mean of the training pictures: a trivial reference."""
    return _budgeted(ByImputer("mean", target.name, preset, seed, by="mean"), target, preset)


METHODS: Mapping[str, Maker] = {  # those that take longest begin first
    "score": score,
    "energy": energy,
    "context_encoder": context_encoder,
    "encoder": encoder,
    "linear": linear,
    "nearest": nearest,
    "mean": mean,
}

"""Machines and convolutional energies by contrastive divergence, and one Gaussian of all pixels.

CD-10 takes 12 evaluations of a training example, ten steps of the chain and two of the loss, CD-1
takes 3: at equal evaluations CD-1 makes four times the updates. Learning rates
are those that gave validation pictures of MNIST the highest likelihood, in trials with one seed and
similar budgets between 3e-4 and 3e-2: CD-10 bears the largest, CD-1 over many updates the smallest.
Tempered chains and Gibbs-Langevin take that of CD-10.

References: Hinton (2002), Training Products of Experts; Tieleman (2008); Desjardins et al. (2010);
Liao et al. (2022), arXiv 2210.10318; Du & Mordatch (2019), arXiv 1903.08689 (the energy's chains).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.baselines.wiener import PixelGaussian
from gradlogp.core.kernel import run as walk
from gradlogp.core.random import normal_, seeded
from gradlogp.experiments.gibbs.common import (
    MEASURED,
    ByChains,
    distance,
    generalisation,
    held_out,
    measure_walks,
)
from gradlogp.experiments.gibbs.machines import Machine, likelihood, words
from gradlogp.experiments.gibbs.standardised import Standardised
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import DataSpec, Target, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics.base import standard_error
from gradlogp.models import ConvEnergy
from gradlogp.objectives import ContrastiveDivergence, FromData, Objective
from gradlogp.samplers import Langevin
from gradlogp.training import GuardSettings

CHAIN = Langevin(10.0, noise_std=0.05, grad_clip=0.03, clamp=(-1.0, 1.0))
TIMES = 4  # updates of CD-1 for one of CD-10, at equal evaluations
BUDGETS: Choices = {
    "any": {
        "full": ("images=640000", "hidden=256", "ladder=4000", "ais_chains=100"),
        "gpu": ("images=20000000", "hidden=4096", "ladder=10000", "ais_chains=500"),
    },
    "small": {"any": ("images=64000", "hidden=64", "samples=300", "weighed=360")},
}
CONV_BUDGETS: Choices = {
    "any": {
        "quick": ("images=12800",),
        "full": ("images=160000",),
        "gpu": ("images=10000000",),
    },
    "small": {"any": ("channels=16,32", "patch=1", "samples=300", "weighed=360")},
}
T = TypeVar("T", bound=ByChains)


@final
@dataclass(frozen=True)
class Convolutional(ByChains):
    """A convolutional energy. chain: its Langevin steps, a generator's; energy_l2: weight of the
    squared energies; data_noise: standard deviation of the noise in the pictures.
    """

    learning_rate: float = 1e-3
    channels: tuple[int, ...] = (32, 64, 64)
    width: int = 64
    patch: int = 4
    chain: Langevin = field(default_factory=lambda: CHAIN)
    energy_l2: float = 0.1
    data_noise: float = 0.03

    def build(self, spec: DataSpec) -> nn.Module:
        return ConvEnergy(spec.shape, self.channels, self.width, patch=self.patch)

    def guard(self, spec: DataSpec) -> GuardSettings:
        return GuardSettings(max_rollbacks=0)

    @property
    def evaluations(self) -> int:
        return self.steps + 2

    def objective(self, model: Any, x: Tensor, generator: Generator) -> Objective:
        noise, clamp = self.data_noise, self.chain.clamp
        return ContrastiveDivergence(
            self.chain, FromData(), self.steps, self.energy_l2, noise, clamp
        )

    def measure(self, model: Any, x: Tensor, context: Context, recorder: Recorder) -> None:
        kind, g = specify(context.data).coordinates, seeded(self.seed, "measure")
        test = kind.to_model(context.data.test.scaled(slice(0, self.weighed)))
        recorder.add(generalisation(model, test, x[: self.weighed]))
        begun = {"noise": pixel_noise(x, self.samples, g), "data": test}
        walks = {start: self.along(model, x[: self.samples], g) for start, x in begun.items()}
        measure_walks(recorder, walks, context, kind, "of Langevin")

    def along(self, model: Any, x: Tensor, generator: Generator) -> dict[int, Tensor]:
        """Chains from x [n, *shape] after each number of steps."""
        frames, done = {}, 0
        for count in self.stops:
            x = walk(self.chain, model.field(), x, count - done, generator)
            frames[count], done = x, count
        return frames


@final
@dataclass(frozen=True)
class Gaussian(Trial):
    """The density of noisy pictures as one Gaussian, in closed form, and its draws."""

    noise: float = 0.2
    samples: int = 500
    weighed: int = 1000

    def perform(self, context: Context, recorder: Recorder) -> None:
        kind, evaluator = specify(context.data).coordinates, context.evaluator
        assert evaluator is not None, "samples are measured"
        with recorder.training():
            x = kind.to_model(context.data.train.scaled())
            fitted = PixelGaussian.fit(x)
        view = Standardised.fit(x[:MEASURED], self.noise)
        clean = kind.to_model(context.data.test.scaled(slice(0, self.weighed)))
        noisy = view.back(view(clean, seeded(self.seed, "measure")))
        each = self._log_density(fitted, noisy)
        recorder.add(likelihood(each, standard_error(each), words(view, len(each))))
        n = min(self.samples, len(context.data.test))
        drawn = kind.from_model(fitted.sample(n, self.seed).unflatten(1, context.data.shape))
        real = evaluator.features(held_out(context, n))
        recorder.add(distance(real, drawn, evaluator))

    def _log_density(self, fitted: PixelGaussian, x: Tensor) -> Tensor:
        """Of noisy examples x [n, *shape], [n]."""
        variances = fitted.variances + self.noise**2
        squared = fitted.coordinates(x.double()).square() / variances
        return -(squared + (2 * math.pi * variances).log()).sum(1) / 2


def pixel_noise(x: Tensor, n: int, generator: Generator) -> Tensor:
    """n draws of independent Gaussians with the moments of each entry of x, within its range: where
    the walks of all models begin.
    """
    view = Standardised.fit(x[:MEASURED], 0.0)
    z = normal_(torch.empty(n, *x.shape[1:]), generator)
    return view.back(z).clamp(float(x.min()), float(x.max()))


def budgeted(trial: T, target: Target, preset: str, choices: Choices = BUDGETS) -> T:
    return chosen(trial, choices, target.families, preset)


def longer(trial: T) -> T:
    """The same with so many times the updates."""
    return replace(trial, images=TIMES * trial.images)


def cd10(target: Target, preset: str = "quick", seed: int = 0) -> Machine:
    """A Gaussian-Bernoulli machine by CD-10: ten steps of block Gibbs from the data."""
    trial = Machine("cd10", target.name, preset, seed, learning_rate=1e-2, compared=True)
    return budgeted(trial, target, preset)


def cd1(target: Target, preset: str = "quick", seed: int = 0) -> Machine:
    """The same machine by CD-1, with as many updates."""
    return budgeted(Machine("cd1", target.name, preset, seed, steps=1), target, preset)


def cd1_long(target: Target, preset: str = "quick", seed: int = 0) -> Machine:
    """By CD-1 with as many evaluations as CD-10, which are four times the updates."""
    trial = replace(cd1(target, preset, seed), experiment="cd1_long", learning_rate=3e-4)
    return longer(trial)


def pcd(target: Target, preset: str = "quick", seed: int = 0) -> Machine:
    """By persistent chains of one step an update, with as many evaluations as CD-10."""
    return longer(replace(cd1(target, preset, seed), experiment="pcd", start="buffer"))


def pcd_tempered(target: Target, preset: str = "quick", seed: int = 0) -> Machine:
    """By persistent chains that exchange states with hotter replicas of the machine."""
    trial = replace(cd1(target, preset, seed), experiment="pcd_tempered", learning_rate=1e-2)
    return replace(trial, start="replicas")


def gibbs_langevin(target: Target, preset: str = "quick", seed: int = 0) -> Machine:
    """By CD-10 whose visible units move by Langevin steps given the hidden ones."""
    trial = replace(cd10(target, preset, seed), experiment="gibbs_langevin", compared=False)
    return replace(trial, step="gibbs_langevin")


def conv_cd10(target: Target, preset: str = "quick", seed: int = 0) -> Convolutional:
    """A convolutional energy by CD-10: ten Langevin steps from the data."""
    trial = Convolutional("conv_cd10", target.name, preset, seed)
    return budgeted(trial, target, preset, CONV_BUDGETS)


def conv_cd1(target: Target, preset: str = "quick", seed: int = 0) -> Convolutional:
    """The convolutional energy by CD-1, with as many updates."""
    return replace(conv_cd10(target, preset, seed), experiment="conv_cd1", steps=1)


def conv_cd1_long(target: Target, preset: str = "quick", seed: int = 0) -> Convolutional:
    """The convolutional energy by CD-1, with as many evaluations."""
    return longer(replace(conv_cd1(target, preset, seed), experiment="conv_cd1_long"))


def gaussian(target: Target, preset: str = "quick", seed: int = 0) -> Gaussian:
    """One Gaussian of all pixels, with its whole covariance: a closed form."""
    return Gaussian("gaussian", target.name, preset, seed)


METHODS: Mapping[str, Maker] = {
    "cd10": cd10,
    "cd1": cd1,
    "cd1_long": cd1_long,
    "pcd": pcd,
    "pcd_tempered": pcd_tempered,
    "gibbs_langevin": gibbs_langevin,
    "conv_cd10": conv_cd10,
    "conv_cd1": conv_cd1,
    "conv_cd1_long": conv_cd1_long,
    "gaussian": gaussian,
}

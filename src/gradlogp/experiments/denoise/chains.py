r"""Restoring by the posterior chains of an energy that was trained by contrastive divergence.

Such an energy has no levels: it gives posterior samples by Langevin dynamics, whose mean estimates
the posterior's. A Gaussian of the pixels beside it supplies the large scales that short chains
leave unlearned (see `samplers.posterior`).

Reference: Nijkamp et al. (2020), arXiv 1903.12370 (what short chains leave unlearned).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.baselines.wiener import PixelGaussian, noised
from gradlogp.core.fields import Field, Scaled
from gradlogp.core.kernel import run as walk
from gradlogp.core.random import Streams, seed_for
from gradlogp.experiments.denoise.common import (
    Denoise,
    Estimator,
    PosteriorSample,
    unclamped,
)
from gradlogp.experiments.recipes.energy import ebm
from gradlogp.harness.kinds import Kind
from gradlogp.harness.recipe import Target
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, fitted_inside
from gradlogp.samplers import GaussianPosterior, PosteriorLangevin

TRIED = 4  # chains for each validation picture while a weight is chosen


class Chains(NamedTuple):
    """Where chains end [n, samples, *shape], and their mean over chains and steps [n, *shape]."""

    ends: Tensor
    mean: Tensor


@final
@dataclass(frozen=True)
class Posterior:
    """Posterior chains of an energy beside the Gaussian, at one level of noise."""

    energy: Field
    gaussian: GaussianPosterior
    kind: Kind
    step: float
    temperature: float
    steps: int

    def chains(self, y: Tensor, weight: float, samples: int, seed: int) -> Chains:
        """Of noisy pictures y [n, *shape], begun at Wiener's estimate, the energy times `weight`."""
        centre = self.gaussian.mean(self.kind.to_model(y)).repeat_interleave(samples, 0)
        bounds = self.kind.bounds
        sampler = PosteriorLangevin(centre, self.gaussian, self.step, self.temperature, bounds)
        noise = Streams(seed, 0, len(centre), centre.device)
        field = Scaled(self.energy, weight)
        ends, mean = averaged(sampler, field, centre, self.steps, noise)
        ends, mean = (x.unflatten(0, (len(y), samples)) for x in (ends, mean))
        return Chains(unclamped(ends), unclamped(mean.mean(1)))


@final
@dataclass(frozen=True)
class Contrastive(Denoise):
    """An energy trained by contrastive divergence, beside the Gaussian of the pixels: the mean of
    posterior Langevin chains.

    Each estimate is the mean of the second halves of `samples` chains; the energy's weight is
    chosen by validation at each level.
    """

    images: int = 64_000
    step: float = 0.3
    steps: int = 20
    samples: int = 8
    temperature: float = 0.1
    choice: int = 32  # validation pictures
    share: float = 0.3  # of the Gaussian's energy in the prior
    weights: tuple[float, ...] = (30.0, 60.0, 125.0, 250.0, 500.0, 1000.0, 2000.0)

    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Estimator]:
        recipe = ebm(Target.of(context.data), self.preset, self.seed)
        with recorder.training() as cost:
            fitted = fitted_inside(recorder, recipe, context.data, cost, self.images)
        model: Any = fitted.model
        energy, kind = model.field(), fitted.spec.coordinates
        validation = context.data.validation.scaled(slice(0, self.choice))
        pixels = PixelGaussian.fit(kind.to_model(context.data.train.scaled()))
        return lambda sigma: self._estimator(energy, kind, pixels, validation, sigma)

    def _estimator(
        self, energy: Field, kind: Kind, pixels: PixelGaussian, validation: Tensor, sigma: float
    ) -> Estimator:
        gaussian = GaussianPosterior.of(pixels, kind.gain * sigma, self.share)
        posterior = Posterior(energy, gaussian, kind, self.step, self.temperature, self.steps)
        weight = self._chosen(posterior, validation, sigma)
        how = self._says(weight)

        def estimate(y: Tensor) -> Tensor:
            return posterior.chains(y, weight, self.samples, seed_for("posterior", self.seed)).mean

        def draw(y: Tensor) -> Tensor:
            return posterior.chains(y, weight, 1, seed_for("one posterior sample", self.seed)).ends[
                :, 0
            ]

        says = (
            f"mean of the second halves of {self.samples} chains of {how}; weight by"
            f" {self.choice} validation pictures"
        )
        sample = PosteriorSample(draw, f"one chain of {how}")
        return Estimator(estimate, says, self.steps * self.samples, sample)

    def _chosen(self, posterior: Posterior, validation: Tensor, sigma: float) -> float:
        """The weight of the energy whose estimates of validation pictures are best."""
        seed = seed_for("calibration", self.seed)
        noisy = noised(validation, sigma, seed)
        tried = ((w, posterior.chains(noisy, w, TRIED, seed).mean) for w in self.weights)
        return tasks.choose(tried, validation)

    def _says(self, weight: float) -> str:
        return (
            f"{self.steps} Langevin steps on {weight:g} x energy + {self.share:g} x that of the"
            f" pixels' Gaussian + |x - y|^2 / 2 sigma^2 at temperature {self.temperature:g},"
            " preconditioned by the covariance of all but the energy"
        )


def averaged(
    sampler: Any, field: Field, x: Tensor, steps: int, generator: Streams
) -> tuple[Tensor, Tensor]:
    """Where the chains from x end, and the mean of their states after each of the last half of the
    steps (at least one).
    """
    total = torch.zeros_like(x)
    first = steps // 2 + 1

    def watch(step: int, state: Any, info: Any) -> None:
        total.add_(state.x, alpha=float(step >= first))

    ends = walk(sampler, field, x, steps, generator, watch)
    return ends, total / (steps - first + 1)

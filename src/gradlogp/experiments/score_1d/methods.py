r"""Score matching on the line: explicit, implicit, sliced, finite differences, denoising.

Each objective fits the score of a Gaussian and of a mixture twice: with a line, :math:`s(x) = ax +
b`, whose minimiser is known in closed form, and with a perceptron. Explicit matching must find
:math:`a = -1/s^2`; implicit, sliced and finite-difference matching the maximum-likelihood :math:`a
= -1/\widehat{var}` *of the sample*, to the last digit; denoising the score of the noised density,
:math:`a = -1/(\widehat{var} + \sigma^2)`, up to the noise that was drawn.

A kernel density estimate is the baseline without a network.

References: Hyvarinen (2005), section 3; Vincent (2011), eq. 11; Song et al. (2019), arXiv
1905.07088; Pang et al. (2020), arXiv 2007.03317.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Field, Score as ScoreField
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture
from gradlogp.data.line import DENSITIES, column_of
from gradlogp.experiments.score_1d.fitted import LEVELS, Fit, OnTheLine, Score, moments, rmse
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context
from gradlogp.metrics import Measure
from gradlogp.models import VectorScore, mlp_score
from gradlogp.objectives import (
    DenoisingScoreMatching,
    ExplicitScoreMatching,
    FiniteDifferenceScoreMatching,
    ImplicitScoreMatching,
    LogNormal,
    Objective,
    SingleLevel,
    SlicedScoreMatching,
)
from gradlogp.training import Learner, Training, learn_from

Matching = Literal[
    "explicit", "implicit", "sliced", "sliced_plain", "finite_difference", "denoising"
]
EVERY = 50  # updates between two measurements of the error
BUDGETS: Choices = {"any": {"full": ("steps=10000",), "gpu": ("steps=10000",)}}


class Line(nn.Module):
    """s(x) = a x + b, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def field(self, cond: Tensor | None = None) -> ScoreField:
        return ScoreField(lambda x: self.a * x + self.b)


@final
@dataclass(frozen=True)
class ScoreMatching(OnTheLine):
    """One objective; `sigma` is the noise of denoising score matching, `epsilon` the step of finite
    differences.
    """

    matching: Matching = "implicit"
    sigma: float = 0.1
    epsilon: float = 0.1
    conditional: bool = False  # on the noise level: one network for all levels
    hidden: tuple[int, ...] = (64, 64)
    steps: int = 2000
    batch: int = 1024
    learning_rate: float = 5e-3

    def objective(self, density: GaussianMixture) -> Objective:
        levels = LogNormal(-1.0, 1.5) if self.conditional else SingleLevel(self.sigma)
        made: dict[Matching, Callable[[], Objective]] = {
            "explicit": lambda: ExplicitScoreMatching(density.at(0.0)),
            "implicit": ImplicitScoreMatching,
            "sliced": lambda: SlicedScoreMatching(variance_reduced=True),
            "sliced_plain": lambda: SlicedScoreMatching(variance_reduced=False),
            "finite_difference": lambda: FiniteDifferenceScoreMatching(epsilon=self.epsilon),
            "denoising": lambda: DenoisingScoreMatching(levels),
        }
        return made[self.matching]()

    def fits(self, recorder: Recorder, cost: Cost, name: str, context: Context) -> Fit:
        x = column_of(context.data.train, name)
        if not self.conditional:
            recorder.add(self._slope_error(name, x), axes={"density": name})
        return self._perceptron(recorder, cost, name, x.float())

    def _slope_error(self, name: str, x: Tensor) -> Measure:
        """That of a line fitted to all draws."""
        slope, says = self._closed_form(name, x)
        error = abs(self._line(name, x) - slope)
        protocol = f"|a - a*| of the line a x + b fitted to {len(x)} draws; a* is {says}"
        return Measure("slope_error", error, None, len(x), "lower", protocol)

    def _line(self, name: str, x: Tensor) -> float:
        """The slope of a line fitted by a quasi-Newton method, every time to the same noise."""
        model, objective = Line(), self.objective(DENSITIES[name])
        optimizer = torch.optim.LBFGS(
            model.parameters(),
            max_iter=100,
            tolerance_grad=1e-13,
            tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = objective(model, Batch(x), seeded(self.seed, "line", name)).value.mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        return float(model.a.detach())

    def _closed_form(self, name: str, x: Tensor) -> tuple[float, str]:
        """The slope that the objective has its minimum at, and what it is."""
        var = float(x.var(unbiased=False))
        if self.matching == "denoising":
            says = "-1 / (sample variance + sigma^2), and the noise drawn is a sample too"
            return -1 / (var + self.sigma**2), says
        if self.matching == "explicit":
            slope = float(((x - x.mean()) * DENSITIES[name].score(x)).mean()) / var
            return slope, "the regression of the exact score on x"
        return -1 / var, "-1 / sample variance, the maximum-likelihood value"

    def _perceptron(self, recorder: Recorder, cost: Cost, name: str, x: Tensor) -> Fit:
        """Learned from draws with replacement, the last weights, not their average."""
        density, listener = DENSITIES[name], recorder.listener
        learner = self._learner(name)
        level = min(LEVELS) if self.conditional else 0.0
        sigma = self.sigma if self.matching == "denoising" and not self.conditional else 0.0
        score = scored(learner.model, level)
        curve: list[tuple[float, float, float]] = []
        began = time.perf_counter()

        def batch(step: int) -> Batch:
            return Batch(x[torch.randint(len(x), (self.batch,), generator=learner.generator)])

        def watch(step: int) -> None:
            if step % EVERY == 0:
                error = rmse(score, density, sigma or level)
                curve.append((time.perf_counter() - began, float(step), error))
                listener.advance(EVERY)

        listener.begin(f"{self.experiment} {name}", self.steps)
        model = learn_from(learner, batch, watch)
        listener.end()
        cost.parameters += sum(p.numel() for p in model.parameters())
        cost.images += self.steps * self.batch
        cost.evaluations += self.steps * self.batch
        at = (lambda s: scored(model, s)) if self.conditional else None
        return Fit(scored(model, level), sigma, curve, at)

    def _learner(self, name: str) -> Learner:
        """Adam along a cosine to 0, without warm-up and without averaging."""
        density = DENSITIES[name]
        torch.manual_seed(seeded(self.seed, "weights", name).initial_seed())
        told = self.conditional
        model = mlp_score(1, moments(density)[1], 64, 2) if told else VectorScore(1, self.hidden)
        training = Training(
            self.steps * self.batch,
            self.batch,
            self.learning_rate,
            warmup=0,
            final_lr=0.0,
            ema=0.0,
        )
        generator = seeded(self.seed, "perceptron", name)
        return Learner(model, self.objective(density), training, generator)


def scored(model: Any, sigma: float) -> Score:
    """A float32 network as a function of float64 draws; at one level where it knows levels."""
    field: Field = model.field().at(sigma) if sigma else model.field()
    return lambda x: field.score(x.float()).double()


@final
@dataclass(frozen=True)
class KernelDensity(OnTheLine):
    """The score of a Gaussian kernel density estimate of `draws` draws; the bandwidth is chosen by
    validation likelihood.
    """

    draws: int = 2000
    bandwidths: tuple[float, ...] = (0.03, 0.05, 0.08, 0.12, 0.2, 0.3)

    def fits(self, recorder: Recorder, cost: Cost, name: str, context: Context) -> Fit:
        x = column_of(context.data.train, name)[: self.draws]
        held_out = column_of(context.data.validation, name)[:1000]
        tried = [kernels(x, bandwidth) for bandwidth in self.bandwidths]
        estimate = min(tried, key=lambda k: float(k.energy(held_out).mean()))
        cost.parameters += len(x)
        return Fit(lambda y: torch.cat([estimate.score(part) for part in y.split(500)]))


def kernels(x: Tensor, bandwidth: float) -> GaussianMixture:
    return GaussianMixture(x, torch.full_like(x, bandwidth), x.new_full((len(x),), 1 / len(x)))


def _matching(
    name: str, matching: Matching, target: Target, preset: str, seed: int
) -> ScoreMatching:
    trial = ScoreMatching(name, target.name, preset, seed, matching=matching)
    return chosen(trial, BUDGETS, target.families, preset)


def esm(target: Target, preset: str = "quick", seed: int = 0) -> ScoreMatching:
    """Explicit score matching: told the exact score, the yardstick of the others."""
    return _matching("esm", "explicit", target, preset, seed)


def ism(target: Target, preset: str = "quick", seed: int = 0) -> ScoreMatching:
    """Implicit score matching, with the exact derivative."""
    return _matching("ism", "implicit", target, preset, seed)


def ssm(target: Target, preset: str = "quick", seed: int = 0) -> ScoreMatching:
    """Sliced score matching; on the line the same as implicit, direction by direction."""
    return _matching("ssm", "sliced_plain", target, preset, seed)


def ssm_vr(target: Target, preset: str = "quick", seed: int = 0) -> ScoreMatching:
    """Sliced score matching, its variance reduced."""
    return _matching("ssm_vr", "sliced", target, preset, seed)


def fd_ssm(target: Target, preset: str = "quick", seed: int = 0) -> ScoreMatching:
    """Finite-difference sliced score matching: no second derivatives."""
    return _matching("fd_ssm", "finite_difference", target, preset, seed)


def dsm(target: Target, preset: str = "quick", seed: int = 0) -> ScoreMatching:
    """Denoising score matching at one noise level: learns the score of the noised density."""
    return _matching("dsm_1d", "denoising", target, preset, seed)


def dsm_levels(target: Target, preset: str = "quick", seed: int = 0) -> ScoreMatching:
    """Denoising score matching, one network for all levels."""
    return replace(_matching("dsm_levels", "denoising", target, preset, seed), conditional=True)


def kernel_density(target: Target, preset: str = "quick", seed: int = 0) -> KernelDensity:
    """The score of a kernel density estimate: the baseline without a network."""
    return KernelDensity("kernel_density", target.name, preset, seed)


METHODS: Mapping[str, Maker] = {
    "esm": esm,
    "ism": ism,
    "ssm": ssm,
    "ssm_vr": ssm_vr,
    "fd_ssm": fd_ssm,
    "dsm_1d": dsm,
    "dsm_levels": dsm_levels,
    "kernel_density": kernel_density,
}

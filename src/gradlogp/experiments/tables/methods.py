r"""The methods: one network of scores or of energies for all three questions, and what answers one.

**A missing cell.** The mean of the ends of masked chains down the noise levels (`tasks.impute`).

**An anomaly** has a high energy at the level of half the data's deviation; of a score, a high
denoising error at three levels, relative to that of held-out normal rows. The levels are fixed
beforehand.

Reference: Graham et al. (2023), arXiv 2211.07740 (denoising errors).
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.baselines.copula import GaussianCopula
from gradlogp.baselines.detectors import DETECTORS, PICTURES
from gradlogp.baselines.impute import (
    Imputer,
    IterativeImputer,
    LinearImputer,
    MeanImputer,
    NearestImputer,
)
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import normal_, seeded
from gradlogp.experiments.tables.common import Draw, Learned, Tabular
from gradlogp.experiments.tables.problems import Problem
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target
from gradlogp.harness.settings import Choices, chosen
from gradlogp.models import mlp_noisy_energy, mlp_score
from gradlogp.objectives import DenoisingScoreMatching, LogNormal
from gradlogp.samplers import ConsistentAnnealedLangevin
from gradlogp.tasks import detect
from gradlogp.tasks.impute import Chains
from gradlogp.training import Guard, GuardSettings, Learner, Training, learn

LEVELS = (0.25, 0.5, 1.0)  # of denoising, in standard deviations
FURTHER = ("7_Cardiotocography", "28_pendigits", "30_satellite", "41_Waveform")
FIVE = "further=" + ",".join(f"'adbench:{name}'" for name in FURTHER)
LIMITS = GuardSettings(max_energy=float("inf"), max_growth=float("inf"), max_gap=float("inf"))
# The named table goes with four others of ADBench, all with 16 to 36 columns and 500 normal rows or
# more to learn from; a person's own file is alone.
SCOPES: Choices = {"adbench:6_cardio": {"any": (FIVE,)}}
BUDGETS: Choices = {
    "any": {
        "quick": ("training.images=60000",),
        "full": ("training.images=200000",),
        "gpu": ("training.images=2000000",),
    }
}


@dataclass(frozen=True)
class Levelled(Tabular):
    """A network that knows noise levels, learned by denoising score matching in at most `passes`
    through the rows: small tables are soon known by heart.
    """

    training: Training = field(
        default_factory=lambda: Training(1, batch=128, learning_rate=2e-3, ema=0.999)
    )
    passes: int = 60
    width: int = 128
    blocks: int = 3
    chains: Chains = field(default_factory=Chains)

    @abc.abstractmethod
    def network(self, problem: Problem, std: float) -> nn.Module:
        """Untrained."""

    @abc.abstractmethod
    def unusual(self, model: Any, problem: Problem, x: Tensor, std: float) -> Tensor:
        """How unusual rows x [n, d] are, [n]."""

    def learn(self, problem: Problem) -> Learned:
        std = float(problem.train.square().mean().sqrt())
        torch.manual_seed(seeded(self.seed, "weights", problem.name).initial_seed())
        objective = DenoisingScoreMatching(LogNormal(-0.8, 1.2), "edm", std)
        generator = seeded(self.seed, "noise", problem.name)
        images = min(self.training.images, self.passes * len(problem.train))
        training = replace(self.training, images=images)
        network = self.network(problem, std)
        learner = Learner(network, objective, training, generator, Guard(LIMITS))
        model = learn(learner, problem.train, None, self.seed)

        def impute(x: Tensor, known: Tensor) -> Tensor:
            fresh = seeded(self.seed, "chains", problem.name)
            return self.chains.mean(model.field(), x, known, std, fresh)

        def score(x: Tensor) -> Tensor:
            return self.unusual(model, problem, x, std)

        parameters = sum(weight.numel() for weight in model.parameters())
        return Learned(score, impute, self._draw(model, problem, std), parameters, images)

    def _draw(self, model: Any, problem: Problem, std: float) -> Draw:
        sampler = ConsistentAnnealedLangevin(VarianceExploding(0.03 * std, 10 * std), 60)

        def draw(n: int, generator: Generator) -> Tensor:
            x = normal_(torch.empty(n, *problem.train.shape[1:]), generator)
            return run(sampler, model.field(), x * sampler.ladder[0], sampler.steps, generator)

        return draw


@final
@dataclass(frozen=True)
class ScoreRows(Levelled):
    def network(self, problem: Problem, std: float) -> nn.Module:
        return mlp_score(problem.train.shape[1], std, self.width, self.blocks)

    def unusual(self, model: Any, problem: Problem, x: Tensor, std: float) -> Tensor:
        levels = [std * level for level in LEVELS]

        def errors(x: Tensor) -> Tensor:
            noise = seeded(self.seed, "denoising", problem.name)
            return detect.denoising_errors(model, x, levels, noise, draws=8)

        return detect.relative(errors(x), errors(problem.held_out))


@final
@dataclass(frozen=True)
class EnergyRows(Levelled):
    def network(self, problem: Problem, std: float) -> nn.Module:
        return mlp_noisy_energy(problem.train.shape[1], std, self.width, self.blocks)

    def unusual(self, model: Any, problem: Problem, x: Tensor, std: float) -> Tensor:
        return detect.energy(model, x, std / 2)


@final
@dataclass(frozen=True)
class Detection(Tabular):
    """A detector of `baselines.detectors`, by its name there."""

    detector: str = "neighbours"

    def learn(self, problem: Problem) -> Learned:
        score = DETECTORS[self.detector]().fit(problem.train, problem.held_out, self.seed)
        return Learned(detect=lambda x: detect.by_batch(lambda part, _: score(part), x))


IMPUTERS: Mapping[str, Imputer] = {
    "mean_imputer": MeanImputer(),
    "nearest_imputer": NearestImputer(),
    "linear_imputer": LinearImputer(),
    "iterative_imputer": IterativeImputer(),
}


@final
@dataclass(frozen=True)
class Imputation(Tabular):
    """An imputer of `IMPUTERS`, by its name there."""

    imputer: str = "mean_imputer"

    def learn(self, problem: Problem) -> Learned:
        return Learned(impute=IMPUTERS[self.imputer].fit(problem.train, self.seed))


@final
@dataclass(frozen=True)
class Copula(Tabular):
    def learn(self, problem: Problem) -> Learned:
        fitted = GaussianCopula.fit(problem.train.double(), problem.spans)
        return Learned(draw=fitted.sample)


def score_rows(target: Target, preset: str = "quick", seed: int = 0) -> Levelled:
    """A score network at many noise levels: denoising error, masked Langevin, annealed Langevin."""
    return _levelled(ScoreRows("score", target.name, preset, seed), target)


def energy_rows(target: Target, preset: str = "quick", seed: int = 0) -> Levelled:
    """An energy at many noise levels: energy, masked Langevin, annealed Langevin on its gradient."""
    return _levelled(EnergyRows("energy", target.name, preset, seed), target)


def _levelled(trial: Levelled, target: Target) -> Levelled:
    trial = chosen(trial, BUDGETS, target.families, trial.preset)
    return chosen(trial, SCOPES, target.families, trial.preset)


def copula(target: Target, preset: str = "quick", seed: int = 0) -> Copula:
    """Gaussian copula: the columns' own values, tied as a Gaussian's are."""
    return chosen(Copula("copula", target.name, preset, seed), SCOPES, target.families, preset)


def _detector(name: str) -> Maker:
    def make(target: Target, preset: str = "quick", seed: int = 0) -> Detection:
        trial = Detection(name, target.name, preset, seed, detector=name)
        return chosen(trial, SCOPES, target.families, preset)

    make.__doc__ = DETECTORS[name]().__class__.__doc__
    return _in_a_sentence(make)


def _imputer(name: str) -> Maker:
    def make(target: Target, preset: str = "quick", seed: int = 0) -> Imputation:
        trial = Imputation(name, target.name, preset, seed, imputer=name)
        return chosen(trial, SCOPES, target.families, preset)

    make.__doc__ = IMPUTERS[name].__class__.__doc__
    return _in_a_sentence(make)


def _in_a_sentence(make: Maker) -> Maker:
    make.__doc__ = (make.__doc__ or "").partition("\n\n")[0]
    return make


METHODS: Mapping[str, Maker] = {
    "score": score_rows,
    "energy": energy_rows,
    **{name: _imputer(name) for name in IMPUTERS},
    "copula": copula,
    **{name: _detector(name) for name in DETECTORS if name not in PICTURES},
}

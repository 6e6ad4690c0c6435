"""Noise-conditional score networks: denoising score matching at many noise levels, annealed
Langevin to generate.

Levels in training are log-normal where a budget is minutes: most of the learning is needed in the
middle, and the ends of a geometric ladder are easy. Noise levels here are on [-1, 1], twice those
on [0, 1].
"""

from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.fields import NoisyField
from gradlogp.core.guidance import Guided
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import Randomness, normal_
from gradlogp.experiments.base import Evaluation, Facts, Generative, Restorer, to_model, to_picture
from gradlogp.models import Preconditioned, unet_score
from gradlogp.objectives import (
    DenoisingScoreMatching,
    FromProcess,
    Ladder,
    LogNormal,
    Objective,
    SingleLevel,
    Uncertainty,
    Weight,
)
from gradlogp.samplers import AnnealedLangevin, ConsistentAnnealedLangevin
from gradlogp.training import GuardSettings, Training


@final
@dataclass(frozen=True)
class UNetShape:
    """Channels per resolution, residual blocks at each, and the patch that the stem folds into
    channels.
    """

    channels: tuple[int, ...] = (32, 64)
    blocks: int = 1
    patch: int = 2

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, blocks=self.blocks, patch=self.patch)


@final
@dataclass(frozen=True)
class ScoreRecipe(Generative):
    experiment: str
    dataset: str
    preset: str
    training: Training
    seed: int = 0
    conditional: bool = False
    net: UNetShape = field(default_factory=UNetShape)
    levels: LogNormal | Ladder | FromProcess | SingleLevel = field(
        default_factory=lambda: LogNormal(-0.4, 1.2)
    )
    weight: Weight = "edm"
    uncertainty: bool = False  # weigh the levels by how hard they prove to be
    # share of training examples shown without their class, so that the model also knows the
    # marginal
    drop_cond: float = 0.1
    sampler: ConsistentAnnealedLangevin | AnnealedLangevin = field(
        default_factory=lambda: ConsistentAnnealedLangevin(VarianceExploding(0.05, 10.0), 60)
    )
    guidance: float = 0.0  # of a conditional model; 0 is off
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed, guidance=self.guidance, drop_cond=self.drop_cond)
        if self.weight == "likelihood" and isinstance(self.levels, Ladder | SingleLevel):
            raise UserError(
                "the weight 'likelihood' needs a distribution of levels with a density, got"
                f" {type(self.levels).__name__}; use LogNormal or FromProcess."
            )
        if self.guidance > 0 and not 0 < self.drop_cond < 1:
            raise UserError(
                "guidance leans on the marginal score, which is learned from the share drop_cond"
                f" of the examples; it must lie between 0 and 1, got {self.drop_cond:g}."
            )

    @property
    def evaluations_per_example(self) -> int:
        return 1

    def model(self, facts: Facts) -> Preconditioned:
        classes = facts.classes if self.conditional else 0
        return unet_score(
            facts.shape, facts.std, self.net.channels, self.net.blocks, self.net.patch, classes
        )

    def objective(
        self, facts: Facts, generator: Generator, device: torch.device | str
    ) -> Objective:
        drop = self.drop_cond if self.conditional else 0.0
        uncertainty = Uncertainty().to(device) if self.uncertainty else None
        return DenoisingScoreMatching(
            self.levels, self.weight, facts.std, drop, uncertainty=uncertainty
        )

    def generator(
        self, model: Any, facts: Facts, device: torch.device | str = "cpu"
    ) -> tasks.Generator[Any]:
        top = self.sampler.ladder[0]

        def prior(x: Tensor, generator: Randomness) -> Tensor:
            return normal_(x, generator).mul_(top)

        def guided(cond: Tensor | None) -> NoisyField:
            return Guided(model.field(cond), model.field(None), self.guidance)

        field, cost = (guided, 2) if self.conditional and self.guidance else (model.field, 1)
        return tasks.Generator(
            field, self.sampler, prior, self.sampler.steps, facts.shape, to_picture, device, cost
        )

    def restorer(self, model: Any, validation: Tensor, sigma: float, seed: int) -> Restorer:
        def restore(noisy: Tensor) -> Tensor:
            y = to_model(noisy).to(next(model.parameters()).device)
            return to_picture(tasks.tweedie(model.field(), y, 2 * sigma)).cpu()

        return Restorer(restore, "posterior mean in one step (Tweedie)", 1)


def ncsn(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A noise-conditional score network, sampled by annealed Langevin dynamics."""
    small = dataset == "digits"
    images = {
        "quick": 64_000 if small else 190_000,
        "full": 200_000 if small else 500_000,
        "gpu": 10_000_000,
    }[preset]
    recipe = ScoreRecipe("ncsn", dataset, preset, Training(images, learning_rate=2e-3), seed)
    return replace(recipe, evaluation=Evaluation(samples=360, denoise=180)) if small else recipe


def ncsn_single(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """The same network trained at a single noise level: the negative control, which cannot
    generate.
    """
    recipe = ncsn(dataset, preset, seed)
    return replace(recipe, experiment="ncsn_single", levels=SingleLevel(0.6))


def ncsn_class(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A class-conditional noise-conditional score network, guided: draws the digit that was asked
    for.
    """
    return replace(
        ncsn(dataset, preset, seed), experiment="ncsn_class", conditional=True, guidance=0.4
    )

"""Noise-conditional score networks: denoising score matching at many noise levels, annealed Langevin to
generate.

Levels in training are log-normal where a budget is minutes: most of the learning is needed in the
middle, and the ends of a geometric ladder are easy. Noise levels here are in model coordinates; for
pictures, on [-1, 1], twice those on [0, 1].
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Union, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.fields import NoisyField
from gradlogp.core.guidance import Guided
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import Randomness, normal_
from gradlogp.experiments.recipes.energy import TOLD
from gradlogp.harness.recipe import (
    DataSpec,
    Evaluation,
    Generative,
    Restoration,
    Target,
    configured,
)
from gradlogp.harness.settings import Choices
from gradlogp.models import Preconditioned, mlp_score, unet_score
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
from gradlogp.samplers import LADDER_SAMPLERS, ConsistentAnnealedLangevin, PredictorCorrector
from gradlogp.training import GuardSettings, Training

if TYPE_CHECKING:
    LadderSampler = Any
else:
    LadderSampler = Union[tuple(LADDER_SAMPLERS.values())]  # noqa: UP007

BUDGETS: Choices = {
    "any": {
        "quick": ("training.images=190000",),
        "full": ("training.images=500000",),
        "gpu": ("training.images=10000000",),
    },
    "small": {
        "any": ("evaluation.samples=360", "evaluation.denoise=180"),
        "quick": ("training.images=64000",),
        "full": ("training.images=200000",),
    },
    # A stem of 4x4 pays for twice the channels and blocks at three quarters of the speed: 334 training
    # examples a second on one core. The mean colour varies by some 15, so noise has to begin above.
    "cifar10": {
        "any": (
            "net.channels=64,128",
            "net.blocks=2",
            "net.patch=4",
            "sampler.process.sigma_max=50.0",
            "training.learning_rate=1e-3",
        ),
        "quick": ("training.images=150000",),
        "full": ("training.images=1000000",),
    },
}


@final
@dataclass(frozen=True)
class UNetShape:
    """Channels per resolution, residual blocks at each, and the patch that the stem folds into
    channels. Rows of a table have a perceptron, as wide as twice the last entry of `channels`.
    """

    channels: tuple[int, ...] = (32, 64)
    blocks: int = 1
    patch: int = 2

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, blocks=self.blocks, patch=self.patch)


@final
@dataclass(frozen=True)
class ScoreRecipe(Generative):
    """A score network that is told the noise level, or trained at a single one."""

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
    sampler: LadderSampler = field(
        default_factory=lambda: ConsistentAnnealedLangevin(VarianceExploding(0.05, 10.0), 60)
    )
    guidance: float = 0.0  # of a conditional model; 0 is off
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(default_factory=Evaluation)
    sampler_field: ClassVar[str] = "sampler"

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed, guidance=self.guidance, drop_cond=self.drop_cond)
        if self.weight == "likelihood" and isinstance(self.levels, Ladder | SingleLevel):
            raise UserError(
                "the weight 'likelihood' needs a distribution of levels with a density, got"
                f" {type(self.levels).__name__}; use LogNormal or FromProcess."
            )
        if self.guidance > 0 and not 0 < self.drop_cond < 1:
            raise UserError(
                "guidance leans on the marginal score, which is learned from the share drop_cond of"
                f" the examples; it must lie between 0 and 1, got {self.drop_cond:g}."
            )

    @property
    def evaluations_per_example(self) -> int:
        return 1

    def model(self, spec: DataSpec) -> Preconditioned:
        classes = spec.classes if self.conditional else 0
        if len(spec.shape) == 1:
            width = 2 * self.net.channels[-1]
            return mlp_score(spec.shape, spec.std, width, 2, classes)
        return unet_score(
            spec.shape, spec.std, self.net.channels, self.net.blocks, self.net.patch, classes
        )

    def objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        drop = self.drop_cond if self.conditional else 0.0
        uncertainty = Uncertainty().to(device) if self.uncertainty else None
        return DenoisingScoreMatching(
            self.levels, self.weight, spec.std, drop, uncertainty=uncertainty
        )

    def sampling(
        self, model: Any, spec: DataSpec, device: torch.device | str = "cpu"
    ) -> tasks.Sampling[Any]:
        top = self.sampler.ladder[0]

        def prior(x: Tensor, generator: Randomness) -> Tensor:
            return normal_(x, generator).mul_(top)

        def guided(cond: Tensor | None) -> NoisyField:
            return Guided(model.field(cond), model.field(None), self.guidance)

        field, cost = (guided, 2) if self.conditional and self.guidance else (model.field, 1)
        return tasks.Sampling(
            field,
            self.sampler,
            prior,
            self.sampler.steps,
            spec.shape,
            spec.coordinates.from_model,
            device,
            cost,
        )

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        return by_tweedie(model, spec, sigma)

    def steps_setting(self) -> str:
        inside = "predictor." if isinstance(self.sampler, PredictorCorrector) else ""
        return f"{self.sampler_field}.{inside}levels"

    def coarsest_level(self) -> float:
        return self.sampler.ladder[0]

    def title(self) -> str:
        levels = "one noise level" if isinstance(self.levels, SingleLevel) else "many noise levels"
        return f"Score network, {levels}{', told the class' if self.conditional else ''}"

    def about(self) -> str:
        paragraphs = [
            "The network is shown examples with noise added, and learns to guess the clean ones."
            " From the guess follows the **score**: the direction in which the noisy example becomes"
            " more likely.",
            self._about_levels(),
        ]
        return "\n\n".join([*paragraphs, *([TOLD] if self.conditional else [])])

    def _about_levels(self) -> str:
        if isinstance(self.levels, SingleLevel):
            return (
                f"It is trained at **one noise level only** ({self.levels.sigma:g} in model"
                " coordinates). This is the control experiment: pure noise is like nothing that it"
                " ever saw, so it is expected to fail at drawing, while it may well restore."
            )
        each = getattr(self.sampler, "steps_per_level", 1)
        with_steps = f", with {each} steps at each" if each > 1 else ""
        return (
            "It learns this at **many noise levels**, from hardly any noise to so much that nothing"
            " is left of the example. To draw, it begins with pure noise and goes down through"
            f" {len(self.sampler.ladder)} levels{with_steps}: first the coarse shape, last the"
            " details."
        )


def by_tweedie(model: Any, spec: DataSpec, sigma: float) -> Restoration:
    """The posterior mean of examples with noise `sigma`, by a model of every level."""
    kind = spec.coordinates

    def restore(noisy: Tensor) -> Tensor:
        y = kind.to_model(noisy).to(next(model.parameters()).device)
        return kind.from_model(tasks.tweedie(model.field(), y, kind.gain * sigma)).cpu()

    return Restoration(restore, "posterior mean in one step (Tweedie)", 1)


def ncsn(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A noise-conditional score network, sampled by annealed Langevin dynamics."""
    recipe = ScoreRecipe("ncsn", target.name, preset, Training(1, learning_rate=2e-3), seed)
    return configured(recipe, BUDGETS, target, preset)


def ncsn_single(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """The same network trained at a single noise level: the negative control, which cannot
    generate.
    """
    recipe = ncsn(target, preset, seed)
    return replace(recipe, experiment="ncsn_single", levels=SingleLevel(0.6))


def ncsn_class(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A class-conditional noise-conditional score network, guided: draws the digit that was asked
    for.
    """
    recipe = ncsn(target, preset, seed)
    return replace(recipe, experiment="ncsn_class", conditional=True, guidance=0.4)

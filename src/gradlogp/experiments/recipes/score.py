"""Noise-conditional score networks: denoising score matching at many noise levels, annealed
Langevin to generate.

Levels in training are log-normal where a budget is minutes: most of the learning is needed in the
middle, and the ends of a geometric ladder are easy. Noise levels here are in model coordinates; for
pictures, on [-1, 1], twice those on [0, 1].

The walk begins at pure noise, or at draws of a mixture with noise of a middle level: the coarsest
levels, where a network of minutes errs most, are left to the mixture.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Union, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.fields import NoisyField
from gradlogp.core.guidance import Guided
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import Randomness, normal_
from gradlogp.experiments.recipes import by_level
from gradlogp.experiments.recipes.energy import TOLD
from gradlogp.experiments.recipes.losses import (
    Asked,
    ByDenoising,
    OfEnergies,
    ScoreLoss,
    many,
)
from gradlogp.experiments.recipes.nets import EnergyShape, UNetShape, WaveShape, noisy_energy
from gradlogp.experiments.recipes.proposal import Proposal, fit_mixture, serves
from gradlogp.experiments.recipes.wired import check_covariance, check_two_valued, wired_by_class
from gradlogp.harness.recipe import (
    GUARDED,
    DataSpec,
    Evaluation,
    Generative,
    Restoration,
    Subject,
    Target,
    configured,
)
from gradlogp.harness.record import Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.models import (
    Preconditioned,
    PreconditionedEnergy,
    Proposed,
    fit_gaussian,
    mlp_score,
    unet_score,
    wavenet_score,
    with_gaussian,
)
from gradlogp.objectives import (
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
    # Most of what is unsure of two-valued entries lies above a level of .3; below it nothing is left
    # to learn, and the last step, from there, makes them whole.
    "volume": {
        "any": (
            "two_valued=true",
            "levels.mean=0.0",
            "sampler.process.sigma_min=0.3",
            "net.channels=16,32",
            "training.batch=16",
            "training.learning_rate=4e-3",
        ),
        "quick": ("training.images=30000",),
        "full": ("training.images=200000",),
    },
    # Speech has a root mean square of .06. Walks without noise draw best here, too: annealed Langevin
    # leaves all but silent what the solver makes heard (docs/results/score_audio).
    "waveform": {
        "any": (
            "net.channels=32,64,96,128",
            "net.blocks=1",
            "net.patch=8",
            "levels.mean=-2.7",
            "levels.width=1.4",
            "sampler.kind=dpm_solver",
            "sampler.process.kind=edm",
            "sampler.process.sigma_min=0.002",
            "sampler.process.sigma_max=5.0",
            "sampler.levels=20",
            "training.batch=16",
        ),
        "quick": ("training.images=30000",),
        "full": ("training.images=120000",),
    },
    "small": {
        "any": ("evaluation.samples=360", "evaluation.denoise=180"),
        "quick": ("training.images=64000",),
        "full": ("training.images=200000",),
    },
    # The mean colour varies by some 15, so noise has to begin above. What the linear denoiser leaves
    # over is far less than one variance would say, and least where there is little noise: levels are
    # weighed by what is left. Walks without noise draw best (docs/results/score_generate-cifar10).
    "cifar10": {
        "any": (
            "covariance=true",
            "uncertainty=true",
            "sampler.kind=dpm_solver",
            "sampler.process.kind=edm",
            "sampler.process.sigma_min=0.05",
            "sampler.process.sigma_max=50.0",
            "sampler.levels=20",
            "training.batch=32",
        ),
        "quick": ("training.images=150000",),
        "full": ("training.images=1000000",),
    },
}


# Volumes, and pictures of more than twelve pixels a side: the walk begins at draws of a mixture.
PROPOSED: Choices = {
    "picture": {
        "any": (
            "proposal.components=400",
            "sampler.process.sigma_max=0.7",
            "sampler.levels=30",
            "training.batch=32",
            "training.learning_rate=4e-3",
        ),
        "quick": ("training.images=64000",),
        "full": ("training.images=250000",),
        "gpu": ("training.images=10000000", "training.batch=64", "training.learning_rate=2e-3"),
    },
    "volume": {
        "any": (
            "proposal.components=400",
            "sampler.process.sigma_max=0.7",
            "sampler.levels=30",
            "net.channels=16,32",
        ),
        "quick": ("training.images=30000",),
        "full": ("training.images=200000",),
        "gpu": ("training.images=10000000",),
    },
    "cifar10": {
        "any": (
            "sampler.kind=consistent_annealed_langevin",
            "sampler.process.kind=ve",
            "sampler.process.sigma_min=0.05",
            "sampler.process.sigma_max=0.7",
            "sampler.levels=30",
        ),
    },
}
NOISE = 10.0  # the level at which nothing is left of an example in model coordinates


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
    two_valued: bool = False  # all entries are -1 or 1 in model coordinates, as of voxels
    # the best linear denoiser, of each class where it is told one, is wired in; the network learns
    # the rest
    covariance: bool = False
    net: UNetShape | WaveShape | EnergyShape = field(default_factory=UNetShape)
    levels: LogNormal | Ladder | FromProcess | SingleLevel = field(
        default_factory=lambda: LogNormal(-0.4, 1.2)
    )
    weight: Weight = "edm"
    objective: ScoreLoss = field(default_factory=ByDenoising)
    uncertainty: bool = False  # weigh the levels by how hard they prove to be
    # share of training examples shown without their class, so that the model also knows the
    # marginal
    drop_cond: float = 0.1
    sampler: LadderSampler = field(
        default_factory=lambda: ConsistentAnnealedLangevin(VarianceExploding(0.05, 10.0), 60)
    )
    guidance: float = 0.0  # of a conditional model; 0 is off
    proposal: Proposal = field(default_factory=Proposal)
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(default_factory=Evaluation)
    sampler_field: ClassVar[str] = "sampler"

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed, guidance=self.guidance, drop_cond=self.drop_cond)
        if self.conditional and self.proposal.components:
            raise UserError(
                "a mixture knows no classes, so a conditional score begins at noise: set"
                f" proposal.components=0, got {self.proposal.components}."
            )
        if (self.two_valued or self.covariance) and not isinstance(self.net, UNetShape):
            raise UserError(
                "two_valued=true and covariance=true are for net.kind=unet, got"
                f" {self.net.named!r}; set them false, or net.kind=unet."
            )
        if self.two_valued and self.covariance:
            raise UserError("two_valued and covariance are two ways of one; set one of them false.")
        if self.weight == "likelihood" and isinstance(self.levels, Ladder | SingleLevel):
            raise UserError(
                "the weight 'likelihood' needs a distribution of levels with a density, got"
                f" {type(self.levels).__name__}; use LogNormal or FromProcess."
            )
        if isinstance(self.objective, OfEnergies) and not isinstance(self.net, EnergyShape):
            raise UserError(
                f"objective.kind={self.objective.named} teaches an energy; set net.kind=energy, too."
            )
        if not isinstance(self.objective, ByDenoising):
            many(self.levels, self.objective.named)
            if self.uncertainty:
                raise UserError(
                    f"uncertainty weighs the levels of {ByDenoising.named}, got objective.kind="
                    f"{self.objective.named}; set uncertainty=false."
                )
        if self.guidance > 0 and not 0 < self.drop_cond < 1:
            raise UserError(
                "guidance leans on the marginal score, which is learned from the share drop_cond of"
                f" the examples; it must lie between 0 and 1, got {self.drop_cond:g}."
            )

    @property
    def evaluations_per_example(self) -> int:
        return self.objective.evaluations

    @property
    def unused(self) -> tuple[str, ...]:
        """A score has neither energies nor chains while it learns."""
        return () if isinstance(self.net, EnergyShape) else GUARDED

    def model(self, spec: DataSpec) -> Any:
        return self.proposal.around(self._score(spec), spec)

    def _score(self, spec: DataSpec) -> Preconditioned | PreconditionedEnergy:
        if isinstance(self.net, EnergyShape):
            return noisy_energy(spec, self.net, spec.classes if self.conditional else 0)
        classes = spec.classes if self.conditional else 0
        score = self._preconditioned(spec, classes)
        return with_gaussian(score, spec.shape, spec.std, classes) if self.covariance else score

    def _preconditioned(self, spec: DataSpec, classes: int) -> Preconditioned:
        net = self.net
        assert not isinstance(net, EnergyShape)
        if isinstance(net, WaveShape):
            return wavenet_score(spec.shape, spec.std, net.channels, net.layers, net.cycle, classes)
        if len(spec.shape) == 1:
            width = 2 * net.channels[-1]
            return mlp_score(spec.shape, spec.std, width, 2, classes, self.two_valued)
        shape = (net.channels, net.blocks, net.patch)
        return unet_score(spec.shape, spec.std, *shape, classes, self.two_valued)

    def accept(self, spec: DataSpec, examples: Callable[[], Tensor]) -> None:
        if self.covariance:
            check_covariance(spec)
        if self.two_valued:
            check_two_valued(examples())

    def prepare(
        self, model: Any, objective: Any, examples: Callable[[], Batch], generator: Generator
    ) -> None:
        fit_gaussian(model, examples)
        fit_mixture(model, examples, generator)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        drop = self.drop_cond if self.conditional else 0.0
        uncertainty = Uncertainty().to(device) if self.uncertainty else None
        ladder = tuple(level for level in self.sampler.ladder if level > 0)
        asked = Asked(self.levels, self.weight, spec.std, drop, ladder, uncertainty)
        return self.objective.build(asked)

    def sampling(
        self, model: Any, spec: DataSpec, device: torch.device | str = "cpu"
    ) -> tasks.Sampling[Any]:
        top = self.sampler.ladder[0]

        def prior(x: Tensor, generator: Randomness) -> Tensor:
            if isinstance(model, Proposed):
                return model.begin_(x, generator, top)
            return normal_(x, generator).mul_(top)

        def given(x: Tensor, free: Tensor, generator: Randomness) -> Tensor:
            return model.begin_given_(x, free, generator, top)

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
            given if isinstance(model, Proposed) else None,
        )

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        return by_tweedie(model, spec, sigma)

    def study(self, subject: Subject, recorder: Recorder) -> None:
        by_level.study(subject.fitted, subject.data, recorder)

    def steps_setting(self) -> str:
        inside = "predictor." if isinstance(self.sampler, PredictorCorrector) else ""
        return f"{self.sampler_field}.{inside}levels"

    def coarsest_level(self) -> float:
        return (
            max(NOISE, self.sampler.ladder[0])
            if self.proposal.components
            else self.sampler.ladder[0]
        )

    def title(self) -> str:
        levels = "one noise level" if isinstance(self.levels, SingleLevel) else "many noise levels"
        return f"Score network, {levels}{', told the class' if self.conditional else ''}"

    def about(self) -> str:
        paragraphs = [
            "The network is shown examples with noise added, and learns to guess the clean ones."
            " From the guess follows the **score**: the direction in which the noisy example becomes"
            " more likely.",
            self._about_levels(),
            *self.proposal.story(),
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
        begin = "a draw of a mixture, and noise," if self.proposal.components else "pure noise"
        with_steps = f", with {each} steps at each" if each > 1 else ""
        return (
            "It learns this at **many noise levels**, from hardly any noise to so much that nothing"
            f" is left of the example. To draw, it begins with {begin} and goes down through"
            f" {len(self.sampler.ladder)} levels{with_steps}: first the"
            " coarse shape, last the details."
        )


def by_tweedie(model: Any, spec: DataSpec, sigma: float) -> Restoration:
    """The posterior mean of examples with noise `sigma`, by a model of every level."""
    kind = spec.coordinates

    def restore(noisy: Tensor) -> Tensor:
        y = kind.to_model(noisy).to(next(model.parameters()).device)
        return kind.from_model(tasks.tweedie(model.field(), y, kind.gain * sigma)).cpu()

    return Restoration(restore, "posterior mean in one step (Tweedie)", 1)


def ncsn(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A noise-conditional score network, sampled by annealed Langevin dynamics; with larger
    pictures, from a mixture's draws on.
    """
    recipe = replace(ncsn_from_noise(target, preset, seed), experiment="ncsn")
    if not serves(target):
        return recipe
    recipe = chosen(recipe, PROPOSED, target.families, preset)
    images = target.fitted(recipe.training.images)
    training = replace(recipe.training, images=images)
    return replace(recipe, proposal=recipe.proposal.of(target), training=training)


def ncsn_from_noise(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A noise-conditional score network, sampled from pure noise: by annealed Langevin dynamics, on
    CIFAR-10 by DPM-Solver++.
    """
    recipe = ScoreRecipe(
        "ncsn_from_noise", target.name, preset, Training(1, learning_rate=2e-3), seed
    )
    return configured(recipe, BUDGETS, target, preset)


def ncsn_single(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """The same network trained at a single noise level: the negative control, which cannot
    generate.
    """
    recipe = ncsn_from_noise(target, preset, seed)
    return replace(recipe, experiment="ncsn_single", levels=SingleLevel(0.6))


def ncsn_class(target: Target, preset: str = "quick", seed: int = 0) -> ScoreRecipe:
    """A class-conditional noise-conditional score network, guided: draws the digit that was asked
    for.
    """
    recipe = ncsn_from_noise(target, preset, seed)
    wired = recipe.covariance or wired_by_class(target)
    return replace(
        recipe, experiment="ncsn_class", conditional=True, guidance=0.4, covariance=wired
    )

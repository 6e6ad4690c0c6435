"""Diffusion models as a hierarchy of latent variables: DDPM and what its loss, its prediction, its
schedule and its variance decide.

The chain of `levels` levels of a process is what is learned and what bounds the likelihood; samples
come down the same levels unless another sampler is set. The losses are those of
`objectives.diffusion`.

References: Ho et al. (2020), arXiv 2006.11239 (simple loss, linear betas, fixed variances); Nichol
& Dhariwal (2021), arXiv 2102.09672 (cosine schedule, hybrid loss, importance-sampled bound); Song
et al. (2021), arXiv 2101.09258 (likelihood weighting); Salimans & Ho (2022), arXiv 2202.00512 (x0
and v).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.noise import Cosine, VarianceExploding, VariancePreserving
from gradlogp.core.random import Randomness, normal_
from gradlogp.experiments.recipes import walks
from gradlogp.experiments.recipes.nets import UNetShape
from gradlogp.experiments.recipes.score import by_tweedie
from gradlogp.experiments.recipes.wired import check_covariance
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
from gradlogp.harness.settings import Choices
from gradlogp.models import (
    DiffusionModel,
    MarginalDiffusion,
    Marginals,
    Prediction,
    ScoreModel,
    check_values,
    fit_gaussian,
    fit_marginals,
    gaussian_diffusion,
    mlp_diffusion,
    unet_diffusion,
)
from gradlogp.objectives import (
    DenoisingScoreMatching,
    DiscreteDiffusion,
    FromProcess,
    HybridBound,
    Ladder,
    Objective,
    VariationalBound,
)
from gradlogp.samplers import LADDER_SAMPLERS, Ancestral
from gradlogp.training import GuardSettings, Training

if TYPE_CHECKING:
    LadderSampler = Any
else:
    LadderSampler = Union[tuple(LADDER_SAMPLERS.values())]  # noqa: UP007

Loss = Literal["simple", "weighted", "bound", "hybrid"]
Variance = Literal["small", "large", "learned"]
OF_DATA: dict[Variance, Any] = {"small": 0.0, "large": 1.0, "learned": "learned"}
BUDGETS: Choices = {
    "any": {
        "quick": ("training.images=40000",),
        "full": ("training.images=1000000", "evaluation.samples=2000", "evaluation.trial=500"),
        "gpu": ("training.images=10000000", "evaluation.samples=2000", "evaluation.trial=500"),
    },
    "picture": {"any": ("bins=256",)},
    "small": {
        "any": ("evaluation.samples=360",),
        "quick": ("training.images=32000",),
        "full": ("training.images=200000",),
    },
    "digits": {"any": ("bins=17",)},
    "cifar10": {
        "any": ("net.channels=32,64", "net.blocks=1", "net.patch=2", "training.batch=32"),
        "full": ("training.images=250000",),
    },
}


@final
@dataclass(frozen=True)
class DiffusionRecipe(Generative):
    """A diffusion model of the chain of `levels` levels of `process`, at equal distances in time,
    from `top` down: above it the cosine schedule leaps, where a prediction of the noise says
    nothing of x0. With a `bottom`, they stand at equal ratios from `top` down to it.

    variance: of the reverse steps in the bound; 'learned' needs the loss 'bound' or 'hybrid'. bins:
    values of a pixel, whose probability is then bounded; none for the density. marginals: the
    histogram of each entry is wired in, and the network tilts it, whatever `predicts` says.
    covariance: the Gaussian of the examples is, and the network learns what it leaves over. weighed:
    test examples that the bound is measured on.
    """

    experiment: str
    dataset: str
    preset: str
    training: Training
    seed: int = 0
    conditional: bool = False
    net: UNetShape = field(default_factory=UNetShape)
    process: VariancePreserving | Cosine = field(default_factory=Cosine)
    levels: int = 100
    top: float = 50.0
    bottom: float | None = None
    predicts: Prediction = "eps"
    loss: Loss = "simple"
    variance: Variance = "large"
    bins: int | None = None
    marginals: bool = False
    covariance: bool = False
    weighed: int = 100
    drop_cond: float = 0.1
    sampler: LadderSampler = field(default_factory=lambda: Ancestral(Cosine(), 100))
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(
        default_factory=lambda: Evaluation(
            samples=400, sigmas=(), snapshots=3, trial=200, choose=False
        )
    )
    sampler_field: ClassVar[str] = "sampler"

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed, drop_cond=self.drop_cond)
        at_least(1, weighed=self.weighed, top=self.top)
        at_least(2, levels=self.levels, bins=self.bins)
        if self.bottom is not None and not 0 < self.bottom < self.top:
            raise UserError(
                f"the levels fall from top={self.top:g} to bottom, which lies between 0 and that, got"
                f" {self.bottom:g}."
            )
        if self.marginals and self.bins is None:
            raise UserError(
                "marginals=true wires in the histogram of each entry, so it needs bins, the number of"
                " values that an entry can have; set bins=256 for bytes."
            )
        if self.marginals and self.covariance:
            raise UserError("marginals and covariance are two ways of one; set one of them false.")
        learns = self.loss in ("bound", "hybrid")
        if self.variance == "learned" and not learns:
            raise UserError(
                "a learned variance is learned by the bound alone; take loss=bound or loss=hybrid,"
                f" got {self.loss!r}."
            )
        if self.loss == "hybrid" and self.variance != "learned":
            raise UserError(
                f"the hybrid loss learns the variance; take variance=learned, got {self.variance!r}."
            )

    @property
    def evaluations_per_example(self) -> int:
        return 1

    @property
    def unused(self) -> tuple[str, ...]:
        return GUARDED

    def ladder(self, levels: int) -> tuple[float, ...]:
        """So many levels of the process between the ends of the chain, from the noisiest down."""
        if self.bottom is not None:
            return tuple(VarianceExploding(self.bottom, self.top).ladder(levels))
        first, last = self.process.ends
        begin = min(last, float(self.process.time(self.top)))
        times = torch.linspace(begin, first, levels, dtype=torch.float64)
        return tuple(self.process.level(times).tolist())

    def chain(self, variance: Variance | float | None = None) -> DiscreteDiffusion:
        """The chain that is learned; with another reverse variance where one is named."""
        of = self.variance if variance is None else variance
        levels = self.ladder(self.levels)
        return DiscreteDiffusion(levels, OF_DATA[of] if isinstance(of, str) else of, bins=self.bins)

    def model(self, spec: DataSpec) -> ScoreModel:
        if self.marginals:
            marginals = Marginals(math.prod(spec.shape), self.bins or 0)
            return MarginalDiffusion(self._predicting(spec, True).net, marginals)
        if self.covariance:
            classes = spec.classes if self.conditional else 0
            net = self._predicting(spec, True).net
            return gaussian_diffusion(net, spec.shape, spec.std, classes)
        return self._predicting(spec, self.variance == "learned")

    def _predicting(self, spec: DataSpec, learned: bool) -> DiffusionModel:
        classes = spec.classes if self.conditional else 0
        net = self.net
        if len(spec.shape) == 1:
            width = 2 * net.channels[-1]
            return mlp_diffusion(spec.shape, self.predicts, learned, width, 2, classes)
        return unet_diffusion(
            spec.shape, self.predicts, learned, net.channels, net.blocks, net.patch, classes
        )

    def accept(self, spec: DataSpec, examples: Callable[[], Tensor]) -> None:
        if self.marginals:
            check_values(examples(), self.bins or 0)
        if self.covariance:
            check_covariance(spec)

    def prepare(
        self, model: Any, objective: Any, examples: Callable[[], Batch], generator: Generator
    ) -> None:
        fit_marginals(model, examples)
        fit_gaussian(model, examples)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        drop = self.drop_cond if self.conditional else 0.0
        return LOSSES[self.loss](self, drop)

    def sampling(
        self, model: Any, spec: DataSpec, device: torch.device | str = "cpu"
    ) -> tasks.Sampling[Any]:
        top = self.sampler.ladder[0]

        def prior(x: Tensor, generator: Randomness) -> Tensor:
            return normal_(x, generator).mul_(math.sqrt(1 + top**2))

        finish = spec.coordinates.from_model
        steps = self.sampler.steps
        return tasks.Sampling(model.field, self.sampler, prior, steps, spec.shape, finish, device)

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        return by_tweedie(model, spec, sigma)

    def coarsest_level(self) -> float:
        return self.ladder(2)[0]

    def study(self, subject: Subject, recorder: Recorder) -> None:
        walks.study(subject.fitted, subject.data, subject.evaluator, recorder)

    def title(self) -> str:
        return f"Diffusion model, {self.loss} loss, predicts {self.predicts}"

    def about(self) -> str:
        return (
            f"Noise is added in {self.levels} small steps until nothing is left of the example, and"
            " the network learns to undo one step at a time. Every step has a probability, so the"
            " model also **bounds** how likely it finds an example."
        )


LOSSES: Mapping[Loss, Callable[[DiffusionRecipe, float], Objective]] = {
    "simple": lambda r, drop: DenoisingScoreMatching(
        Ladder(levels=r.chain().levels), "sigma2", drop_cond=drop
    ),
    "weighted": lambda r, drop: DenoisingScoreMatching(
        FromProcess(r.process, importance=True), "likelihood", drop_cond=drop
    ),
    "bound": lambda r, drop: VariationalBound(r.chain(), drop, importance=True),
    "hybrid": lambda r, drop: HybridBound(r.chain(), drop),
}


def _diffusion(
    name: str, target: Target, preset: str, seed: int, **changes: Any
) -> DiffusionRecipe:
    training = Training(1, learning_rate=2e-3)
    recipe = DiffusionRecipe(name, target.name, preset, training, seed, **changes)
    clip = (-1.0, 1.0) if target.kind != "row" else None  # rows have no bounds
    levels = recipe.ladder(recipe.levels)
    sampler = Ancestral(recipe.process, levels, clip=clip, variance=recipe.variance)
    return configured(replace(recipe, sampler=sampler), BUDGETS, target, preset)


def ddpm(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """DDPM: predicts the noise by the simple loss, cosine schedule, fixed large variance."""
    return _diffusion("ddpm", target, preset, seed)


def ddpm_linear(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """The same with the linear schedule of the betas."""
    return _diffusion("ddpm_linear", target, preset, seed, process=VariancePreserving())


def ddpm_x0(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """The same loss by a network that predicts the clean example."""
    return _diffusion("ddpm_x0", target, preset, seed, predicts="x0")


def ddpm_v(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """The same loss by a network that predicts the velocity."""
    return _diffusion("ddpm_v", target, preset, seed, predicts="v")


def ddpm_weighted(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """Score matching with the likelihood weighting, levels drawn by importance."""
    return _diffusion("ddpm_weighted", target, preset, seed, loss="weighted")


def ddpm_vlb(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """The variational bound itself, steps drawn by importance, with a learned variance."""
    return _diffusion("ddpm_vlb", target, preset, seed, loss="bound", variance="learned")


def ddpm_marginals(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """The bound with the histogram of each pixel wired in: the network tilts it."""
    changes = {
        "loss": "bound",
        "variance": "learned",
        "bins": 256,
        "marginals": True,
        "bottom": 0.002,
    }
    return _diffusion("ddpm_marginals", target, preset, seed, **changes)


def ddpm_gaussian(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """The bound with the Gaussian of the examples wired in: the network learns what it leaves over."""
    changes = {"loss": "bound", "variance": "learned", "covariance": True, "bottom": 0.004}
    return _diffusion("ddpm_gaussian", target, preset, seed, **changes)


def ddpm_hybrid(target: Target, preset: str = "quick", seed: int = 0) -> DiffusionRecipe:
    """The simple loss for the mean, a little of the bound for a learned variance."""
    return _diffusion("ddpm_hybrid", target, preset, seed, loss="hybrid", variance="learned")

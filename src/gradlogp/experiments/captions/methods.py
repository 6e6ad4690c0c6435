"""The joint energies and CLIP, taught on the same captioned pictures, and what is drawn from each.

`joint` has noise levels: it learns by denoising score matching, and pictures come down from noise
by consistent annealed Langevin, guided away from rival sentences. `joint_cd` has none: it learns by
contrastive divergence, with chains from noise, given the sentence, of which those of the replay
buffer keep their own. CLIP is drawn from by the latter's chains, as a control.

References: Radford et al. (2021), arXiv 2103.00020; Vincent (2011), A Connection Between Score
Matching and Denoising Autoencoders, eq. 11; Ganz & Elad (2024), arXiv 2408.17046, section 3; Du &
Mordatch (2019), arXiv 1903.08689 (the chains).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

from gradlogp import tasks
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import Randomness, normal_, seeded
from gradlogp.experiments.captions.captioned import Captioned, FieldOf
from gradlogp.experiments.recipes.nets import UNetShape
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import DataSpec, Target
from gradlogp.harness.settings import Choices, chosen
from gradlogp.models.caption import caption_energy
from gradlogp.models.noisy_caption import noisy_caption_energy
from gradlogp.models.text import Vocabulary
from gradlogp.objectives import (
    ContrastiveDivergence,
    DenoisingScoreMatching,
    FromBuffer,
    LogNormal,
    Objective,
    ReplayBuffer,
)
from gradlogp.objectives.caption import CLIP, CaptionJoint
from gradlogp.samplers import ConsistentAnnealedLangevin, Langevin

BUDGETS: Choices = {
    "any": {
        "quick": ("images=250000", "pictures=600", "draws=60"),
        "full": ("images=1500000",),
        "gpu": ("images=20000000", "channels=64,128,128,128", "width=128"),
    },
}


@final
@dataclass(frozen=True)
class Joint(Captioned):
    """net: the UNet of the picture's energy. weight: of denoising score matching beside CLIP's
    loss; share: of a batch that it is of; drop_cond: the share of that without a sentence. guidance:
    how far a drawing is led away from rival sentences, 0 for not at all; walk: to a drawing.
    """

    learning_rate: float = 2e-3
    net: UNetShape = field(default_factory=lambda: UNetShape((48, 96), 1, 4))
    fusion: bool = True
    weight: float = 0.01
    share: float = 0.25
    drop_cond: float = 0.1
    levels: LogNormal = field(default_factory=lambda: LogNormal(-0.4, 1.2))
    guidance: float = 4.0
    walk: ConsistentAnnealedLangevin = field(
        default_factory=lambda: ConsistentAnnealedLangevin(VarianceExploding(0.05, 10.0), 24)
    )

    @property
    def beta1(self) -> float:
        return 0.9

    @property
    def ladder(self) -> list[float]:
        return self.walk.ladder

    @property
    def evaluations_per_example(self) -> float:
        return 1 + self.share

    def model(self, spec: DataSpec, vocabulary: Vocabulary, mean: float) -> Any:
        net = self.net
        return noisy_caption_energy(
            spec.shape,
            vocabulary,
            spec.std,
            mean,
            net.channels,
            net.blocks,
            net.patch,
            self.channels,
            self.width,
            self.text,
            self.fusion,
        )

    def objective(self, spec: DataSpec, tokens: Tensor) -> Objective:
        density = DenoisingScoreMatching(self.levels, "edm", spec.std, self.drop_cond)
        return CaptionJoint(density, self.weight, self.share)

    def sampling(self, field_of: FieldOf, spec: DataSpec) -> tasks.Sampling[Any]:
        top, finish = self.walk.ladder[0], spec.coordinates.from_model

        def prior(x: Tensor, generator: Randomness) -> Tensor:
            return normal_(x, generator).mul_(top)

        return tasks.Sampling(field_of, self.walk, prior, self.walk.steps, spec.shape, finish)


@dataclass(frozen=True)
class Chained(Captioned):
    """An energy without noise levels, drawn from by Langevin. steps: of a chain to a drawing."""

    fusion: bool = True
    chain: Langevin = field(
        default_factory=lambda: Langevin(10.0, noise_std=0.01, grad_clip=0.03, clamp=(-1.0, 1.0))
    )
    steps: int = 100

    def model(self, spec: DataSpec, vocabulary: Vocabulary, mean: float) -> Any:
        return caption_energy(
            spec.shape, vocabulary, self.channels, self.width, self.text, self.fusion
        )

    def sampling(self, field_of: FieldOf, spec: DataSpec) -> tasks.Sampling[Any]:
        kind = spec.coordinates
        return tasks.Sampling(
            field_of, self.chain, kind.noise, self.steps, spec.shape, kind.from_model
        )


@final
@dataclass(frozen=True)
class JointByChains(Chained):
    """weight: of the contrastive divergence beside CLIP's loss; share: of a batch that it is of."""

    weight: float = 0.1
    share: float = 0.125
    chain_steps: int = 20
    capacity: int = 4096
    restart_prob: float = 0.1
    energy_l2: float = 0.05
    data_noise: float = 0.005

    @property
    def evaluations_per_example(self) -> float:
        return 1 + self.share * (self.chain_steps + 2)

    def objective(self, spec: DataSpec, tokens: Tensor) -> Objective:
        kind = spec.coordinates
        buffer = ReplayBuffer(
            max(self.capacity, self.batch),
            spec.shape,
            kind.noise,
            seeded(self.seed, "chains"),
            self.restart_prob,
            tokens,
        )
        divergence = ContrastiveDivergence(
            self.chain,
            FromBuffer(buffer),
            self.chain_steps,
            self.energy_l2,
            self.data_noise,
            kind.bounds,
        )
        return CaptionJoint(divergence, self.weight, self.share)


@final
@dataclass(frozen=True)
class Clip(Chained):
    """CLIP: the same encoders without a fusion and without chains."""

    fusion: bool = False

    def objective(self, spec: DataSpec, tokens: Tensor) -> Objective:
        return CLIP()


def joint(target: Target, preset: str = "quick", seed: int = 0) -> Joint:
    """One energy of picture, sentence and noise level: CLIP's loss and denoising score matching,
    with a fusion.
    """
    made = Joint("joint", target.name, preset, seed)
    return chosen(made, BUDGETS, target.families, preset)


def joint_cd(target: Target, preset: str = "quick", seed: int = 0) -> JointByChains:
    """A joint energy without noise levels: CLIP's loss and a contrastive divergence, with a fusion."""
    made = JointByChains("joint_cd", target.name, preset, seed)
    return chosen(made, BUDGETS, target.families, preset)


def clip(target: Target, preset: str = "quick", seed: int = 0) -> Clip:
    """CLIP of the same encoders; drawn from by Langevin on -cos / tau, as a control."""
    made = Clip("clip", target.name, preset, seed)
    return chosen(made, BUDGETS, target.families, preset)


METHODS: Mapping[str, Maker] = {"joint": joint, "clip": clip, "joint_cd": joint_cd}

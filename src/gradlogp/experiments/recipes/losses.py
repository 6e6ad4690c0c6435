"""What a noise-conditional score network can be trained by, as settings: `--set
objective.kind=NAME`, by the name that the loss has in the table of objectives.

The first four are one squared error of the denoiser, weighted by the level in another way,

    w(sigma) |D(x0 + sigma eps, sigma) - x0|^2 ,

and so have one minimiser: whatever the network is trained by, every sampler takes it. The weights
and the levels come from the recipe. The last two are for an energy at every noise level,
net.kind=energy: its slope in the level as well, and chains from each level of a ladder to the next.
The hybrid loss is not among them, since it asks the network for a variance as well; nor are those
of energies without noise levels.

References: Vincent (2011); Lipman et al. (2022), arXiv 2210.02747; Ho et al. (2020), arXiv
2006.11239, eq. 5 and 14; those of `gradlogp.objectives`.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from gradlogp.core.errors import UserError, at_least
from gradlogp.objectives import (
    DenoisingScoreMatching,
    DiscreteDiffusion,
    DualScoreMatching,
    FlowMatching,
    Ladder,
    LevelDistribution,
    Objective,
    RecoveryLikelihood,
    SingleLevel,
    Uncertainty,
    VariationalBound,
    Weight,
    ddpm_simple,
)
from gradlogp.samplers import Langevin


@final
@dataclass(frozen=True)
class Asked:
    """What the recipe says of any loss. ladder: the levels of its sampler, from the noisiest down."""

    levels: LevelDistribution
    weight: Weight
    sigma_data: float
    drop_cond: float
    ladder: tuple[float, ...]
    uncertainty: Uncertainty | None = None


class Loss:
    """What all have; a loss is one squared error unless it says otherwise."""

    @property
    def evaluations(self) -> int:
        """Of the network, for each example of an update."""
        return 1


@final
@dataclass(frozen=True)
class ByDenoising(Loss):
    """Denoising score matching, with the recipe's levels, weight and uncertainty."""

    named: ClassVar[str] = "denoising_score_matching"

    def build(self, asked: Asked) -> Objective:
        return DenoisingScoreMatching(
            asked.levels,
            asked.weight,
            asked.sigma_data,
            asked.drop_cond,
            uncertainty=asked.uncertainty,
        )


@final
@dataclass(frozen=True)
class ByFlow(Loss):
    """Flow matching at the recipe's levels; noise and data are paired at random, so that the
    network stays a denoiser and every sampler takes it.
    """

    named: ClassVar[str] = "flow_matching"

    def build(self, asked: Asked) -> Objective:
        return FlowMatching(many(asked.levels, self.named), drop_cond=asked.drop_cond)


@final
@dataclass(frozen=True)
class BySimple(Loss):
    """The simple loss of DDPM, at the levels of the sampler's ladder."""

    named: ClassVar[str] = "ddpm_simple"

    def build(self, asked: Asked) -> Objective:
        return ddpm_simple(ladder_of(asked, self.named), asked.drop_cond)


@final
@dataclass(frozen=True)
class ByBound(Loss):
    """The variational bound of the diffusion down the sampler's ladder."""

    importance: bool = False
    named: ClassVar[str] = "variational_bound"

    def build(self, asked: Asked) -> Objective:
        levels = ladder_of(asked, self.named)
        chain = DiscreteDiffusion(levels, prior_std=levels[0])
        return VariationalBound(chain, asked.drop_cond, importance=self.importance)


class OfEnergies(Loss):
    """Losses that need an energy at every noise level."""


@final
@dataclass(frozen=True)
class ByDual(OfEnergies):
    """Dual score matching, at the recipe's levels."""

    level_weight: float = 1.0
    named: ClassVar[str] = "dual_score_matching"

    def __post_init__(self) -> None:
        at_least(0, level_weight=self.level_weight)

    def build(self, asked: Asked) -> Objective:
        return DualScoreMatching(many(asked.levels, self.named), self.level_weight)


@final
@dataclass(frozen=True)
class ByRecovery(OfEnergies):
    """Recovery likelihood, between the levels of the sampler's ladder; `sampler.kind=
    recovery_langevin` comes down it by the chains of training.
    """

    steps: int = 8
    step_size: float = 0.2
    named: ClassVar[str] = "recovery_likelihood"

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        if self.step_size <= 0:
            raise UserError(f"step_size is a positive step in gaps, got {self.step_size}.")

    @property
    def evaluations(self) -> int:
        return self.steps + 2

    def build(self, asked: Asked) -> Objective:
        levels = sorted(ladder_of(asked, self.named))
        return RecoveryLikelihood(levels, Langevin(self.step_size), self.steps)


ScoreLoss = ByDenoising | ByFlow | BySimple | ByBound | ByDual | ByRecovery


def many(levels: LevelDistribution, name: str) -> LevelDistribution:
    """The levels, if there are many. Raises UserError."""
    if isinstance(levels, SingleLevel):
        raise UserError(
            f"objective.kind={name} learns a walk down many noise levels, got the single level"
            f" {levels.sigma:g}; the one that fits is {ByDenoising.named}."
        )
    return levels


def ladder_of(asked: Asked, name: str) -> tuple[float, ...]:
    """The levels of a chain, from the noisiest down: the recipe's ladder, else that of its sampler."""
    levels = many(asked.levels, name)
    return tuple(levels.rungs.tolist()) if isinstance(levels, Ladder) else asked.ladder

"""What a noise-conditional score network can be trained by, as settings: `--set
objective.kind=NAME`, by the name that the loss has in the table of objectives.

All four are one squared error of the denoiser, weighted by the level in another way,

    w(sigma) |D(x0 + sigma eps, sigma) - x0|^2 ,

and so have one minimiser: whatever the network is trained by, every sampler takes it. The weights
and the levels come from the recipe. The hybrid loss is not among them, since it asks the network
for a variance as well; nor are those of energies without noise levels.

References: Vincent (2011); Lipman et al. (2022), arXiv 2210.02747; Ho et al. (2020), arXiv
2006.11239, eq. 5 and 14.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from gradlogp.core.errors import UserError
from gradlogp.objectives import (
    DenoisingScoreMatching,
    DiscreteDiffusion,
    FlowMatching,
    Ladder,
    LevelDistribution,
    Objective,
    SingleLevel,
    Uncertainty,
    VariationalBound,
    Weight,
    ddpm_simple,
)


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


@final
@dataclass(frozen=True)
class ByDenoising:
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
class ByFlow:
    """Flow matching at the recipe's levels; noise and data are paired at random, so that the
    network stays a denoiser and every sampler takes it.
    """

    named: ClassVar[str] = "flow_matching"

    def build(self, asked: Asked) -> Objective:
        return FlowMatching(many(asked.levels, self.named), drop_cond=asked.drop_cond)


@final
@dataclass(frozen=True)
class BySimple:
    """The simple loss of DDPM, at the levels of the sampler's ladder."""

    named: ClassVar[str] = "ddpm_simple"

    def build(self, asked: Asked) -> Objective:
        return ddpm_simple(ladder_of(asked, self.named), asked.drop_cond)


@final
@dataclass(frozen=True)
class ByBound:
    """The variational bound of the diffusion down the sampler's ladder."""

    importance: bool = False
    named: ClassVar[str] = "variational_bound"

    def build(self, asked: Asked) -> Objective:
        levels = ladder_of(asked, self.named)
        chain = DiscreteDiffusion(levels, prior_std=levels[0])
        return VariationalBound(chain, asked.drop_cond, importance=self.importance)


ScoreLoss = ByDenoising | ByFlow | BySimple | ByBound


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

"""What an energy can be trained by, as settings: `--set objective.kind=NAME`, by the name that the
loss has in the table of objectives.

Contrastive divergence needs chains: plain, persistent (none of them ever starts anew) or improved.
The others need none. Score matching and its like see noisy data, since no energy has a slope that
fits data on a grid, or clamped at the ends of an interval:

    denoising_score_matching            |s(x0 + sigma eps) + eps / sigma|^2
    the same, width > 0                 |x - x0 + b^2 grad E(x)|^2 / sigma^2, one E for many sigma
    energy_matching                     |-grad E(x_t) - (x0 - eps)|^2, and chains at last
    equilibrium_matching                |-grad E(x_t) - c(t) (x0 - eps)|^2
    sliced_score_matching               v^T grad(v^T s) + |s|^2 / 2
    finite_difference_score_matching    the same from energies at x - eps v, x and x + eps v
    conditional_noise_contrastive       log(1 + exp(E(x) - E(x + sigma eps)))
    energy_discrepancy                  log mean exp(E(x) - E(x'_i)), x' around a blurred copy of x

Contrastive divergence may begin at weights that denoising has trained, for the share `warm_up` of
the updates. What is left out asks for more than such an energy has: noise levels (recovery
likelihood and dual score matching, which `ncsn` with net.kind=energy learns by), a noise
distribution near the data (noise-contrastive estimation), discrete states (pseudo-likelihood, ratio
matching), or a backward pass for every entry (implicit score matching).

References: those of `gradlogp.objectives`.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

from gradlogp.core.errors import UserError, at_least
from gradlogp.core.kernel import Sampler
from gradlogp.objectives import (
    Augmented,
    ConditionalNoiseContrastive,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    EnergyMatching,
    EquilibriumMatching,
    FiniteDifferenceScoreMatching,
    FromHalves,
    LogNormal,
    Objective,
    SingleLevel,
    SlicedScoreMatching,
    WarmedUp,
)
from gradlogp.objectives.augment import Noise
from gradlogp.objectives.starts import Starts


@final
@dataclass(frozen=True)
class Chains:
    """What the recipe says of the chains of contrastive divergence, and its number of updates."""

    sampler: Sampler[Any, Any]
    starts: Starts
    steps: int
    energy_l2: float
    data_noise: float
    bounds: tuple[float, float] | None
    updates: int = 1

    def diverge(self) -> ContrastiveDivergence:
        return ContrastiveDivergence(
            self.sampler, self.starts, self.steps, self.energy_l2, self.data_noise, self.bounds
        )


class Begins:
    """normal: chains begin at N(0, 1), and at no mixture."""

    normal: ClassVar[bool] = False


class Chained(Begins):
    """Losses that make their counterexamples by chains."""

    def evaluations(self, steps: int) -> int:
        """Of the network for each example."""
        return steps + 2


class Chainless(Begins):
    """Losses that need no chain, and what they say of themselves in a report."""

    story: ClassVar[str]

    def evaluations(self, steps: int) -> int:
        return 1


@final
@dataclass(frozen=True)
class ByDenoising(Chainless):
    """Denoising score matching, in model coordinates: at the noise level sigma or, with a `width`,
    at levels whose logarithms have that deviation about sigma's, by one slope for all of them: the
    score at the level `base`. Twice the base makes an energy of a quarter, so it fits the chain to
    a step size.
    """

    sigma: float = 0.3
    width: float = 0.0
    base: float | None = None
    named: ClassVar[str] = "denoising_score_matching"
    story: ClassVar[str] = (
        "It learns without chains: noise is added to real examples, and the slope of the energy is"
        " taught to point back."
    )

    def __post_init__(self) -> None:
        at_least(0, width=self.width)
        if self.sigma <= 0 or (self.base is not None and self.base <= 0):
            raise UserError(
                f"sigma and base are noise levels, so positive, got {self.sigma} and {self.base}."
            )

    def build(self, chains: Chains) -> Objective:
        if self.width == 0:
            return DenoisingScoreMatching(SingleLevel(self.sigma), base=self.base)
        levels = LogNormal(math.log(self.sigma), self.width)
        return DenoisingScoreMatching(levels, base=self.base or self.sigma)


@final
@dataclass(frozen=True)
class ByDivergence(Chained):
    """Contrastive divergence, with the recipe's chains and buffer; for the share `warm_up` of the
    updates the loss is the denoising of `start`.
    """

    warm_up: float = 0.0
    start: ByDenoising = field(default_factory=ByDenoising)
    named: ClassVar[str] = "contrastive_divergence"

    def __post_init__(self) -> None:
        check_share("warm_up", self.warm_up)

    def build(self, chains: Chains) -> Objective:
        return warmed(self.start.build(chains), chains.diverge(), self.warm_up, chains)

    def evaluations(self, steps: int) -> int:
        return round(between(1, super().evaluations(steps), self.warm_up))


@final
@dataclass(frozen=True)
class ByPersistence(Chained):
    """Persistent contrastive divergence: the chains of the buffer never start anew."""

    named: ClassVar[str] = "persistent_contrastive_divergence"

    def build(self, chains: Chains) -> Objective:
        return chains.diverge()


@final
@dataclass(frozen=True)
class ByImproved(Chained):
    """Improved contrastive divergence, which adds how the chains depend on the weights."""

    kl: float = 1.0
    entropy: float = 1.0
    named: ClassVar[str] = "improved_contrastive_divergence"

    def build(self, chains: Chains) -> Objective:
        return replace(chains.diverge(), kl=self.kl, entropy=self.entropy)

    def evaluations(self, steps: int) -> int:
        """One more than plain: the chains' ends once again, under frozen weights."""
        return super().evaluations(steps) + (self.kl > 0)


@final
@dataclass(frozen=True)
class BySlices(Chainless):
    """Sliced score matching of data with a little noise."""

    projections: int = 1
    data_noise: float = 0.1
    named: ClassVar[str] = "sliced_score_matching"
    story: ClassVar[str] = (
        "It learns without chains: along random directions, the energy is taught to be level and to"
        " curve upwards where the real examples are."
    )

    def build(self, chains: Chains) -> Objective:
        return Augmented(SlicedScoreMatching(self.projections), Noise(self.data_noise))

    def evaluations(self, steps: int) -> int:
        return 1 + self.projections


@final
@dataclass(frozen=True)
class ByDifferences(Chainless):
    """Finite-difference score matching of data with a little noise."""

    projections: int = 1
    epsilon: float = 0.1
    data_noise: float = 0.1
    named: ClassVar[str] = "finite_difference_score_matching"
    story: ClassVar[str] = BySlices.story

    def build(self, chains: Chains) -> Objective:
        matching = FiniteDifferenceScoreMatching(self.projections, epsilon=self.epsilon)
        return Augmented(matching, Noise(self.data_noise))

    def evaluations(self, steps: int) -> int:
        return 1 + 2 * self.projections


@final
@dataclass(frozen=True)
class ByContrast(Chainless):
    """Conditional noise-contrastive estimation."""

    std: float = 0.3
    copies: int = 1
    named: ClassVar[str] = "conditional_noise_contrastive"
    story: ClassVar[str] = (
        "It learns without chains: it is taught to give real examples less energy than copies of"
        " them with noise."
    )

    def build(self, chains: Chains) -> Objective:
        return ConditionalNoiseContrastive(self.std, self.copies)

    def evaluations(self, steps: int) -> int:
        return 1 + self.copies


@final
@dataclass(frozen=True)
class ByDiscrepancy(Chainless):
    """Energy discrepancy."""

    std: float = 0.3
    candidates: int = 16
    named: ClassVar[str] = "energy_discrepancy"
    story: ClassVar[str] = (
        "It learns without chains: it is taught to give real examples less energy than points"
        " around a blurred copy of them."
    )

    def build(self, chains: Chains) -> Objective:
        return EnergyDiscrepancy(self.std, self.candidates)

    def evaluations(self, steps: int) -> int:
        return 1 + self.candidates


@final
@dataclass(frozen=True)
class ByEnergyMatching(Chained):
    """Energy matching: a flow from N(0, 1) alone for the share `flow` of the updates, then that and
    `weight` times contrastive divergence, half of whose chains begin at data.
    """

    flow: float = 0.8
    weight: float = 1e-3
    optimal_transport: bool = True
    named: ClassVar[str] = "energy_matching"
    normal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_share("flow", self.flow)
        at_least(0, weight=self.weight)

    def build(self, chains: Chains) -> Objective:
        contrast = replace(chains.diverge(), starts=FromHalves(), energy_l2=0.0)
        flow = EnergyMatching(optimal_transport=self.optimal_transport)
        both = replace(flow, contrast=contrast, weight=self.weight)
        return warmed(flow, both, self.flow, chains)

    def evaluations(self, steps: int) -> int:
        return round(between(1, 1 + super().evaluations(steps), self.flow))


@final
@dataclass(frozen=True)
class ByEquilibrium(Chainless):
    """Equilibrium matching from N(0, 1); samples are the ends of a descent, chain.kind=descent."""

    constant: float = 0.8
    strength: float = 4.0
    named: ClassVar[str] = "equilibrium_matching"
    normal: ClassVar[bool] = True
    story: ClassVar[str] = (
        "It learns without chains: its slope is taught to lead from noise to real examples, and to"
        " vanish there."
    )

    def build(self, chains: Chains) -> Objective:
        return EquilibriumMatching(self.constant, self.strength)


def check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise UserError(f"{name} is a share of the updates, in [0, 1], got {share}.")


def between(first: float, then: float, share: float) -> float:
    """The mean of what is `first` for a share, and `then` for the rest."""
    return share * first + (1 - share) * then


def warmed(first: Objective, then: Objective, share: float, chains: Chains) -> Objective:
    """`first` for a share of the updates, and `then` for the rest."""
    return WarmedUp(first, then, round(share * chains.updates)) if share > 0 else then


EnergyLoss = (
    ByDivergence
    | ByPersistence
    | ByImproved
    | ByDenoising
    | BySlices
    | ByDifferences
    | ByContrast
    | ByDiscrepancy
    | ByEnergyMatching
    | ByEquilibrium
)

"""What an energy can be trained by, as settings: `--set objective.kind=NAME`, by the name that the
loss has in the table of objectives.

Contrastive divergence needs chains: plain, persistent (none of them ever starts anew) or improved.
The others need none. Score matching and its like see noisy data, since no energy has a slope that
fits data on a grid, or clamped at the ends of an interval:

    denoising_score_matching            |s(x0 + sigma eps) + eps / sigma|^2
    sliced_score_matching               v^T grad(v^T s) + |s|^2 / 2
    finite_difference_score_matching    the same from energies at x - eps v, x and x + eps v
    conditional_noise_contrastive       log(1 + exp(E(x) - E(x + sigma eps)))
    energy_discrepancy                  log mean exp(E(x) - E(x'_i)), x' around a blurred copy of x

What is left out asks for more than such an energy has: noise levels (recovery likelihood, flow
matching, DDPM's), a noise distribution near the data (noise-contrastive estimation), discrete
states (pseudo-likelihood, ratio matching), or a backward pass for every entry (implicit score
matching).

References: those of `gradlogp.objectives`.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

from gradlogp.core.kernel import Sampler
from gradlogp.objectives import (
    Augmented,
    ConditionalNoiseContrastive,
    ContrastiveDivergence,
    DenoisingScoreMatching,
    EnergyDiscrepancy,
    FiniteDifferenceScoreMatching,
    Objective,
    SingleLevel,
    SlicedScoreMatching,
)
from gradlogp.objectives.augment import Noise
from gradlogp.objectives.starts import Starts


@final
@dataclass(frozen=True)
class Chains:
    """What the recipe says of the chains of contrastive divergence."""

    sampler: Sampler[Any, Any]
    starts: Starts
    steps: int
    energy_l2: float
    data_noise: float
    bounds: tuple[float, float] | None

    def diverge(self) -> ContrastiveDivergence:
        return ContrastiveDivergence(
            self.sampler, self.starts, self.steps, self.energy_l2, self.data_noise, self.bounds
        )


class Chained:
    """Losses that make their counterexamples by chains."""

    def evaluations(self, steps: int) -> int:
        """Of the network for each example."""
        return steps + 2


@final
@dataclass(frozen=True)
class ByDivergence(Chained):
    """Contrastive divergence, with the recipe's chains and buffer."""

    named: ClassVar[str] = "contrastive_divergence"

    def build(self, chains: Chains) -> Objective:
        return chains.diverge()


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


class Chainless:
    """Losses that need no chain, and what they say of themselves in a report."""

    story: ClassVar[str]


@final
@dataclass(frozen=True)
class ByDenoising(Chainless):
    """Denoising score matching at one noise level, in model coordinates."""

    sigma: float = 0.3
    named: ClassVar[str] = "denoising_score_matching"
    story: ClassVar[str] = (
        "It learns without chains: noise is added to real examples, and the slope of the energy is"
        " taught to point back."
    )

    def build(self, chains: Chains) -> Objective:
        return DenoisingScoreMatching(SingleLevel(self.sigma))

    def evaluations(self, steps: int) -> int:
        return 1


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


EnergyLoss = (
    ByDivergence
    | ByPersistence
    | ByImproved
    | ByDenoising
    | BySlices
    | ByDifferences
    | ByContrast
    | ByDiscrepancy
)

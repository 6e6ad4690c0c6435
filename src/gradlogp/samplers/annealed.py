r"""Annealed Langevin dynamics: Langevin at each noise level in turn, from the coarsest to the
finest.

.. math:: x' = x + \alpha_i\, s(x, \sigma_i) + \sqrt{2\alpha_i}\, z, \qquad \alpha_i = \rho\, \sigma_i^2,

`steps_per_level` times for each of the levels :math:`\sigma_1 > \dots > \sigma_L`, and at last the
denoising step :math:`x + \sigma_L^2 s(x, \sigma_L)` without noise (Tweedie), which is worth a
factor of two in Frechet distance.

rho is `step_ratio`; None chooses it by technique 4: a Gaussian that leaves level i with variance
:math:`\sigma_i^2` should reach :math:`\sigma_{i+1}^2` after T steps at level i + 1. It never quite
does: the chain carries more noise than its level says. The *consistent* variant takes one step per
level, and adds just so much noise that what remains is the noise of the next one,

.. math:: x' = x + \rho\,\sigma_i^2\, s(x, \sigma_i) + \sqrt{\sigma_{i+1}^2 - (1 - \rho)^2 \sigma_i^2}\; z ,

Its smallest rho, :math:`1 - \sigma_{i+1}/\sigma_i`, is noiseless. Each step shrinks the variance of
N(0, s^2) by :math:`\rho^2 \sigma_i^2 s^2 / (\sigma_i^2 + s^2)`, so with rho in proportion to the
smallest it is exact as the levels grow.

References: Song & Ermon (2019), Generative Modeling by Estimating Gradients, arXiv 1907.05600,
algorithm 1 (there the step is alpha / 2); Song & Ermon (2020), arXiv 2006.09011, proposition 3;
Jolicoeur-Martineau et al. (2021), arXiv 2009.05475 (the last denoising step; consistent annealed
sampling, algorithm 2).
"""

import abc
import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.annealing import technique_4
from gradlogp.core.fields import NoisyField
from gradlogp.core.noise import EDM, VarianceExploding
from gradlogp.core.random import Randomness, normal_


class AnnealedState(NamedTuple):
    """x [B, *shape], the memory for noise, and the number of steps taken."""

    x: Tensor
    noise: Tensor
    taken: int


class AnnealedInfo(NamedTuple):
    """The noise level of the step; 0 for the last, denoising one."""

    sigma: float


@dataclass(frozen=True)
class Annealed(abc.ABC):
    """What both share: levels from `process`, coarse to fine, and a state that counts its steps."""

    process: VarianceExploding | EDM
    levels: int

    kind = "density"  # exact as steps per level, or levels, grow

    @cached_property
    def ladder(self) -> list[float]:
        return self.process.ladder(self.levels)

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """Score evaluations of a whole run."""

    @abc.abstractmethod
    def level(self, taken: int) -> int | None:
        """The level of step `taken` (from 0); None for the last, denoising one."""

    @abc.abstractmethod
    def rule(self, level: int) -> tuple[float, float]:
        """(step size, standard deviation of the noise) at a level."""

    def init(self, field: NoisyField, x: Tensor) -> AnnealedState:
        return AnnealedState(x.clone(), torch.empty_like(x), 0)

    def step(
        self, field: NoisyField, state: AnnealedState, generator: Randomness
    ) -> tuple[AnnealedState, AnnealedInfo]:
        x, noise, taken = state
        level = self.level(taken)
        sigma = self.ladder[-1 if level is None else level]
        step_size, tau = (sigma**2, 0.0) if level is None else self.rule(level)
        x.lerp_(field.denoise(x, sigma), step_size / sigma**2)
        if tau > 0:
            x.add_(normal_(noise, generator), alpha=tau)
        return AnnealedState(x, noise, taken + 1), AnnealedInfo(0.0 if level is None else sigma)


@final
@dataclass(frozen=True)
class AnnealedLangevin(Annealed):
    """Langevin dynamics at each noise level in turn, as in NCSN, and a last denoising step.

    Choose it to follow the paper; the consistent one gets as far in a fraction of the evaluations.
    `steps_per_level` steps at each level; step_ratio None is chosen by technique 4.
    """

    steps_per_level: int = 1
    step_ratio: float | None = None
    denoise: bool = True

    def __post_init__(self) -> None:
        if self.levels < 2 or self.steps_per_level < 1:
            raise ValueError(
                f"annealing needs levels >= 2 and steps_per_level >= 1, got {self.levels} and "
                f"{self.steps_per_level}; for a single level use Langevin."
            )
        if self.step_ratio is not None and not 0 < self.step_ratio < 2:
            raise ValueError(
                f"step_ratio must lie in (0, 2), where the chain is stable, got {self.step_ratio}; "
                "None chooses it by technique 4."
            )

    @cached_property
    def rho(self) -> float:
        gamma = max(a / b for a, b in itertools.pairwise(self.ladder))
        return (
            technique_4(gamma, self.steps_per_level) if self.step_ratio is None else self.step_ratio
        )

    @property
    def steps(self) -> int:
        return self.levels * self.steps_per_level + self.denoise

    def level(self, taken: int) -> int | None:
        level = taken // self.steps_per_level
        return None if level >= self.levels else level

    def rule(self, level: int) -> tuple[float, float]:
        step_size = self.rho * self.ladder[level] ** 2
        return step_size, math.sqrt(2 * step_size)


@final
@dataclass(frozen=True)
class ConsistentAnnealedLangevin(Annealed):
    """Annealed Langevin that adds just the noise of the next level: exact as the levels grow.

    Choose it for pictures by a noise-conditional score, from some 60 levels. One step per level;
    the last level's step is the denoising one. step_ratio None is four times the smallest.
    """

    step_ratio: float | None = None

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ValueError(
                f"annealing needs levels >= 2, got {self.levels}; for a single level use Langevin."
            )
        if self.step_ratio is not None and not self.smallest <= self.step_ratio <= 1:
            raise ValueError(
                f"step_ratio must lie in [{self.smallest:.3g}, 1] for these levels, got"
                f" {self.step_ratio:g}: below it no noise is little enough; raise it, or take more"
                " levels."
            )

    @property
    def smallest(self) -> float:
        """The step ratio at which no noise is added."""
        return 1 - self.ladder[1] / self.ladder[0]

    @property
    def rho(self) -> float:
        return min(1.0, 4 * self.smallest) if self.step_ratio is None else self.step_ratio

    @property
    def steps(self) -> int:
        return self.levels

    def level(self, taken: int) -> int | None:
        return None if taken >= self.levels - 1 else taken

    def rule(self, level: int) -> tuple[float, float]:
        now, after = self.ladder[level], self.ladder[level + 1]
        return self.rho * now**2, math.sqrt(max(0.0, after**2 - ((1 - self.rho) * now) ** 2))

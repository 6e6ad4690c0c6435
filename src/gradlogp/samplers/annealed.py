r"""Annealed Langevin dynamics: Langevin at each noise level in turn, from the coarsest to the finest.

.. math:: x' = x + \alpha_i\, s(x, \sigma_i) + \sqrt{2\alpha_i}\, z, \qquad \alpha_i = \rho\, \sigma_i^2,

`steps_per_level` times for each of the levels :math:`\sigma_1 > \dots > \sigma_L`, and at last the denoising step
:math:`x + \sigma_L^2 s(x, \sigma_L)` without noise (Tweedie), which is worth a factor of two in Frechet distance.

rho is `step_ratio`; None chooses it by technique 4: a Gaussian that leaves level i with variance :math:`\sigma_i^2` should
reach :math:`\sigma_{i+1}^2` after T steps at level i + 1.

References: Song & Ermon (2019), Generative Modeling by Estimating Gradients, arXiv 1907.05600, algorithm 1 (there the step is
alpha / 2); Song & Ermon (2020), arXiv 2006.09011, proposition 3; Jolicoeur-Martineau et al. (2021), arXiv 2009.05475 (the
last denoising step).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import Randomness, normal_


def variance_ratio(rho: float, gamma: float, steps: int) -> float:
    r"""Variance over :math:`\sigma_i^2` after `steps` steps at level i, begun at :math:`\gamma^2\sigma_i^2`; point-mass data."""
    shrink = 1 - rho
    still = 2 * rho / (1 - shrink**2)
    return shrink ** (2 * steps) * (gamma**2 - still) + still


def technique_4(gamma: float, steps: int) -> float:
    """The step ratio rho in (0, 1] whose `variance_ratio` is nearest to 1, to 4 digits."""
    grid = torch.linspace(-9, 0, 20001, dtype=torch.float64).exp().tolist()
    return min(grid, key=lambda rho: abs(variance_ratio(rho, gamma, steps) - 1))


class Annealing(NamedTuple):
    """x [B, *shape], the memory for noise, and the number of steps taken."""

    x: Tensor
    noise: Tensor
    taken: int


class AnnealedInfo(NamedTuple):
    """The noise level of the step; 0 for the last, denoising one."""

    sigma: float


@final
@dataclass(frozen=True)
class AnnealedLangevin:
    """Levels from `process`, `levels` x `steps_per_level` score evaluations and one more for the last denoising step."""

    process: VarianceExploding
    levels: int
    steps_per_level: int = 1
    step_ratio: float | None = None
    denoise: bool = True

    def __post_init__(self) -> None:
        if self.levels < 2 or self.steps_per_level < 1:
            raise ValueError(f"annealing needs levels >= 2 and steps_per_level >= 1, got {self.levels} and "
                             f"{self.steps_per_level}; for a single level use Langevin.")
        if self.step_ratio is not None and not 0 < self.step_ratio < 2:
            raise ValueError(f"step_ratio must lie in (0, 2), where the chain is stable, got {self.step_ratio}; "
                             "None chooses it by technique 4.")

    @cached_property
    def ladder(self) -> list[float]:
        return self.process.ladder(self.levels)

    @cached_property
    def rho(self) -> float:
        gamma = self.ladder[0] / self.ladder[1]
        return technique_4(gamma, self.steps_per_level) if self.step_ratio is None else self.step_ratio

    @property
    def steps(self) -> int:
        """Score evaluations of a whole run."""
        return self.levels * self.steps_per_level + self.denoise

    def init(self, field: NoisyField, x: Tensor) -> Annealing:
        return Annealing(x.clone(), torch.empty_like(x), 0)

    def step(self, field: NoisyField, state: Annealing, generator: Randomness) -> tuple[Annealing, AnnealedInfo]:
        x, noise, taken = state
        level = taken // self.steps_per_level
        if level >= self.levels:
            x.add_(field.at(self.ladder[-1]).score(x), alpha=self.ladder[-1] ** 2)
            return Annealing(x, noise, taken + 1), AnnealedInfo(0.0)
        sigma = self.ladder[level]
        step_size = self.rho * sigma**2
        x.add_(field.at(sigma).score(x), alpha=step_size)
        x.add_(normal_(noise, generator), alpha=math.sqrt(2 * step_size))
        return Annealing(x, noise, taken + 1), AnnealedInfo(sigma)

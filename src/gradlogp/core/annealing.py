"""The ladder of annealed Langevin dynamics, measured: what NCSNv2 chooses by hand, `ncsnv2`
derives.

The coarsest level is the largest distance in the data (technique 1); neighbouring levels overlap by
half in the radius of their shells (technique 2); and the step leaves a point mass with the variance
of its level (technique 4).

References: Song & Ermon (2020), Improved Techniques for Training Score-Based Generative Models,
arXiv 2006.09011 (NCSNv2), sections 3.1, 3.2 and 3.4 and proposition 3.
"""

import itertools
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.noise import VarianceExploding


def max_distance(x: Tensor, limit: int = 10_000, block: int = 1000) -> float:
    """The largest distance between two rows of x [n, *shape], exactly; of `limit` rows, evenly
    spaced, where there are more.

    Technique 1's sigma_1: Song & Ermon (2020), section 3.1.
    """
    rows = torch.linspace(0, len(x) - 1, min(limit, len(x)), dtype=torch.float64).round().long()
    parts = x.flatten(1)[rows.to(x.device)].split(block)
    return max(
        (
            float(torch.cdist(a, b).max())
            for a, b in itertools.combinations_with_replacement(parts, 2)
        ),
        default=0.0,
    )


def shell_overlap(gamma: float, dim: int) -> float:
    r"""How much of a level's mass lies where the next coarser level, gamma times as high, has its
    own,

    within three deviations of its radius: :math:`\Phi(\sqrt{2D}(\gamma-1)+3\gamma) -
    \Phi(\sqrt{2D}(\gamma-1)-3\gamma)`.
    """
    away = math.sqrt(2 * dim) * (gamma - 1)
    return (
        math.erf((away + 3 * gamma) / math.sqrt(2)) - math.erf((away - 3 * gamma) / math.sqrt(2))
    ) / 2


def geometric_ratio(dim: int, overlap: float = 0.5) -> float:
    """The ratio of neighbouring levels in `dim` dimensions whose `shell_overlap` is `overlap`.

    Technique 2: Song & Ermon (2020), section 3.2. The paper asks for .5; its ladders of 232, 500
    and 1086 levels have .566 to .567.
    """
    if dim < 5 or not 0 < overlap < shell_overlap(1, dim):
        raise ValueError(
            f"technique 2 needs 5 dimensions or more and an overlap between 0 and .997, got {dim}"
            f" and {overlap}; in fewer choose the levels by hand."
        )
    low, high = 1.0, 2.0
    while shell_overlap(high, dim) > overlap:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shell_overlap(middle, dim) > overlap else (low, middle)
    return low


def variance_ratio(rho: float, gamma: float, steps: int) -> float:
    r"""Variance over :math:`\sigma_i^2` after `steps` steps :math:`\rho\sigma_i^2` at level i,
    begun at :math:`\gamma^2\sigma_i^2`.

    For point-mass data; never below 1. Song & Ermon (2020), proposition 3.
    """
    shrink = 1 - rho
    still = 2 * rho / (1 - shrink**2)
    return shrink ** (2 * steps) * (gamma**2 - still) + still


def technique_4(gamma: float, steps: int) -> float:
    """The step ratio rho in (0, 1] whose `variance_ratio` is nearest to 1, to 6 digits: Song &
    Ermon (2020), section 3.4.
    """
    low, high = -14.0, 0.0  # ln rho
    for _ in range(6):
        grid = torch.linspace(low, high, 201, dtype=torch.float64)
        best = min(grid.tolist(), key=lambda log: variance_ratio(math.exp(log), gamma, steps))
        low = max(best - float(grid[1] - grid[0]), low)
        high = min(best + float(grid[1] - grid[0]), high)
    return math.exp(best)


@final
@dataclass(frozen=True)
class AnnealingPlan:
    """What annealed Langevin dynamics needs to know: its levels, the steps at each, and their size
    over sigma^2.
    """

    process: VarianceExploding
    levels: int
    steps_per_level: int
    step_ratio: float

    @property
    def step_size(self) -> float:
        """The step at the finest level: the papers' epsilon."""
        return self.step_ratio * self.process.sigma_min**2


def ncsnv2(
    x: Tensor,
    sigma_min: float = 0.01,
    steps_per_level: int = 5,
    overlap: float = 0.5,
    limit: int = 10_000,
) -> AnnealingPlan:
    """Techniques 1, 2 and 4 of NCSNv2 for the data x [n, *shape]: everything about the ladder,
    measured.

    sigma_max is the `max_distance`, on `limit` rows of x; the levels are the fewest whose
    neighbours overlap by `overlap`; the step size is technique 4's. Choose it in place of settings
    made for other data.
    """
    process = VarianceExploding(sigma_min, max_distance(x, limit))
    return plan(process, x[0].numel(), steps_per_level, overlap)


def plan(
    process: VarianceExploding, dim: int, steps_per_level: int = 5, overlap: float = 0.5
) -> AnnealingPlan:
    """Techniques 2 and 4 for the levels of `process` in `dim` dimensions."""
    span = math.log(process.sigma_max / process.sigma_min)
    levels = 1 + math.ceil(span / math.log(geometric_ratio(dim, overlap)))
    gamma = math.exp(span / (levels - 1))
    return AnnealingPlan(process, levels, steps_per_level, technique_4(gamma, steps_per_level))

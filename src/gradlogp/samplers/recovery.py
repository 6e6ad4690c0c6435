r"""Down the noise levels by recovery: at each, Langevin chains of the cleaner given the noisier.

From y at the level :math:`\sigma'` above :math:`\sigma`, with the gap :math:`g^2 = \sigma'^2 -
\sigma^2`, chains of :math:`p(x \mid y) \propto p_\sigma(x)\, e^{-\|x - y\|^2 / 2 g^2}` begin at y and
take steps of h in units of the gap,

.. math:: x \leftarrow x + h\,\big(g^2 s(x, \sigma) + y - x\big) + \sqrt{2h}\; g\, z ,

and where they end is the y of the next level. At the finest, a step of Tweedie's formula takes the
noise away that is left. An energy learned by recovery likelihood was taught with these chains.

References: Gao et al. (2021), Learning Energy-Based Models by Diffusion Recovery Likelihood, arXiv
2012.08125, algorithm 2 (there the process keeps the variance).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField
from gradlogp.core.noise import EDM, VarianceExploding
from gradlogp.core.random import Randomness, normal_
from gradlogp.samplers.annealed import AnnealedInfo


class RecoveryState(NamedTuple):
    """x, and y at the level above, [B, *shape] each; the number of steps taken."""

    x: Tensor
    y: Tensor
    taken: int


@final
@dataclass(frozen=True)
class RecoveryLangevin:
    """Langevin chains of each noise level given where those of the level above ended.

    Choose it for energies learned by recovery likelihood, with the levels and chains of training:
    `inner` steps at each level below the first, of `step_size` in units of the squared gap; and a
    last denoising step.
    """

    process: VarianceExploding | EDM
    levels: int
    inner: int = 8
    step_size: float = 0.2

    kind = "density"  # exact as steps grow smaller and more

    def __post_init__(self) -> None:
        if self.levels < 2 or self.inner < 1 or self.step_size <= 0:
            raise ValueError(
                "recovery needs levels >= 2, inner >= 1 and step_size > 0, got"
                f" {self.levels}, {self.inner} and {self.step_size}."
            )

    @property
    def ladder(self) -> list[float]:
        return self.process.ladder(self.levels)

    @property
    def steps(self) -> int:
        """Score evaluations of a whole run."""
        return (self.levels - 1) * self.inner + 1

    def init(self, field: NoisyField, x: Tensor) -> RecoveryState:
        return RecoveryState(x.clone(), x.clone(), 0)

    def step(
        self, field: NoisyField, state: RecoveryState, generator: Randomness
    ) -> tuple[RecoveryState, AnnealedInfo]:
        x, y, taken = state
        if taken >= self.steps - 1:
            denoised = field.denoise(x, self.ladder[-1])
            return RecoveryState(denoised, y, taken + 1), AnnealedInfo(0.0)
        level, first = divmod(taken, self.inner)
        above, sigma = self.ladder[level : level + 2]
        if first == 0:
            y.copy_(x)
        gap = math.sqrt(above**2 - sigma**2)
        pull = (field.denoise(x, sigma) - x) * (gap / sigma) ** 2 + y - x
        noise = normal_(torch.empty_like(x), generator)
        x.add_(pull, alpha=self.step_size).add_(noise, alpha=math.sqrt(2 * self.step_size) * gap)
        return RecoveryState(x, y, taken + 1), AnnealedInfo(sigma)

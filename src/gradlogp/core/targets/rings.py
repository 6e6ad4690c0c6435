r"""Circles in the plane, blurred: a uniform circle of radius r with N(0, s^2) added has, at
distance :math:`\rho` from 0,

.. math:: p(x) = \frac{1}{2\pi s^2} \exp\!\Big(-\frac{\rho^2 + r^2}{2 s^2}\Big)\, I_0\!\Big(\frac{\rho r}{s^2}\Big),

and noise only adds to s^2. The score points along x, :math:`\big(\frac{r^2}{s^4} \frac{I_1(z)}{z
I_0(z)} - \frac{1}{s^2}\big)\, x` with :math:`z = \rho r / s^2`.

Reference: Rice (1945), Mathematical Analysis of Random Noise, section 3.10 (the law of the
distance).
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import Level
from gradlogp.core.random import check_generator
from gradlogp.core.targets.base import Target, standard_normal, variance

TINY = 1e-12  # below it I1(z) / z is 1/2 to the last digit


@final
@dataclass(frozen=True)
class Rings(Target):
    """Equal shares of blurred circles around 0: for laws on a curve, with a hole.

    radii, and one std for all.
    """

    radii: tuple[float, ...] = (1.0, 2.5)
    std: float = 0.15

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        return -self._log_parts(x, sigma)[0].logsumexp(1)

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        parts, z, var = self._log_parts(x, sigma)
        z = z.clamp(min=TINY)
        pull = (x.new_tensor(self.radii) / var) ** 2 * torch.special.i1e(z) / torch.special.i0e(
            z
        ) / z - 1 / var
        return (parts.softmax(1) * pull).sum(1, keepdim=True) * x

    def _log_parts(self, x: Tensor, sigma: Level) -> tuple[Tensor, Tensor, Tensor]:
        """The log of each ring's share of p(x) [B, K]; z [B, K]; the variance across the ring, []
        or [B, 1].
        """
        var = self.check(x).new_tensor(self.std**2) + variance(sigma, x)
        radii = x.new_tensor(self.radii)
        rho = x.square().sum(1, keepdim=True).clamp(min=TINY**2).sqrt()
        z = rho * radii / var
        log_p = (
            -((rho - radii) ** 2) / (2 * var)
            + torch.special.i0e(z).log()
            - (2 * math.pi * var).log()
        )
        return log_p - math.log(len(self.radii)), z, var

    def sample(self, n: int, generator: Generator) -> Tensor:
        check_generator(generator)
        k = torch.randint(len(self.radii), (n,), generator=generator, device=generator.device)
        angle = (
            2
            * math.pi
            * torch.rand(n, generator=generator, dtype=torch.float64, device=generator.device)
        )
        radius = angle.new_tensor(self.radii)[k]
        return torch.stack(
            [radius * angle.cos(), radius * angle.sin()], 1
        ) + self.std * standard_normal(n, 2, generator)

r"""Noisy examples, and the best linear filter for them.

The Gaussian :math:`\mathcal N(\mu, C)` of the training examples draws samples, and its posterior
mean is Wiener's filter,

.. math:: \hat x = \mu + C (C + \sigma^2 I)^{-1} (y - \mu).

Reference: Wiener (1949), Extrapolation, Interpolation and Smoothing of Stationary Time Series.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.random import seeded
from gradlogp.core.spectrum import Spectrum


def noised(clean: Tensor, sigma: float | Tensor, seed: int) -> Tensor:
    """The noisy examples of seed `seed`: the same for whoever restores them."""
    return clean + sigma * torch.randn(clean.shape, generator=seeded(seed, "denoise"))


@final
@dataclass(frozen=True)
class PixelGaussian(Spectrum):
    """The Gaussian of the entries of examples, in float64."""

    @classmethod
    def fit(cls, x: Tensor, ddof: int = 1) -> "PixelGaussian":
        found = Spectrum.fit(x.double(), ddof)
        return cls(found.mean, found.variances, found.directions)

    def sample(self, n: int, seed: int) -> Tensor:
        """[n, D]; the numbers of the seed go to the components from the smallest on."""
        generator = seeded(seed, "gaussian")
        eps = torch.randn(n, len(self.mean), generator=generator, dtype=torch.float64).flip(1)
        return (self.mean + (eps * self.variances.sqrt()) @ self.directions.T).float()

    def restore(self, noisy: Tensor, sigma: float) -> Tensor:
        """The posterior mean of noisy examples [n, *shape], which may lie outside their range."""
        gain = self.variances / (self.variances + sigma**2)
        restored = self.mean + (self.coordinates(noisy.double()) * gain) @ self.directions.T
        return restored.float().reshape(noisy.shape)

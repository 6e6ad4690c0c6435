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


def noised(clean: Tensor, sigma: float | Tensor, seed: int) -> Tensor:
    """The noisy examples of seed `seed`: the same for whoever restores them."""
    return clean + sigma * torch.randn(clean.shape, generator=seeded(seed, "denoise"))


@final
@dataclass(frozen=True)
class PixelGaussian:
    """mean [D], and the eigenvalues [D] and eigenvectors [D, D] of the covariance, in float64."""

    mean: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> "PixelGaussian":
        flat = x.flatten(1).double()
        values, vectors = torch.linalg.eigh(flat.T.cov())
        return cls(flat.mean(0), values.clamp(min=0), vectors)

    def sample(self, n: int, seed: int) -> Tensor:
        """[n, D]"""
        eps = torch.randn(
            n, len(self.mean), generator=seeded(seed, "gaussian"), dtype=torch.float64
        )
        return (self.mean + (eps * self.values.sqrt()) @ self.vectors.T).float()

    def restore(self, noisy: Tensor, sigma: float) -> Tensor:
        """The posterior mean of noisy examples [n, *shape], which may lie outside their range."""
        centred = (noisy.flatten(1).double() - self.mean) @ self.vectors
        restored = self.mean + (centred * self.values / (self.values + sigma**2)) @ self.vectors.T
        return restored.float().reshape(noisy.shape)

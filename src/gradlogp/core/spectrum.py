r"""Mean and covariance of examples by principal components, :math:`C = \sum_i \lambda_i u_i u_i^T`.

What a Gaussian knows of the data: its draws and Wiener's filter, probabilistic PCA, Mahalanobis
distances, whitened features and preconditioners are all short in these coordinates.

Reference: Tipping & Bishop (1999), Probabilistic Principal Component Analysis, eq. 8.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """mean [D]; variances [D] of the principal components, largest first, in float64; their
    directions [D, D], one a column.
    """

    mean: Tensor
    variances: Tensor
    directions: Tensor

    @classmethod
    def fit(cls, x: Tensor, ddof: int = 0) -> "Spectrum":
        """Of examples x [n, *shape], sums divided by n - ddof. Products are taken in the precision
        of x, the eigenvalues in float64.
        """
        flat = x.flatten(1)
        mean = flat.mean(0)
        centred = flat - mean
        covariance = centred.T @ centred / (len(flat) - ddof)
        values, vectors = torch.linalg.eigh(covariance.double())
        return cls(mean, values.flip(0).clamp(min=0), vectors.flip(1).to(x.dtype))

    def coordinates(self, x: Tensor) -> Tensor:
        """The components [B, D] of x [B, *shape]."""
        return (x.flatten(1) - self.mean) @ self.directions

    def nats(self, squared: Tensor, variances: Tensor) -> float:
        """-log-likelihood, mean over examples, of a Gaussian with these variances, given mean
        squared coordinates [D].
        """
        return float(((squared / variances) + (2 * math.pi * variances).log()).sum() / 2)

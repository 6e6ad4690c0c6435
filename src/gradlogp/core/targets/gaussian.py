r"""Gaussians and their mixtures: with N(0, sigma^2) noise added they stay what they are, their
covariances grown by sigma^2.

Reference: Bishop (2006), Pattern Recognition and Machine Learning, section 2.3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import Level
from gradlogp.core.targets.base import Target, standard_normal, variance


@final
@dataclass(frozen=True)
class Gaussian(Target):
    r""":math:`\mathcal N(\mu, \Sigma)` with a full covariance. mean: [D]; covariance: [D, D],
    symmetric and positive definite.
    """

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        if (
            self.covariance.shape != (len(self.mean),) * 2
            or not self.covariance.isclose(self.covariance.T).all()
        ):
            raise ValueError(
                f"a covariance is a symmetric matrix of shape {[len(self.mean)] * 2}, got shape"
                f" {list(self.covariance.shape)}; for standard deviations use gaussian(mean, std)."
            )
        if self._axes[0].min() <= 0:
            raise ValueError(
                "a covariance has positive eigenvalues, but the smallest is"
                f" {self._axes[0].min():.3g}; add a little to its diagonal."
            )

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues [D] and eigenvectors (columns, [D, D]) of the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return values, vectors

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape)

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        z, var, _ = self._along_axes(x, sigma)
        return (z**2 / var + (2 * math.pi * var).log()).sum(1) / 2

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        z, var, axes = self._along_axes(x, sigma)
        return -(z / var) @ axes.T

    def _along_axes(self, x: Tensor, sigma: Level) -> tuple[Tensor, Tensor, Tensor]:
        """x - mean along the axes, its variances with the noise, and the axes."""
        values, axes = (a.to(self.check(x)) for a in self._axes)
        return (x - self.mean.to(x)) @ axes, values + variance(sigma, x), axes

    def sample(self, n: int, generator: Generator) -> Tensor:
        eps = standard_normal(n, len(self.mean), generator)
        values, axes = (a.to(eps) for a in self._axes)
        return self.mean.to(eps) + (values.sqrt() * eps) @ axes.T


@final
@dataclass(frozen=True)
class GaussianMixture(Target):
    r""":math:`p(x) = \sum_k w_k \mathcal N(x; \mu_k, \mathrm{diag}(s_k^2))`. means, stds: [K, D];
    weights: [K], sum 1.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.means.shape[1:])

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        return -self._log_parts(x, sigma).logsumexp(1)

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        """The parts' scores, weighted by how much of x each part explains."""
        share = self._log_parts(x, sigma).softmax(1)
        return (share[..., None] * (self.means.to(x) - x[:, None]) / self._variances(x, sigma)).sum(
            1
        )

    def _variances(self, x: Tensor, sigma: Level) -> Tensor:
        """s_k^2 + sigma^2, [K, D] or [B, K, D]."""
        return self.stds.to(x) ** 2 + variance(sigma, x[:, None])

    def _log_parts(self, x: Tensor, sigma: Level) -> Tensor:
        """log w_k N(x; mu_k, s_k^2 + sigma^2), [B, K]."""
        var = self._variances(self.check(x), sigma)
        return (
            self.weights.to(x).log()
            - ((x[:, None] - self.means.to(x)) ** 2 / var + (2 * math.pi * var).log()).sum(-1) / 2
        )

    def sample(self, n: int, generator: Generator) -> Tensor:
        eps = standard_normal(n, self.means.shape[1], generator)
        k = torch.multinomial(self.weights.to(eps), n, replacement=True, generator=generator)
        return self.means.to(eps)[k] + self.stds.to(eps)[k] * eps


def gaussian(
    mean: Sequence[float] = (0.0, 0.0), std: Sequence[float] = (0.5, 2.0)
) -> GaussianMixture:
    """A diagonal Gaussian: for exact recursions, since linear samplers keep it one."""
    return _mixture([list(mean)], torch.tensor([list(std)], dtype=torch.float64))


def correlated_gaussian(correlation: float = 0.9, dim: int = 2) -> Gaussian:
    """A Gaussian with unit variances and one correlation of all its coordinates: for unequal
    scales.
    """
    covariance = torch.full((dim, dim), correlation, dtype=torch.float64).fill_diagonal_(1.0)
    return Gaussian(torch.zeros(dim, dtype=torch.float64), covariance)


def ring_of_gaussians(modes: int = 8, radius: float = 4.0, std: float = 0.5) -> GaussianMixture:
    """Equal Gaussians on a circle: for mixing between modes far apart, all alike."""
    return _mixture(
        [
            [radius * math.cos(a), radius * math.sin(a)]
            for a in (2 * math.pi * k / modes for k in range(modes))
        ],
        std,
    )


def grid_of_gaussians(side: int = 5, spacing: float = 2.0, std: float = 0.2) -> GaussianMixture:
    """Equal Gaussians on a square grid around 0, side x side of them: for counting modes."""
    steps = [spacing * (k - (side - 1) / 2) for k in range(side)]
    return _mixture([[a, b] for a in steps for b in steps], std)


def _mixture(means: list[list[float]], std: float | Tensor) -> GaussianMixture:
    centres = torch.tensor(means, dtype=torch.float64)
    return GaussianMixture(
        centres, std * torch.ones_like(centres), centres.new_full((len(centres),), 1 / len(centres))
    )

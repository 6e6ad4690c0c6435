r"""Laws whose energy, score, samples and log Z are known exactly: what everything else is tested against.

With N(0, sigma^2) noise added, a Gaussian mixture stays one: its covariances grow by sigma^2, so the score is exact at every
noise level.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import Law, Level, NoisyField, column


@final
@dataclass(frozen=True)
class GaussianMixture(NoisyField):
    r""":math:`p(x) = \sum_k w_k \mathcal N(x; \mu_k, \mathrm{diag}(s_k^2))`. means, stds: [K, D]; weights: [K], sum 1."""

    means: Tensor
    stds: Tensor
    weights: Tensor

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        """-log p, normalised (log Z = 0), [B], of the law with noise `sigma` added."""
        return -self._log_parts(x, sigma).logsumexp(1)

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        """The parts' scores, weighted by how much of x each part explains."""
        share = self._log_parts(x, sigma).softmax(1)
        return (share[..., None] * (self.means - x[:, None]) / self._variances(x, sigma)).sum(1)

    def _variances(self, x: Tensor, sigma: Level) -> Tensor:
        """s_k^2 + sigma^2, [K, D] or [B, K, D]."""
        return self.stds**2 + (column(sigma, x)[..., None] if isinstance(sigma, Tensor) else sigma) ** 2

    def _log_parts(self, x: Tensor, sigma: Level) -> Tensor:
        """log w_k N(x; mu_k, s_k^2 + sigma^2), [B, K]."""
        var = self._variances(x, sigma)
        return self.weights.log() - ((x[:, None] - self.means) ** 2 / var + (2 * math.pi * var).log()).sum(-1) / 2

    def sample(self, n: int, generator: Generator) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = torch.randn(n, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[k] + self.stds[k] * eps

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        level = column(sigma, x) if isinstance(sigma, Tensor) else sigma
        return x + level**2 * self.score(x, sigma)

    def at(self, sigma: float = 0.0) -> Law:
        """The exact field of the law with noise sigma >= 0 added."""
        return Law(lambda x: self.energy(x, sigma), lambda x: self.score(x, sigma))


def gaussian(mean: list[float], std: list[float]) -> GaussianMixture:
    """A diagonal Gaussian in float64."""
    return GaussianMixture(torch.tensor([mean], dtype=torch.float64), torch.tensor([std], dtype=torch.float64),
                           torch.ones(1, dtype=torch.float64))

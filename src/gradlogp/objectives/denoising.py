r"""Denoising score matching over noise levels. With :math:`x = x_0 + \sigma\varepsilon`, one loss value per example:

.. math:: \tfrac12\, \lambda(\sigma)\, \| s_\theta(x, \sigma) + \varepsilon / \sigma \|^2
          = \frac{\lambda(\sigma)}{2\sigma^4}\, \| D_\theta(x, \sigma) - x_0 \|^2 .

Its minimiser is the score of the noised data. NCSN is this loss with a ladder of levels and :math:`\lambda = \sigma^2`; EDM is this
loss with log-normal levels and :math:`\lambda = \sigma^2 (\sigma^2 + \sigma_d^2) / \sigma_d^2`. The law of sigma is stratified over
the batch, which takes variance away and costs nothing.

References: Vincent (2011), A Connection Between Score Matching and Denoising Autoencoders, eq. 11; Song & Ermon (2019), arXiv
1907.05600, eq. 5 and 6; Karras et al. (2022), arXiv 2206.00364, table 1; Kingma et al. (2021), arXiv 2107.00630, app. I.1
(stratified levels).
"""

import abc
import math
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.noise import VarianceExploding
from gradlogp.objectives.base import Loss, Objective, check_batch, mean


class LevelLaw(abc.ABC):
    """The law of the noise level sigma, by its quantile function."""

    @abc.abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """u in (0, 1), [B] -> sigma [B]."""

    def sample(self, n: int, generator: Generator, device: torch.device | str = "cpu") -> Tensor:
        """n levels, one in each of n strata of equal probability, in random order."""
        strata = torch.randperm(n, generator=generator, device=device)
        u = (strata + torch.rand(n, generator=generator, device=device)) / n
        return self.quantile(u.clamp(1e-6, 1 - 1e-6))


@final
@dataclass(frozen=True)
class LogNormal(LevelLaw):
    r""":math:`\ln\sigma \sim \mathcal N(m, w^2)`."""

    mean: float = 0.0
    width: float = 1.2

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError(f"width is the standard deviation of ln sigma, so it is 0 or more, got {self.width}.")

    def quantile(self, u: Tensor) -> Tensor:
        return (self.mean + self.width * torch.special.ndtri(u)).exp()


@final
@dataclass(frozen=True)
class Ladder(LevelLaw):
    """Every one of `levels` geometric levels of `process` equally often, as in NCSN."""

    process: VarianceExploding
    levels: int = 10

    def quantile(self, u: Tensor) -> Tensor:
        ladder = torch.tensor(self.process.ladder(self.levels), device=u.device, dtype=u.dtype)
        return ladder[(u * self.levels).long()]


@final
@dataclass(frozen=True)
class Single(LevelLaw):
    """One level only: the score of NCSN's own ablation, which cannot generate."""

    sigma: float

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise ValueError(f"sigma is a noise level, so it is positive, got {self.sigma}.")

    def quantile(self, u: Tensor) -> Tensor:
        return torch.full_like(u, self.sigma)


@final
@dataclass
class DenoisingScoreMatching(Objective):
    """Denoising score matching over the noise levels of `law`: learns the score of noised data.

    model(x, sigma [B], cond) is the denoised x. `weight` is 'sigma2' (NCSN) or 'edm', which needs `sigma_data`.

    A share `drop_cond` of the examples is shown without its condition, as class -1: Ho & Salimans (2022), arXiv 2207.12598.
    """

    law: LevelLaw
    weight: Literal["sigma2", "edm"] = "sigma2"
    sigma_data: float = 1.0
    drop_cond: float = 0.0

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        if cond is not None and self.drop_cond > 0:
            dropped = torch.rand(len(x0), generator=generator, device=x0.device) < self.drop_cond
            cond = torch.where(dropped, -1, cond)
        sigma = self.law.sample(len(x0), generator, x0.device)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        denoised = model(x0 + sigma.reshape(-1, *[1] * (x0.ndim - 1)) * eps, sigma, cond)
        if denoised.shape != x0.shape:
            raise ValueError(f"the denoised x has the shape of x, {list(x0.shape)}, but the model gave "
                             f"{list(denoised.shape)}.")
        error = (denoised - x0).flatten(1).square().sum(1)  # [B]
        value = self.weigh(sigma) / (2 * sigma**4) * error
        return Loss(value, {"loss_per_dim": mean(value) / math.prod(x0.shape[1:])})

    def weigh(self, sigma: Tensor) -> Tensor:
        """lambda(sigma), [B]."""
        if self.weight == "sigma2":
            return sigma**2
        return sigma**2 * (sigma**2 + self.sigma_data**2) / self.sigma_data**2

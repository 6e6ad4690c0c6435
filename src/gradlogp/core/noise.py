r"""Noise processes :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`, t in [0, 1] with 0 = data.

A discrete ladder of noise levels, as in NCSN, is a grid on a process.
"""

import abc
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


class NoiseProcess(abc.ABC):
    """The signal scale alpha and the noise standard deviation sigma as functions of t, shape to shape."""

    @abc.abstractmethod
    def alpha(self, t: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def sigma(self, t: Tensor) -> Tensor: ...

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * (self.alpha(t).log() - self.sigma(t).log())


@final
@dataclass(frozen=True)
class VarianceExploding(NoiseProcess):
    r"""Geometric noise levels, :math:`\alpha_t = 1,\ \sigma_t = \sigma_\min (\sigma_\max/\sigma_\min)^t`.

    References: Song et al. (2021), Score-Based Generative Modeling through SDEs, arXiv 2011.13456, eq. 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"noise levels need 0 < sigma_min < sigma_max, got {self.sigma_min} and "
                             f"{self.sigma_max}; swap them or make sigma_min positive.")

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def time(self, sigma: Tensor) -> Tensor:
        """The t at which the noise level is sigma: the inverse of `sigma`."""
        return (sigma / self.sigma_min).log() / math.log(self.sigma_max / self.sigma_min)

    def ladder(self, levels: int) -> list[float]:
        """`levels` noise levels in geometric progression, from sigma_max down to sigma_min."""
        return self.sigma(torch.linspace(1, 0, levels, dtype=torch.float64)).tolist()


def geometric_ratio(dim: int) -> float:
    r"""The ratio of neighbouring levels for `dim` dimensions, :math:`\gamma = \sqrt{2D} / (\sqrt{2D} - 3)`.

    Closed form of technique 2 at overlap .5: Song & Ermon (2020), Improved Techniques for Training Score-Based Generative
    Models, arXiv 2006.09011, eq. 5.
    """
    root = math.sqrt(2 * dim)
    if root <= 3:
        raise ValueError(f"technique 2 needs more than 4.5 dimensions, got {dim}; choose the levels by hand.")
    return root / (root - 3)

r"""What a noise process is: :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`, the SDE that it
solves, and what follows from these for any of them. The processes themselves are in `core.noise`.
"""

import abc

import torch
from torch import Tensor

from gradlogp.core.fields import column

Scalar = Tensor | float
# how far rounding may carry a t past its ends: float32 levels, asked for their time, come back that
# inexact
SLACK = 1e-6


def as_time(t: Scalar) -> Tensor:
    """t in float64; ValueError where it leaves [0, 1] (looked at on the CPU only, where looking
    costs no host sync).
    """
    t = torch.as_tensor(t, dtype=torch.float64)
    if t.device.type == "cpu" and not ((t >= -SLACK) & (t <= 1 + SLACK)).all():
        raise ValueError(
            f"t runs from 0 (data) to 1 (noise), got values from {t.min():.4g} to {t.max():.4g}; "
            "divide step numbers by the number of steps, and keep levels within the process's own."
        )
    return t.clamp(0, 1)


def as_level(level: Scalar) -> Tensor:
    """A level in float64."""
    return torch.as_tensor(level, dtype=torch.float64)


class NoiseProcess(abc.ABC):
    """The signal scale alpha, the noise standard deviation sigma, and the SDE's drift f and
    diffusion g.
    """

    ends = (
        0.0,
        1.0,
    )  # the times between which `level` is positive and finite: where a ladder stands

    @abc.abstractmethod
    def alpha(self, t: Scalar) -> Tensor: ...

    @abc.abstractmethod
    def sigma(self, t: Scalar) -> Tensor: ...

    @abc.abstractmethod
    def drift(self, t: Scalar) -> Tensor:
        """f(t), the factor of x in dx = f x dt + g dw."""

    @abc.abstractmethod
    def diffusion(self, t: Scalar) -> Tensor:
        """g(t) in dx = f x dt + g dw."""

    @abc.abstractmethod
    def time(self, level: Scalar) -> Tensor:
        """The t at which sigma / alpha is `level`: the exact inverse of `level`."""

    def level(self, t: Scalar) -> Tensor:
        """sigma / alpha: the noise on x0 once the signal is scaled back to size."""
        return self.sigma(t) / self.alpha(t)

    @abc.abstractmethod
    def alpha_at(self, level: Scalar) -> Tensor:
        """alpha where sigma / alpha is `level`, at any level, those before t = 0 and beyond t = 1
        included.
        """

    def rates(self, t: Scalar) -> tuple[Tensor, Tensor]:
        """The derivatives of alpha and sigma in t: the probability flow's velocity is alpha' x0 +
        sigma' eps.
        """
        f, sigma = self.drift(t), self.sigma(t)
        return f * self.alpha(t), self.diffusion(t) ** 2 / (2 * sigma) + f * sigma

    def sde_at(self, level: Scalar) -> tuple[Tensor, Tensor]:
        """f and g where sigma / alpha is `level`; beyond t = 1 the process goes on as it did."""
        t = self.time(level)
        return self.drift(t), self.diffusion(t)

    def rates_at(self, level: Scalar) -> tuple[Tensor, Tensor]:
        """`rates` where sigma / alpha is `level`."""
        alpha, (f, g) = self.alpha_at(level), self.sde_at(level)
        sigma = alpha * as_level(level)
        return f * alpha, g**2 / (2 * sigma) + f * sigma

    def log_snr(self, t: Scalar) -> Tensor:
        return -2 * self.level(t).log()

    def ladder(self, levels: int) -> list[float]:
        """`levels` levels at equal distances in t, from the noisiest down."""
        if levels < 1:
            raise ValueError(f"a ladder has 1 level or more, got {levels}.")
        first, last = self.ends
        return self.level(torch.linspace(last, first, levels, dtype=torch.float64)).tolist()

    def noised(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t for x0 and eps [B, *shape] at the times t [B]."""
        if eps.shape != x0.shape:
            raise ValueError(
                f"eps has the shape of x0, {list(x0.shape)}, but this one has {list(eps.shape)}."
            )
        return (
            column(self.alpha(t).to(x0.dtype), x0) * x0
            + column(self.sigma(t).to(x0.dtype), x0) * eps
        )

r"""Noise processes :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`, t in [0, 1] with 0 = data. Each solves the linear SDE

.. math:: dx = f_t\, x\, dt + g_t\, dw, \qquad f_t = \frac{d \ln\alpha_t}{dt}, \qquad
          g_t^2 = \frac{d\sigma_t^2}{dt} - 2 f_t \sigma_t^2 .

In scaled coordinates :math:`x_t/\alpha_t = x_0 + \ell_t\,\varepsilon` every process is variance exploding, with the one number
:math:`\ell_t = \sigma_t/\alpha_t` (`level`) in the place of sigma: log-SNR is :math:`-2\ln\ell_t`. So a model of the noised data at
every level serves every process, and a sampler needs nothing of a process but its `ladder`, a grid of levels. The discrete ladders
of NCSN and DDPM are such grids.

t is a float or a tensor of any shape; results are float64 of that shape, so that products over a thousand steps stay exact.

References: Song et al. (2021), Score-Based Generative Modeling through SDEs, arXiv 2011.13456, eq. 29 to 33 and app. B; Karras et
al. (2022), arXiv 2206.00364, eq. 4 and app. B (scaling); Kingma et al. (2021), arXiv 2107.00630, eq. 1 to 4.
"""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

Time = Tensor | float


def as_time(t: Time) -> Tensor:
    """t in float64; ValueError where it leaves [0, 1] (looked at on the CPU only, where looking costs no host sync)."""
    t = torch.as_tensor(t, dtype=torch.float64)
    if t.device.type == "cpu" and not ((t >= 0) & (t <= 1)).all():
        raise ValueError(f"t runs from 0 (data) to 1 (noise), got values from {t.min():.4g} to {t.max():.4g}; "
                         "divide step numbers by the number of steps.")
    return t


class NoiseProcess(abc.ABC):
    """The signal scale alpha, the noise standard deviation sigma, and the SDE's drift f and diffusion g."""

    ends = (0.0, 1.0)  # the times between which `level` is positive and finite: where a ladder stands

    @abc.abstractmethod
    def alpha(self, t: Time) -> Tensor: ...

    @abc.abstractmethod
    def sigma(self, t: Time) -> Tensor: ...

    @abc.abstractmethod
    def drift(self, t: Time) -> Tensor:
        """f(t), the factor of x in dx = f x dt + g dw."""

    @abc.abstractmethod
    def diffusion(self, t: Time) -> Tensor:
        """g(t) in dx = f x dt + g dw."""

    @abc.abstractmethod
    def time(self, level: Time) -> Tensor:
        """The t at which sigma / alpha is `level`: the exact inverse of `level`."""

    def level(self, t: Time) -> Tensor:
        """sigma / alpha: the noise on x0 once the signal is scaled back to size."""
        return self.sigma(t) / self.alpha(t)

    def log_snr(self, t: Time) -> Tensor:
        return -2 * self.level(t).log()

    def ladder(self, levels: int) -> list[float]:
        """`levels` levels at equal distances in t, from the noisiest down."""
        first, last = self.ends
        return self.level(torch.linspace(last, first, levels, dtype=torch.float64)).tolist()

    def noised(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t for x0 and eps [B, *shape] at the times t [B]."""
        if t.shape != x0.shape[:1]:
            raise ValueError(f"`t` needs one time per example, shape [{len(x0)}], but has {list(t.shape)}; "
                             "for one shared time pass t.expand(len(x0)).")
        alpha, sigma = (f(t).to(x0.dtype).reshape(-1, *[1] * (x0.ndim - 1)) for f in (self.alpha, self.sigma))
        return alpha * x0 + sigma * eps


def _check_levels(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"noise levels need 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}; swap them or make "
                         "sigma_min positive.")


@final
@dataclass(frozen=True)
class VarianceExploding(NoiseProcess):
    r"""Geometric noise levels (VE, NCSN), :math:`\alpha_t = 1,\ \sigma_t = \sigma_\min (\sigma_\max/\sigma_\min)^t`.

    References: Song et al. (2021), Score-Based Generative Modeling through SDEs, arXiv 2011.13456, eq. 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        _check_levels(self.sigma_min, self.sigma_max)

    @property
    def _rate(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Time) -> Tensor:
        return torch.ones_like(as_time(t))

    def sigma(self, t: Time) -> Tensor:
        return self.sigma_min * (self._rate * as_time(t)).exp()

    def drift(self, t: Time) -> Tensor:
        return torch.zeros_like(as_time(t))

    def diffusion(self, t: Time) -> Tensor:
        return self.sigma(t) * math.sqrt(2 * self._rate)

    def time(self, level: Time) -> Tensor:
        return (torch.as_tensor(level, dtype=torch.float64) / self.sigma_min).log() / self._rate


@final
@dataclass(frozen=True)
class EDM(NoiseProcess):
    r"""The levels of EDM: alpha = 1, and :math:`\sigma_t^{1/\rho}` runs straight from sigma_min's to sigma_max's.

    References: Karras et al. (2022), Elucidating the Design Space, arXiv 2206.00364, eq. 5 (there i = 0 is the noisiest).
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        _check_levels(self.sigma_min, self.sigma_max)
        if self.rho <= 0:
            raise ValueError(f"rho is a power, so it is positive, got {self.rho}; 7 is the published choice.")

    @property
    def _roots(self) -> tuple[float, float]:
        """The ends of sigma^(1/rho), and their distance."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return low, high - low

    def alpha(self, t: Time) -> Tensor:
        return torch.ones_like(as_time(t))

    def sigma(self, t: Time) -> Tensor:
        low, width = self._roots
        return (low + width * as_time(t)) ** self.rho

    def drift(self, t: Time) -> Tensor:
        return torch.zeros_like(as_time(t))

    def diffusion(self, t: Time) -> Tensor:
        low, width = self._roots
        root = low + width * as_time(t)
        return (2 * self.rho * width * root ** (2 * self.rho - 1)).sqrt()

    def time(self, level: Time) -> Tensor:
        low, width = self._roots
        return (torch.as_tensor(level, dtype=torch.float64) ** (1 / self.rho) - low) / width


@dataclass(frozen=True)
class _Beta(NoiseProcess, abc.ABC):
    r"""What processes with linear beta share: :math:`B_t = \int_0^t \beta,\ \alpha_t = e^{-B_t/2}`."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    ends = (1e-3, 1.0)

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise ValueError(f"rates need 0 < beta_min <= beta_max, got {self.beta_min} and {self.beta_max}; these are rates in "
                             "continuous time, N times the betas of a DDPM of N steps.")

    def beta(self, t: Time) -> Tensor:
        return self.beta_min + (self.beta_max - self.beta_min) * as_time(t)

    def integral(self, t: Time) -> Tensor:
        t = as_time(t)
        return self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2

    def alpha(self, t: Time) -> Tensor:
        return (-self.integral(t) / 2).exp()

    def drift(self, t: Time) -> Tensor:
        return -self.beta(t) / 2

    def _when(self, integral: Tensor) -> Tensor:
        """The inverse of `integral`: the positive root of a quadratic, in the form that does not cancel."""
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + (self.beta_min**2 + 2 * slope * integral).sqrt())


@final
@dataclass(frozen=True)
class VariancePreserving(_Beta):
    r"""Linear betas (VP, DDPM), :math:`\alpha_t = e^{-B_t/2},\ \sigma_t^2 = 1 - \alpha_t^2,\ B_t = \int_0^t \beta`.

    References: Song et al. (2021), arXiv 2011.13456, eq. 32 and 33; Ho et al. (2020), arXiv 2006.11239.
    """

    def sigma(self, t: Time) -> Tensor:
        return (-torch.expm1(-self.integral(t))).sqrt()

    def diffusion(self, t: Time) -> Tensor:
        return self.beta(t).sqrt()

    def time(self, level: Time) -> Tensor:
        return self._when(torch.log1p(torch.as_tensor(level, dtype=torch.float64) ** 2))


@final
@dataclass(frozen=True)
class SubVariancePreserving(_Beta):
    r"""Less noise than VP at every t (sub-VP), :math:`\alpha_t = e^{-B_t/2},\ \sigma_t = 1 - e^{-B_t}`.

    References: Song et al. (2021), arXiv 2011.13456, eq. 12 and 29.
    """

    def sigma(self, t: Time) -> Tensor:
        return -torch.expm1(-self.integral(t))

    def diffusion(self, t: Time) -> Tensor:
        return (self.beta(t) * -torch.expm1(-2 * self.integral(t))).sqrt()

    def time(self, level: Time) -> Tensor:
        """level = 2 sinh(B / 2)."""
        return self._when(2 * torch.asinh(torch.as_tensor(level, dtype=torch.float64) / 2))


@final
@dataclass(frozen=True)
class Cosine(NoiseProcess):
    r"""The cosine schedule, :math:`\alpha_t = \cos u_t/\cos u_0,\ \sigma_t^2 = 1 - \alpha_t^2,\ u_t = \frac\pi2\frac{t+s}{1+s}`.

    alpha is 0 at t = 1, so ladders begin at .999. Reference: Nichol & Dhariwal (2021), Improved DDPM, arXiv 2102.09672, eq. 17.
    """

    offset: float = 0.008
    ends = (1e-3, 0.999)

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ValueError(f"offset is a time before 0, so it is 0 or more, got {self.offset}; .008 is the published choice.")

    @property
    def _speed(self) -> float:
        return math.pi / 2 / (1 + self.offset)

    def _angle(self, t: Time) -> Tensor:
        return self._speed * (as_time(t) + self.offset)

    @property
    def _start(self) -> float:
        return math.cos(self._speed * self.offset)

    def alpha(self, t: Time) -> Tensor:
        return self._angle(t).cos() / self._start

    def sigma(self, t: Time) -> Tensor:
        """1 - alpha^2 = sin(u - u0) sin(u + u0) / cos^2 u0, which does not cancel at t = 0."""
        u, first = self._angle(t), self._speed * self.offset
        return ((u - first).sin() * (u + first).sin()).clamp(min=0).sqrt() / self._start

    def beta(self, t: Time) -> Tensor:
        return 2 * self._speed * self._angle(t).tan()

    def drift(self, t: Time) -> Tensor:
        return -self.beta(t) / 2

    def diffusion(self, t: Time) -> Tensor:
        return self.beta(t).sqrt()

    def time(self, level: Time) -> Tensor:
        """alpha = 1 / sqrt(1 + level^2); the angle from its tangent, which stays exact where the cosine is flat."""
        level = torch.as_tensor(level, dtype=torch.float64)
        cos2 = self._start**2 / (1 + level**2)
        sin2 = (level**2 + math.sin(self._speed * self.offset) ** 2) / (1 + level**2)
        return torch.atan2(sin2.sqrt(), cos2.sqrt()) / self._speed - self.offset


@final
@dataclass(frozen=True)
class Rectified(NoiseProcess):
    r"""Straight lines from data to noise (rectified flow, flow matching), :math:`\alpha_t = 1 - t,\ \sigma_t = t`.

    alpha is 0 at t = 1, so ladders begin at .999. References: Liu et al. (2022), arXiv 2209.03003; Lipman et al. (2022), arXiv
    2210.02747, eq. 20 to 22 (there t = 1 is data).
    """

    ends = (1e-3, 0.999)

    def alpha(self, t: Time) -> Tensor:
        return 1 - as_time(t)

    def sigma(self, t: Time) -> Tensor:
        return as_time(t).clone()

    def drift(self, t: Time) -> Tensor:
        return -1 / (1 - as_time(t))

    def diffusion(self, t: Time) -> Tensor:
        t = as_time(t)
        return (2 * t / (1 - t)).sqrt()

    def time(self, level: Time) -> Tensor:
        level = torch.as_tensor(level, dtype=torch.float64)
        return level / (1 + level)


PROCESSES: dict[str, type[NoiseProcess]] = {
    "ve": VarianceExploding,
    "vp": VariancePreserving,
    "cosine": Cosine,
    "sub_vp": SubVariancePreserving,
    "edm": EDM,
    "rectified": Rectified,
}


def ddpm_ladder(betas: Sequence[float]) -> list[float]:
    r"""The levels :math:`\sqrt{(1 - \bar\alpha_i)/\bar\alpha_i}` of a DDPM with these betas, from the noisiest down."""
    alpha_bar = (1 - torch.tensor(list(betas), dtype=torch.float64)).cumprod(0)
    return ((1 - alpha_bar) / alpha_bar).sqrt().flip(0).tolist()


def geometric_ratio(dim: int) -> float:
    r"""The ratio of neighbouring levels for `dim` dimensions, :math:`\gamma = \sqrt{2D} / (\sqrt{2D} - 3)`.

    Closed form of technique 2 at overlap .5: Song & Ermon (2020), Improved Techniques for Training Score-Based Generative
    Models, arXiv 2006.09011, eq. 5.
    """
    root = math.sqrt(2 * dim)
    if root <= 3:
        raise ValueError(f"technique 2 needs more than 4.5 dimensions, got {dim}; choose the levels by hand.")
    return root / (root - 3)

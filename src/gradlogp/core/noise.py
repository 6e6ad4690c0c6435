r"""Noise processes :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon`, t in [0, 1] with 0 = data.
Each solves the linear SDE

.. math:: dx = f_t\, x\, dt + g_t\, dw, \qquad f_t = \frac{d \ln\alpha_t}{dt}, \qquad
          g_t^2 = \frac{d\sigma_t^2}{dt} - 2 f_t \sigma_t^2 .

In scaled coordinates :math:`x_t/\alpha_t = x_0 + \ell_t\,\varepsilon` every process is variance
exploding, with the one number :math:`\ell_t = \sigma_t/\alpha_t` (`level`) in the place of sigma:
log-SNR is :math:`-2\ln\ell_t`. So a model of the noised data at every level serves every process,
and a sampler needs nothing of a process but its `ladder`, a grid of levels. The discrete ladders of
NCSN and DDPM are such grids.

t is a float or a tensor of any shape; results are float64 of that shape, so that products over a
thousand steps stay exact.

References: Song et al. (2021), Score-Based Generative Modeling through SDEs, arXiv 2011.13456, eq.
29 to 33 and app. B; Karras et al. (2022), arXiv 2206.00364, eq. 4 and app. B (scaling); Kingma et
al. (2021), arXiv 2107.00630, eq. 1 to 4.
"""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.process import NoiseProcess, Scalar, as_level, as_time


def _check_levels(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"noise levels need 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}; swap"
            " them or make sigma_min positive."
        )


@final
@dataclass(frozen=True)
class VarianceExploding(NoiseProcess):
    r"""Geometric noise levels, the signal kept (VE, NCSN): for annealed Langevin, and for scores.

    :math:`\alpha_t = 1,\ \sigma_t = \sigma_\min (\sigma_\max/\sigma_\min)^t`.

    References: Song et al. (2021), Score-Based Generative Modeling through SDEs, arXiv 2011.13456,
    eq. 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        _check_levels(self.sigma_min, self.sigma_max)

    @property
    def _rate(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Scalar) -> Tensor:
        return torch.ones_like(as_time(t))

    def alpha_at(self, level: Scalar) -> Tensor:
        return torch.ones_like(as_level(level))

    def sigma(self, t: Scalar) -> Tensor:
        return self.sigma_min * (self._rate * as_time(t)).exp()

    def drift(self, t: Scalar) -> Tensor:
        return torch.zeros_like(as_time(t))

    def diffusion(self, t: Scalar) -> Tensor:
        return self.sigma(t) * math.sqrt(2 * self._rate)

    def sde_at(self, level: Scalar) -> tuple[Tensor, Tensor]:
        level = as_level(level)
        return torch.zeros_like(level), level * math.sqrt(2 * self._rate)

    def time(self, level: Scalar) -> Tensor:
        return (as_level(level) / self.sigma_min).log() / self._rate


@final
@dataclass(frozen=True)
class EDM(NoiseProcess):
    r"""The levels of EDM, dense where noise is low: for sampling any score in few evaluations.

    alpha = 1, and :math:`\sigma_t^{1/\rho}` runs straight from sigma_min's to sigma_max's.

    References: Karras et al. (2022), Elucidating the Design Space, arXiv 2206.00364, eq. 5 (there i
    = 0 is the noisiest).
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        _check_levels(self.sigma_min, self.sigma_max)
        if self.rho <= 0:
            raise ValueError(
                f"rho is a power, so it is positive, got {self.rho}; 7 is the published choice."
            )

    @property
    def _roots(self) -> tuple[float, float]:
        """The ends of sigma^(1/rho), and their distance."""
        low = self.sigma_min ** (1 / self.rho)
        high = self.sigma_max ** (1 / self.rho)
        return low, high - low

    def alpha(self, t: Scalar) -> Tensor:
        return torch.ones_like(as_time(t))

    def alpha_at(self, level: Scalar) -> Tensor:
        return torch.ones_like(as_level(level))

    def sigma(self, t: Scalar) -> Tensor:
        low, width = self._roots
        return (low + width * as_time(t)) ** self.rho

    def drift(self, t: Scalar) -> Tensor:
        return torch.zeros_like(as_time(t))

    def diffusion(self, t: Scalar) -> Tensor:
        return self.sde_at(self.sigma(t))[1]

    def sde_at(self, level: Scalar) -> tuple[Tensor, Tensor]:
        """g^2 = d level^2 / dt, where level = root^rho and the root is straight in t."""
        level = as_level(level)
        speed = 2 * self.rho * self._roots[1]
        return torch.zeros_like(level), (speed * level ** (2 - 1 / self.rho)).sqrt()

    def time(self, level: Scalar) -> Tensor:
        low, width = self._roots
        return (as_level(level) ** (1 / self.rho) - low) / width


@dataclass(frozen=True)
class _Beta(NoiseProcess, abc.ABC):
    r"""What processes with linear beta share: :math:`B_t = \int_0^t \beta,\ \alpha_t = e^{-B_t/2}`."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    ends = (1e-3, 1.0)

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise ValueError(
                f"rates need 0 < beta_min <= beta_max, got {self.beta_min} and {self.beta_max};"
                " these are rates in continuous time, N times the betas of a DDPM of N steps."
            )

    def beta(self, t: Scalar) -> Tensor:
        return self.beta_min + (self.beta_max - self.beta_min) * as_time(t)

    def integral(self, t: Scalar) -> Tensor:
        t = as_time(t)
        return self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2

    def alpha(self, t: Scalar) -> Tensor:
        return (-self.integral(t) / 2).exp()

    def alpha_at(self, level: Scalar) -> Tensor:
        return (-self._integral_at(as_level(level)) / 2).exp()

    def drift(self, t: Scalar) -> Tensor:
        return -self.beta(t) / 2

    def diffusion(self, t: Scalar) -> Tensor:
        return self._diffusion(self.beta(t), self.integral(t))

    def sde_at(self, level: Scalar) -> tuple[Tensor, Tensor]:
        integral = self._integral_at(as_level(level))
        beta = self._beta_of_integral(integral)
        return -beta / 2, self._diffusion(beta, integral)

    def time(self, level: Scalar) -> Tensor:
        return self._time_of_integral(self._integral_at(as_level(level)))

    @abc.abstractmethod
    def _integral_at(self, level: Tensor) -> Tensor:
        """The integral of beta up to where sigma / alpha is `level`."""

    @abc.abstractmethod
    def _diffusion(self, beta: Tensor, integral: Tensor) -> Tensor:
        """g, by beta and by its integral."""

    def _beta_of_integral(self, integral: Tensor) -> Tensor:
        return (self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integral).sqrt()

    def _time_of_integral(self, integral: Tensor) -> Tensor:
        """The inverse of `integral`: the positive root of a quadratic, in the form that does not
        cancel.
        """
        return 2 * integral / (self.beta_min + self._beta_of_integral(integral))


@final
@dataclass(frozen=True)
class VariancePreserving(_Beta):
    r"""Linear betas, the variance kept (VP, DDPM): for chains of DDPM, and for ancestral sampling.

    :math:`\alpha_t = e^{-B_t/2},\ \sigma_t^2 = 1 - \alpha_t^2,\ B_t = \int_0^t \beta`.

    References: Song et al. (2021), arXiv 2011.13456, eq. 32 and 33; Ho et al. (2020), arXiv
    2006.11239.
    """

    def sigma(self, t: Scalar) -> Tensor:
        return (-torch.expm1(-self.integral(t))).sqrt()

    def _integral_at(self, level: Tensor) -> Tensor:
        return torch.log1p(level**2)

    def _diffusion(self, beta: Tensor, integral: Tensor) -> Tensor:
        return beta.sqrt()


@final
@dataclass(frozen=True)
class SubVariancePreserving(_Beta):
    r"""Linear betas with less noise than VP at every t (sub-VP): for likelihood.

    :math:`\alpha_t = e^{-B_t/2},\ \sigma_t = 1 - e^{-B_t}`.

    References: Song et al. (2021), arXiv 2011.13456, eq. 12 and 29.
    """

    def sigma(self, t: Scalar) -> Tensor:
        return -torch.expm1(-self.integral(t))

    def _integral_at(self, level: Tensor) -> Tensor:
        """level = 2 sinh(B / 2)."""
        return 2 * torch.asinh(level / 2)

    def _diffusion(self, beta: Tensor, integral: Tensor) -> Tensor:
        return (beta * -torch.expm1(-2 * integral)).sqrt()


@final
@dataclass(frozen=True)
class Cosine(NoiseProcess):
    r"""The cosine schedule, the variance kept: for small pictures, which linear betas destroy too
    soon.

    :math:`\alpha_t = \cos u_t/\cos u_0,\ \sigma_t^2 = 1 - \alpha_t^2,\ u_t =
    \frac\pi2\frac{t+s}{1+s}`.

    alpha is 0 at t = 1, so ladders begin at .999. Reference: Nichol & Dhariwal (2021), Improved
    DDPM, arXiv 2102.09672, eq. 17.
    """

    offset: float = 0.008
    ends = (1e-3, 0.999)

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ValueError(
                f"offset is a time before 0, so it is 0 or more, got {self.offset}; .008 is the"
                " published choice."
            )

    @property
    def _speed(self) -> float:
        return math.pi / 2 / (1 + self.offset)

    @property
    def _cos_sin_at_0(self) -> tuple[float, float]:
        """The cosine and the sine of u at t = 0."""
        return math.cos(self._speed * self.offset), math.sin(self._speed * self.offset)

    def alpha(self, t: Scalar) -> Tensor:
        """cos u as the sine of its complement: 0, not nearly 0, at t = 1."""
        return (self._speed * (1 - as_time(t))).sin() / self._cos_sin_at_0[0]

    def alpha_at(self, level: Scalar) -> Tensor:
        return (1 + as_level(level) ** 2).rsqrt()

    def sigma(self, t: Scalar) -> Tensor:
        """1 - alpha^2 = sin(u - u0) sin(u + u0) / cos^2 u0, which does not cancel at t = 0."""
        t = as_time(t)
        return (
            (self._speed * t).sin() * (self._speed * (t + 2 * self.offset)).sin()
        ).sqrt() / self._cos_sin_at_0[0]

    def beta(self, t: Scalar) -> Tensor:
        return 2 * self._speed / (self._speed * (1 - as_time(t))).tan()

    def drift(self, t: Scalar) -> Tensor:
        return -self.beta(t) / 2

    def diffusion(self, t: Scalar) -> Tensor:
        return self.beta(t).sqrt()

    def time(self, level: Scalar) -> Tensor:
        """cos u0 tan u = sqrt(level^2 + sin^2 u0), and u - u0 from the difference of the tangents,
        which does not cancel.
        """
        cos, sin = self._cos_sin_at_0
        level = as_level(level).clamp(1e-150, 1e150)  # squares stay finite and positive
        root = (level**2 + sin**2).sqrt()
        return torch.atan2(level**2 / (root + sin) / cos, 1 + root * sin / cos**2) / self._speed


@final
@dataclass(frozen=True)
class Rectified(NoiseProcess):
    r"""Straight lines from data to noise: for rectified flows and flow matching.

    :math:`\alpha_t = 1 - t,\ \sigma_t = t`.

    alpha is 0 at t = 1, so ladders begin at .999. References: Liu et al. (2022), arXiv 2209.03003;
    Lipman et al. (2022), arXiv 2210.02747, eq. 20 to 22 (there t = 1 is data).
    """

    ends = (1e-3, 0.999)

    def alpha(self, t: Scalar) -> Tensor:
        return 1 - as_time(t)

    def alpha_at(self, level: Scalar) -> Tensor:
        return 1 / (1 + as_level(level))

    def sigma(self, t: Scalar) -> Tensor:
        return as_time(t)

    def drift(self, t: Scalar) -> Tensor:
        return -1 / (1 - as_time(t))

    def diffusion(self, t: Scalar) -> Tensor:
        t = as_time(t)
        return (2 * t / (1 - t)).sqrt()

    def time(self, level: Scalar) -> Tensor:
        return 1 / (1 + 1 / as_level(level))


# written out, so that settings can be read back from their names
Process = VarianceExploding | VariancePreserving | SubVariancePreserving | Cosine | EDM | Rectified

PROCESSES: dict[str, type[NoiseProcess]] = {
    "ve": VarianceExploding,
    "vp": VariancePreserving,
    "cosine": Cosine,
    "sub_vp": SubVariancePreserving,
    "edm": EDM,
    "rectified": Rectified,
}


def ddpm_ladder(betas: Sequence[float]) -> list[float]:
    r"""The levels :math:`\sqrt{(1 - \bar\alpha_i)/\bar\alpha_i}` of a DDPM with these betas, from
    the noisiest down.
    """
    alpha_bar = (1 - torch.tensor(list(betas), dtype=torch.float64)).cumprod(0)
    return ((1 - alpha_bar) / alpha_bar).sqrt().flip(0).tolist()

r"""Laws that are Gaussian but for one coordinate t: banana, funnel, double well. With noise added
they have no closed form, but

.. math:: p_\sigma(t', y) = \int p(t)\, \mathcal N(t'; t, \sigma^2)\, p_\sigma(y \mid t)\, dt

is one integral of a smooth function that dies out at both ends. There the trapezoidal rule
converges faster than any power of its step, so that 192 nodes where the integrand lives give all
digits of a float64 but two or three. Score and posterior mean are averages over the same nodes,
:math:`s_\sigma = E[s(x_0) \mid x]` and :math:`D = E[x_0 \mid x]`: neither cancels, at any sigma.

References: Haario, Saksman & Tamminen (1999), Adaptive proposal distribution for random walk
Metropolis algorithm (banana); Neal (2003), Slice Sampling, section 8 (funnel); Trefethen & Weideman
(2014), The Exponentially Convergent Trapezoidal Rule.
"""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import Level, column
from gradlogp.core.targets.base import Target, standard_normal

FAR = 40.0  # nats above the minimum, where exp(-phi) is below the last digit
NODES = 192


def nodes(phi: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Equal steps [B, NODES] over where exp(-phi) lives; phi takes [B, N] to [B, N], and lives
    between low and high, [B, 1].

    Zooms in three times. How far phi dips between nodes is judged by second differences, so that no
    narrow well is lost.
    """
    with torch.no_grad():
        for n in (64, 64, 64):
            t = torch.lerp(low, high, torch.linspace(0, 1, n, dtype=low.dtype, device=low.device))
            height = phi(t)
            dip = (height[:, :-2] - 2 * height[:, 1:-1] + height[:, 2:]).clamp(min=0) / 4
            height = height[:, 1:-1]
            alive = height - dip < height.amin(1, keepdim=True) + FAR
            low = torch.where(alive, t[:, :-2], math.inf).amin(1, keepdim=True)
            high = torch.where(alive, t[:, 2:], -math.inf).amax(1, keepdim=True)
        return torch.lerp(
            low, high, torch.linspace(0, 1, NODES, dtype=low.dtype, device=low.device)
        )


class Curved(Target):
    """A law p(t) p(y | t) of x = (t, y), the second Gaussian: x is [B, 1 + D], t is [B, N] (nodes),
    y is [B, 1, D].

    `var` is the variance of the noise on y, [] or [B, 1].
    """

    @abc.abstractmethod
    def joint(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        """-log p(t) p(y | t) with noise on y, [B, N]."""

    @abc.abstractmethod
    def slope(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """-d joint / dt [B, N] and -d joint / dy [B, N, D]."""

    @abc.abstractmethod
    def mean(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        """The mean of the clean y given t and the noisy y, [B, N, D]."""

    @abc.abstractmethod
    def bracket(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Between which t0 [B, 1] all the mass given the noisy (t, y) lies."""

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        t, y, var = _split(self.check(x), sigma)
        if var is None:
            return self.joint(t, y, t.new_zeros(()))[:, 0].to(x.dtype)
        at = self._nodes(t, y, var)
        step = (at[:, -1] - at[:, 0]) / (NODES - 1)
        return -(self._phi(at, t, y, var).neg().logsumexp(1) + step.log()).to(x.dtype)

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        t, y, var = _split(self.check(x), sigma)
        if var is None:
            first, rest = self.slope(t, y, t.new_zeros(()))
            return torch.cat([first, rest[:, 0]], 1).to(x.dtype)
        at = self._nodes(t, y, var)
        return self._average(at, t, y, var, *self.slope(at, y, var)).to(x.dtype)

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        t, y, var = _split(self.check(x), sigma)
        if var is None:
            return x
        at = self._nodes(t, y, var)
        return self._average(at, t, y, var, at, self.mean(at, y, var)).to(x.dtype)

    def _phi(self, at: Tensor, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        """-log of the integrand at t0 = `at`, for the noisy (t, y)."""
        return self.joint(at, y, var) + ((t - at) ** 2 / var + (2 * math.pi * var).log()) / 2

    def _nodes(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        t, y = t.detach(), y.detach()
        return nodes(lambda at: self._phi(at, t, y, var), *self.bracket(t, y, var))

    def _average(
        self, at: Tensor, t: Tensor, y: Tensor, var: Tensor, first: Tensor, rest: Tensor
    ) -> Tensor:
        """The posterior means of `first` [B, N] and `rest` [B, N, D], [B, 1 + D]."""
        share = self._phi(at, t, y, var).neg().softmax(1)[:, None]
        return torch.cat([share @ first[..., None], share @ rest], 2)[:, 0]


def _split(x: Tensor, sigma: Level) -> tuple[Tensor, Tensor, Tensor | None]:
    """t [B, 1], y [B, 1, D] and the variance of the noise, [B, 1] or None for none, in float64."""
    x = x.double()
    level = (
        column(sigma, x[:, :1])
        if isinstance(sigma, Tensor)
        else x.new_full((len(x), 1), sigma)
        if sigma
        else None
    )
    return x[:, :1], x[:, None, 1:], None if level is None else level.double() ** 2


@final
@dataclass(frozen=True)
class Banana(Curved):
    r"""A bent Gaussian, the banana: for samplers on a curved ridge.

    :math:`t \sim \mathcal N(0, s^2),\ y \mid t \sim \mathcal N(b(t^2 - s^2), r^2)`, with std s,
    bend b and thickness r; the moments are E y = 0 and Var y = r^2 + 2 b^2 s^4.
    """

    std: float = 1.0
    bend: float = 1.0
    thickness: float = 0.5

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def _gap(self, t: Tensor, y: Tensor) -> Tensor:
        return y[..., 0] - self.bend * (t**2 - self.std**2)

    def joint(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        var_y = self.thickness**2 + var
        normaliser = (2 * math.pi * self.std * var_y.sqrt()).log()
        return (t**2 / self.std**2 + self._gap(t, y) ** 2 / var_y) / 2 + normaliser

    def slope(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        pull = self._gap(t, y) / (self.thickness**2 + var)
        return -t / self.std**2 + 2 * self.bend * t * pull, -pull[..., None]

    def mean(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        return y - (var / (self.thickness**2 + var) * self._gap(t, y))[..., None]

    def bracket(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Beyond both the ridge, where the gap closes, and the mean given t alone, nothing pulls
        outwards.
        """
        keep = self.std**2 / (self.std**2 + var)
        ridge = (y[..., 0] / self.bend + self.std**2).clamp(min=0).sqrt()
        margin = 9 * (keep * var).sqrt()
        return torch.minimum(keep * t, -ridge) - margin, torch.maximum(keep * t, ridge) + margin

    def sample(self, n: int, generator: Generator) -> Tensor:
        t, eps = standard_normal(n, 2, generator).unbind(1)
        t = self.std * t
        return torch.stack([t, self.bend * (t**2 - self.std**2) + self.thickness * eps], 1)


@final
@dataclass(frozen=True)
class Funnel(Curved):
    r"""Neal's funnel: for samplers that must serve scales from broad to needle-thin at once.

    :math:`t \sim \mathcal N(0, s^2),\ y_i \mid t \sim \mathcal N(0, e^t)`. std s = 3 is Neal's;
    dim counts t and the y_i (Neal's has 10).
    """

    dim: int = 10
    std: float = 3.0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dim,)

    def joint(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        var_y = t.exp() + var
        prior = t**2 / self.std**2 + math.log(2 * math.pi * self.std**2)
        return (
            prior + y.square().sum(2) / var_y + (self.dim - 1) * (2 * math.pi * var_y).log()
        ) / 2

    def slope(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        var_y = t.exp() + var
        pull = (y.square().sum(2) / var_y - (self.dim - 1)) / 2
        return -t / self.std**2 + t.exp() / var_y * pull, -y / var_y[..., None]

    def mean(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        return y * (t.exp() / (t.exp() + var))[..., None]

    def bracket(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Above both the mean given t alone and what y asks for all pulls down; below, y pulls down
        by (dim - 1) / 2 at most.
        """
        keep = self.std**2 / (self.std**2 + var)
        asked = (y.square().mean(2) - var).clamp(min=1e-300).log()
        margin = 9 * (keep * var).sqrt()
        return (
            keep * (t - var * (self.dim - 1) / 2) - margin,
            torch.maximum(keep * t, asked) + margin,
        )

    def sample(self, n: int, generator: Generator) -> Tensor:
        t, eps = standard_normal(n, self.dim, generator).split([1, self.dim - 1], 1)
        return torch.cat([self.std * t, (self.std * t / 2).exp() * eps], 1)


@final
@dataclass(frozen=True)
class DoubleWell(Curved):
    r"""One coordinate in two wells, :math:`E(t) = a (t^2 - b)^2 + \log Z`: at :math:`\pm\sqrt b`,
    with a barrier of a b^2 nats.
    """

    a: float = 1.0
    b: float = 2.0

    def __post_init__(self) -> None:
        if self.a <= 0 or self.b <= 0:
            raise ValueError(
                f"two wells need a > 0 and b > 0, got {self.a} and {self.b}; for one well use"
                " gaussian."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

    @cached_property
    def _log_z(self) -> float:
        """By the trapezoidal rule: beyond the wells E grows at least as a (|t| - sqrt b)^4."""
        edge = torch.tensor([[math.sqrt(self.b) + (FAR / self.a) ** 0.25]], dtype=torch.float64)
        at = nodes(self._height, -edge, edge)
        return float(
            self._height(at).neg().logsumexp(1) + ((at[:, -1] - at[:, 0]) / (NODES - 1)).log()
        )

    def _height(self, t: Tensor) -> Tensor:
        return self.a * (t**2 - self.b) ** 2

    def joint(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        return self._height(t) + self._log_z

    def slope(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        return -4 * self.a * t * (t**2 - self.b), t.new_empty(*t.shape, 0)

    def mean(self, t: Tensor, y: Tensor, var: Tensor) -> Tensor:
        return t.new_empty(*t.shape, 0)

    def bracket(self, t: Tensor, y: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        margin = (9 * var.sqrt()).clamp(max=(FAR / self.a) ** 0.25)
        well = math.sqrt(self.b)
        return t.clamp(max=-well) - margin, t.clamp(min=well) + margin

    def sample(self, n: int, generator: Generator) -> Tensor:
        """By rejection: for t > 0, E is at least a b (t - sqrt b)^2, a Gaussian's."""
        kept: list[Tensor] = []
        while sum(map(len, kept)) < n:
            u = standard_normal(4 * n, 2, generator) / math.sqrt(2 * self.a * self.b) + math.sqrt(
                self.b
            )
            t = u[:, 0]
            side = (u[:, 1] > math.sqrt(self.b)).double() * 2 - 1
            excess = self._height(t) - self.a * self.b * (t - math.sqrt(self.b)) ** 2
            accept = (
                torch.rand(4 * n, generator=generator, dtype=t.dtype, device=t.device)
                < excess.neg().exp()
            )
            kept.append((t * side)[accept & (t > 0)])
        return torch.cat(kept)[:n, None]

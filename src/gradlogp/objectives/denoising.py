r"""Denoising score matching over noise levels. With :math:`x = x_0 + \sigma\varepsilon`, one loss
value per example:

.. math:: \tfrac12\, \lambda(\sigma)\, \| s_\theta(x, \sigma) + \varepsilon / \sigma \|^2
          = \frac{\lambda(\sigma)}{2\sigma^4}\, \| D_\theta(x, \sigma) - x_0 \|^2 .

Its minimiser is the score of the noised data. The loss is a distribution of levels and a weight; a
process with :math:`\alpha_t \ne 1` is one of its levels :math:`\ell_t = \sigma_t/\alpha_t`, and
what was a weight on the noise, the velocity or the signal is a weight on the score:

| weight | :math:`\lambda(\sigma)` | makes | |---|---|---| | `none` | 1 | Vincent's loss; the error
of a denoising autoencoder over :math:`\sigma^4` | | `sigma2` | :math:`\sigma^2` | NCSN; the simple
loss of DDPM, :math:`\tfrac12\|\varepsilon_\theta - \varepsilon\|^2` | | `edm` | :math:`\sigma^2
(\sigma^2 + \sigma_d^2) / \sigma_d^2` | EDM: every level costs the same at first | | `min_snr` |
:math:`\sigma^4 \min(\sigma^{-2}, \gamma)` | min-SNR: the error of x0, by the SNR, clipped at gamma
| | `likelihood` | :math:`d\sigma^2/du`, u the quantile of the level | the integral over the noise
variance: maximum likelihood |

With `likelihood` the loss averages to :math:`\tfrac12 \int \|s_\theta + \varepsilon/\sigma\|^2\,
d\sigma^2`, whatever their distribution: for t uniform it is the weight :math:`g_t^2`, and up to a
constant it bounds :math:`-\log p_\theta`. The distribution only sets the variance, which is lowest
where :math:`\ln\sigma` is uniform: `FromProcess(process, importance=True)`, that is t drawn in
proportion to :math:`g_t^2/\sigma_t^2`.

`uncertainty` learns how hard each level is: the loss becomes :math:`\ell\, e^{-u(\sigma)} + D\,
u(\sigma)`, D the dimension, whose best u is the log of the level's loss per dimension, so every
level pulls equally. Levels are stratified over the batch, which takes variance away and costs
nothing.

An energy that is not told the level can learn many at once (multi-scale denoising score matching):
with one `base` level :math:`\sigma_0` for all,

.. math:: D(x) = x - \sigma_0^2\, \nabla E(x) ,

its slope leads back to the data from any distance, and is longer where that is longer.

References: Vincent (2011), A Connection Between Score Matching and Denoising Autoencoders, eq. 11;
Song & Ermon (2019), arXiv 1907.05600, eq. 5 and 6; Karras et al. (2022), arXiv 2206.00364, table 1;
Song et al. (2021), Maximum Likelihood Training of Score-Based Diffusion Models, arXiv 2101.09258,
eq. 7 and section 5.1 (importance sampling); Hang et al. (2023), Efficient Diffusion Training via
Min-SNR Weighting, arXiv 2303.09556, eq. 8; Kendall et al. (2018), arXiv 1705.07115, and Karras et
al. (2024), arXiv 2312.02696, eq. 14 (uncertainty); Kingma et al. (2021), arXiv 2107.00630, app. I.1
(stratified levels); Li, Chen & Sommer (2019), arXiv 1910.07762, section 2.3 (one energy for many
levels).
"""

import abc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Denoiser, Field, NoisyField, as_noisy, check_denoised, column
from gradlogp.core.inputs import check_numbers
from gradlogp.core.noise import Process, VarianceExploding
from gradlogp.core.random import distinct, normal_, uniform_, whole
from gradlogp.objectives.base import Asks, Loss, Objective, check_batch, mean, of_scores

Weight = Literal["none", "sigma2", "edm", "min_snr", "likelihood"]


def strata(n: int, generator: Generator, like: Tensor) -> Tensor:
    """n uniforms, one in each of n strata of equal probability, in random order."""
    total = whole(n, generator)
    order = distinct(n, total, generator, like.device)
    return (order + uniform_(like.new_empty(n), generator)) / total


class LevelDistribution(abc.ABC):
    """The distribution of the noise level sigma, by its quantile function."""

    @abc.abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """u in (0, 1), [B] -> sigma [B]."""

    def growth(self, sigma: Tensor) -> Tensor:
        """d sigma^2 / du at the levels sigma [B]: it turns the mean over the levels into an
        integral over the variance.
        """
        raise ValueError(
            f"likelihood weights need levels with a density, but {type(self).__name__} has none; "
            "use FromProcess or LogNormal."
        )

    def sample(self, n: int, generator: Generator, like: Tensor | None = None) -> Tensor:
        """n levels, one in each of n strata of equal probability, in random order; of the kind and
        on the device of `like`, which is in float32 or float64.
        """
        like = torch.empty(0) if like is None else check_numbers(like, "like")
        return self.quantile(strata(n, generator, like).clamp(1e-6, 1 - 1e-6))


@final
@dataclass(frozen=True)
class LogNormal(LevelDistribution):
    r""":math:`\ln\sigma \sim \mathcal N(m, w^2)`; for a rectified flow this is t with a normal
    logit.
    """

    mean: float = 0.0
    width: float = 1.2

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError(
                "width is the standard deviation of ln sigma, so it is 0 or more, got"
                f" {self.width}."
            )

    def quantile(self, u: Tensor) -> Tensor:
        return (self.mean + self.width * torch.special.ndtri(u)).exp()

    def growth(self, sigma: Tensor) -> Tensor:
        z = (sigma.log() - self.mean) / self.width
        return 2 * sigma**2 * self.width * math.sqrt(2 * math.pi) * (z**2 / 2).exp()


@final
@dataclass(frozen=True)
class FromProcess(LevelDistribution):
    r"""The levels of `process` at uniform t; with `importance`, at t by :math:`g_t^2/\sigma_t^2`,
    which makes ln sigma uniform.
    """

    process: Process
    importance: bool = False

    def quantile(self, u: Tensor) -> Tensor:
        if self.importance:
            low, high = self._bounds
            return low * (u * math.log(high / low)).exp()
        first, last = self.process.ends
        return self.process.level(first + (last - first) * u).to(u.dtype)

    def growth(self, sigma: Tensor) -> Tensor:
        if self.importance:
            low, high = self._bounds
            return 2 * sigma**2 * math.log(high / low)
        first, last = self.process.ends
        t = self.process.time(sigma).clamp(first, last)
        return ((last - first) * (self.process.diffusion(t) / self.process.alpha(t)) ** 2).to(
            sigma.dtype
        )

    @property
    def _bounds(self) -> list[float]:
        return [float(self.process.level(t)) for t in self.process.ends]


@final
@dataclass(frozen=True)
class Ladder(LevelDistribution):
    """Every level of a ladder equally often: `levels` of `process` at equal distances in t (NCSN),
    or those given.

    A DDPM's are `Ladder(levels=tuple(ddpm_ladder(betas)))`.
    """

    process: Process = VarianceExploding()  # noqa: RUF009 (frozen)
    levels: int | tuple[float, ...] = 10

    def __post_init__(self) -> None:
        if isinstance(self.levels, tuple) and (not self.levels or min(self.levels) <= 0):
            raise ValueError(f"noise levels are positive, one or more, got {self.levels}.")

    @cached_property
    def rungs(self) -> Tensor:
        """The levels, in float64."""
        levels = self.levels
        given = self.process.ladder(levels) if isinstance(levels, int) else levels
        return torch.tensor(given, dtype=torch.float64)

    def quantile(self, u: Tensor) -> Tensor:
        return self.rungs.to(u)[(u * len(self.rungs)).long()]


@final
@dataclass(frozen=True)
class SingleLevel(LevelDistribution):
    """One level only: the score of NCSN's own ablation, which cannot generate."""

    sigma: float

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise ValueError(f"sigma is a noise level, so it is positive, got {self.sigma}.")

    def quantile(self, u: Tensor) -> Tensor:
        return torch.full_like(u, self.sigma)


class Uncertainty(nn.Module):
    """u(sigma), straight between knots at equal distances in ln sigma: few numbers, in which the
    loss is convex.
    """

    def __init__(self, knots: int = 33, low: float = 1e-3, high: float = 1e3) -> None:
        super().__init__()
        self.low = math.log(low)
        self.step = math.log(high / low) / (knots - 1)
        self.values = nn.Parameter(torch.zeros(knots))

    def forward(self, sigma: Tensor) -> Tensor:
        last = len(self.values) - 1
        place = ((sigma.log() - self.low) / self.step).clamp(0, last)
        left = place.long().clamp(max=last - 1)
        below = self.values[left]
        above = self.values[left + 1]
        return below + (place - left) * (above - below)


def with_levels(
    model: Any, cond: Tensor | None, levels: LevelDistribution, base: float | None = None
) -> NoisyField:
    """`as_noisy`; and a field without levels as well, by D = x + base^2 s(x) at all of them, or,
    where there is one level only, by D = x + sigma^2 s(x).
    """
    if not isinstance(model, Field | NoisyField) and hasattr(model, "field"):
        model, cond = model.field(cond), None
    if not isinstance(model, Field) and base is not None:
        raise ValueError(
            f"base={base:g} is for a field that is not told the level, but {type(model).__name__}"
            " is one at each; leave it out."
        )
    if not isinstance(model, Field):
        return as_noisy(model, cond)
    if base is not None:
        return Denoiser(lambda x, sigma: x + base**2 * model.score(x))
    if not isinstance(levels, SingleLevel):
        raise ValueError(
            f"{type(model).__name__} is a field without noise levels, so it can learn one only, but"
            f" got {type(levels).__name__}; use SingleLevel(sigma), a base level for all, or a model that"
            " takes sigma."
        )
    return Denoiser(lambda x, sigma: x + column(sigma, x) ** 2 * model.score(x))


def drop(cond: Tensor | None, share: float, generator: Generator) -> Tensor | None:
    """`cond` [B, ...] with a `share` of its entries replaced by -1, which stands for none."""
    if cond is None or share <= 0:
        return cond
    chance = uniform_(torch.empty(len(cond), device=cond.device, dtype=torch.float32), generator)
    return torch.where(column(chance, cond) < share, -1, cond)


def normal(like: Tensor, generator: Generator) -> Tensor:
    return normal_(like.new_empty(like.shape), generator)


def squared_error(field: NoisyField, x0: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    """|D(x0 + sigma eps) - x0|^2, [B], for sigma [B]."""
    denoised = field.denoise(x0 + column(sigma, x0) * eps, sigma)
    return (check_denoised(denoised, x0) - x0).flatten(1).square().sum(1)


@final
@dataclass
class DenoisingScoreMatching(Objective):
    """Denoising score matching over noise `levels`: learns the score of noised data.

    The first choice for scores, of pictures above all. The model gives a `NoisyField`: a score
    network or an energy that takes sigma. At a `SingleLevel` an energy or score without levels
    learns too. `weight` is a row of the table above; 'edm' needs `sigma_data`, 'min_snr' its
    `gamma`. `base` is the level whose score a field without levels learns from all of `levels`.

    A share `drop_cond` of the examples is shown without its condition, as class -1: Ho & Salimans
    (2022), arXiv 2207.12598.
    """

    levels: LevelDistribution
    weight: Weight = "sigma2"
    sigma_data: float = 1.0
    drop_cond: float = 0.0
    gamma: float = 5.0
    uncertainty: Uncertainty | None = None
    base: float | None = None

    def __post_init__(self) -> None:
        if self.base is not None and self.base <= 0:
            raise ValueError(f"base is a noise level, so it is positive, got {self.base}.")
        if self.weight not in WEIGHTS:
            raise ValueError(f"expected a weight out of {', '.join(WEIGHTS)}, got {self.weight!r}.")
        if min(self.sigma_data, self.gamma) <= 0 or not 0 <= self.drop_cond <= 1:
            raise ValueError(
                "expected sigma_data > 0, gamma > 0 and drop_cond in [0, 1], got"
                f" {self.sigma_data}, {self.gamma} and {self.drop_cond}."
            )
        self.weigh(torch.ones(1))  # levels that the weight cannot take is refused here

    @property
    def by_example(self) -> bool:
        return True

    def asks(self, model: Any) -> Asks:
        return of_scores(model)

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        cond = drop(cond, self.drop_cond, generator)
        sigma = self.levels.sample(len(x0), generator, x0)
        error = squared_error(
            with_levels(model, cond, self.levels, self.base), x0, sigma, normal(x0, generator)
        )
        value = self.weigh(sigma) / (2 * sigma**4) * error
        dim = math.prod(x0.shape[1:])
        info = {"loss_per_dim": mean(value) / dim}
        if self.uncertainty is not None:
            u = self.uncertainty(sigma)
            value = value * (-u).exp() + dim * u
        return Loss(value, info)

    def weigh(self, sigma: Tensor) -> Tensor:
        """lambda(sigma), [B]."""
        return WEIGHTS[self.weight](self, sigma)

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(()) if self.uncertainty is None else self.uncertainty.parameters()

    def state(self) -> dict[str, Tensor]:
        return {} if self.uncertainty is None else self.uncertainty.state_dict()

    def load(self, state: dict[str, Tensor]) -> None:
        if self.uncertainty is None:
            super().load(state)
        else:
            self.uncertainty.load_state_dict(state)


WEIGHTS: dict[str, Callable[[DenoisingScoreMatching, Tensor], Tensor]] = {
    "none": lambda loss, sigma: torch.ones_like(sigma),
    "sigma2": lambda loss, sigma: sigma**2,
    "edm": lambda loss, sigma: sigma**2 * (sigma**2 + loss.sigma_data**2) / loss.sigma_data**2,
    "min_snr": lambda loss, sigma: (loss.gamma * sigma**4).minimum(sigma**2),
    "likelihood": lambda loss, sigma: loss.levels.growth(sigma),
}

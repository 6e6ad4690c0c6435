r"""The losses of diffusion as a hierarchy of latent variables: simple, variational bound, hybrid,
one value per example.

A chain has levels :math:`\ell_1 < \dots < \ell_T` (`ddpm_ladder(betas)`, or the `ladder` of any
process) and, in scaled coordinates, :math:`x_k = x_0 + \ell_k\varepsilon`. KL divergences do not
see the scale, so the bound is that of the process itself. With :math:`s = \ell_{k-1},\ l = \ell_k,\
b = 1 - s^2/l^2` the forward posterior and the reverse step that is learned are

.. math:: q(x_{k-1} \mid x_k, x_0) &= \mathcal N\big((1 - b)\, x_k + b\, x_0,\; s^2 b\big), \\
          p(x_{k-1} \mid x_k)     &= \mathcal N\big((1 - b)\, x_k + b\, D,\; s^2 b + b^2 V\big),

where D and V are the mean and variance of x0 given x_k: V = 0 is the fixed small variance
(beta-tilde), and :math:`V = v l^2/(v + l^2)` that of data N(0, v), which for v = 1 and a
variance-preserving chain is the fixed large one (beta). A field that learns V has `moments`. In
nats,

.. math:: -\log p(x_0) \le \mathrm{KL}(q(x_T \mid x_0) \,\|\, p(x_T))
          + \sum_{k=2}^T \mathrm{KL}(q(x_{k-1} \mid x_k, x_0) \,\|\, p(x_{k-1} \mid x_k)) - \log
          p(x_0 \mid x_1).

The simple loss :math:`\tfrac12\|\varepsilon_\theta - \varepsilon\|^2` drops the weights of the
terms: better pictures, worse likelihood. The hybrid adds a little of the bound, with the mean held
fixed, to learn V alone.

References: Sohl-Dickstein et al. (2015), arXiv 1503.03585; Ho et al. (2020), arXiv 2006.11239, eq.
5 to 8 (bound), 13 (decoder) and 14 (simple); Nichol & Dhariwal (2021), arXiv 2102.09672, eq. 16
(hybrid) and 18 (importance-sampled steps); Bao et al. (2022), Analytic-DPM, arXiv 2201.06503 (the
best reverse variance); Kingma et al. (2021), arXiv 2107.00630 (the bound in levels alone).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import NoisyField, as_noisy, column
from gradlogp.objectives.base import Loss, Objective, check_batch, mean
from gradlogp.objectives.denoising import DenoisingScoreMatching, Ladder, drop, normal, strata


class Step(NamedTuple):
    """What a step of the chain takes, [B] each: the level l, b = 1 - s^2/l^2, the posterior's
    variance s^2 b, and the fixed V.
    """

    level: Tensor
    pull: Tensor
    small: Tensor
    variance: Tensor


@final
@dataclass(frozen=True)
class DiscreteDiffusion:
    """A diffusion of `levels`, from the noisiest down, and its reverse.

    `variance` is that of the data, for V: 1 is DDPM's fixed large, 0 its fixed small, 'learned'
    asks the field's `moments`. The prior is N(0, 1) where the chain preserves variance, which is
    N(0, 1 + l_T^2) here; `prior_std` says otherwise (l_T for VE). With `bins`, x0 holds pixels of
    so many values on [-1, 1], and the bound is one of their probability; without, of a density.
    """

    levels: tuple[float, ...]
    variance: float | Literal["learned"] = 1.0
    prior_std: float | None = None
    bins: int | None = None

    def __post_init__(self) -> None:
        falls = all(a > b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if len(self.levels) < 2 or not falls or self.levels[-1] <= 0:
            raise ValueError(
                "a chain needs two levels or more, positive and falling, as ddpm_ladder(betas) or"
                f" process.ladder(n) give them, got {len(self.levels)} from {self.levels[:1]} to"
                f" {self.levels[-1:]}."
            )
        if self.variance != "learned" and (isinstance(self.variance, str) or self.variance < 0):
            raise ValueError(
                f"variance is that of the data, 0 or more, or 'learned', got {self.variance!r}."
            )

    def __len__(self) -> int:
        return len(self.levels)

    @cached_property
    def table(self) -> Tensor:
        """The four numbers of each step k = 0 (next to the data), 1, ..., [4, T], in float64.

        At k = 0 the posterior is a point; there, for V = 0 alone, `small` is that of k = 1, as in
        Nichol & Dhariwal: of x_1 as the process has it, so alpha^2 of what it is in scaled
        coordinates.
        """
        high = torch.tensor(self.levels[::-1], dtype=torch.float64)
        low = torch.cat([high.new_zeros(1), high[:-1]])
        pull = 1 - (low / high) ** 2
        v = 0.0 if self.variance == "learned" else float(self.variance)
        small, variance = low**2 * pull, v * high**2 / (v + high**2)
        if v == 0 and self.variance != "learned":
            small[0] = small[1] * (1 / (1 + high[0] ** 2) if self.prior_std is None else 1)
        return torch.stack([high, pull, small, variance])

    def at(self, k: Tensor, like: Tensor) -> Step:
        return Step(*self.table.to(like)[:, k])

    def prior(self, x0: Tensor) -> Tensor:
        """KL(q(x_T | x0) || p(x_T)), [B], in nats."""
        top, dim = self.levels[0], x0[0].numel()
        prior = 1 + top**2 if self.prior_std is None else self.prior_std**2
        return x0.flatten(1).square().sum(1) / (2 * prior) + dim / 2 * (
            top**2 / prior - 1 - math.log(top**2 / prior)
        )

    def denoise(
        self, field: NoisyField, x0: Tensor, eps: Tensor, step: Step
    ) -> tuple[Tensor, Tensor]:
        """D at x0 + l eps, and the variance of the reverse step there, [B, *shape] each."""
        x = x0 + column(step.level, x0) * eps
        small = column(step.small, x0)
        pull = column(step.pull, x0)
        if self.variance == "learned":
            denoised, variance = field.moments(x, step.level)
        else:
            denoised = field.denoise(x, step.level)
            variance = column(step.variance, x0).expand(x0.shape)
        if not denoised.shape == variance.shape == x0.shape:
            raise ValueError(
                f"the moments of x0 have the shape of x, {list(x0.shape)}, but the model gave"
                f" {list(denoised.shape)} for the mean and {list(variance.shape)} for the variance."
            )
        return denoised, small + pull**2 * variance

    def nats(self, k: Tensor, step: Step, x0: Tensor, denoised: Tensor, variance: Tensor) -> Tensor:
        """Term k of the sum, [B]: a KL divergence, or for k = 0 the negative log-likelihood of the
        decoder.
        """
        ratio = column(step.small, x0) / variance
        gap = (column(step.pull, x0) * (denoised - x0)).square() / variance
        kl = (gap + ratio - 1 - ratio.clamp_min(1e-30).log()) / 2
        return (
            torch.where(column(k == 0, x0), self.decoder(x0, denoised, variance), kl)
            .flatten(1)
            .sum(1)
        )

    def decoder(self, x0: Tensor, denoised: Tensor, variance: Tensor) -> Tensor:
        """-log p(x0 | x1), entry by entry: of the density, or of the bin that x0 lies in; the outer
        bins are open.
        """
        if self.bins is None:
            return ((x0 - denoised).square() / variance + (2 * math.pi * variance).log()) / 2
        half, std = 1 / (self.bins - 1), variance.sqrt()
        upper = torch.where(x0 > 1 - half, math.inf, (x0 + half - denoised) / std)
        lower = torch.where(x0 < half - 1, -math.inf, (x0 - half - denoised) / std)
        return -_log_mass(lower, upper)


def _log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """log(Phi(upper) - Phi(lower)), taken in the lower tail, where it does not cancel."""
    flip = lower + upper > 0
    lower, upper = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    high = torch.special.log_ndtr(upper)
    low = torch.special.log_ndtr(lower)
    return high + (-torch.expm1(low - high)).clamp_min(1e-30).log()


class StepDistribution:
    """Which steps the bound is estimated at: all alike, or in proportion to the root of their mean
    squared loss.

    The second is importance sampling: unbiased, of lower variance. The mean squares are running
    means; until every step has been seen, all are alike. A thousandth of the draws stays uniform,
    so that no step is forgotten.
    """

    def __init__(self, steps: int, importance: bool = False, rate: float = 0.1) -> None:
        self.steps = steps
        self.importance = importance
        self.rate = rate
        self.squares = torch.zeros(steps, dtype=torch.float64)
        self.seen = torch.zeros(steps, dtype=torch.bool)

    def probabilities(self) -> Tensor:
        even = torch.full_like(self.squares, 1 / self.steps)
        if not self.importance:
            return even
        root = self.squares.sqrt()
        return torch.where(
            self.seen.all(), 0.999 * root / root.sum().clamp_min(1e-300) + 0.001 * even, even
        )

    def draw(self, n: int, generator: Generator, like: Tensor) -> tuple[Tensor, Tensor]:
        """n steps, stratified, and for each 1 / its probability, [n]."""
        self.squares = self.squares.to(like.device)
        self.seen = self.seen.to(like.device)
        p = self.probabilities()
        k = torch.searchsorted(p.cumsum(0), strata(n, generator, self.squares)).clamp(
            max=self.steps - 1
        )
        return k, (1 / p[k]).to(like.dtype)

    def tell(self, k: Tensor, losses: Tensor) -> None:
        """The losses [n] that were met at the steps k [n]."""
        if not self.importance:
            return
        counts = torch.zeros_like(self.squares).index_add_(
            0, k, torch.ones_like(k, dtype=self.squares.dtype)
        )
        sums = torch.zeros_like(self.squares).index_add_(
            0, k, losses.detach().to(self.squares.dtype).square()
        )
        rate = self.rate * self.seen + 1.0 * ~self.seen
        self.squares = torch.where(
            counts > 0,
            self.squares + rate * (sums / counts.clamp_min(1) - self.squares),
            self.squares,
        )
        self.seen = self.seen | (counts > 0)


@dataclass
class _Bounded(Objective):
    """What the losses on a chain share: the distribution of the steps drawn, and its memory."""

    chain: DiscreteDiffusion
    drop_cond: float = 0.0
    importance: bool = False

    def __post_init__(self) -> None:
        self.steps = StepDistribution(len(self.chain), self.importance)

    def state(self) -> dict[str, Tensor]:
        return {"squares": self.steps.squares, "seen": self.steps.seen} if self.importance else {}

    def load(self, state: dict[str, Tensor]) -> None:
        if not self.importance:
            super().load(state)
        else:
            self.steps.squares = state["squares"].clone()
            self.steps.seen = state["seen"].clone()


@final
@dataclass
class VariationalBound(_Bounded):
    """Variational bound on -log p, in nats, at one level per example: for likelihood; noisy, so use
    `importance`.
    """

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        field = as_noisy(model, drop(cond, self.drop_cond, generator))
        k, weight = self.steps.draw(len(x0), generator, x0)
        step = self.chain.at(k, x0)
        term = self.chain.nats(
            k, step, x0, *self.chain.denoise(field, x0, normal(x0, generator), step)
        )
        self.steps.tell(k, term)
        value = weight * term + self.chain.prior(x0)
        return Loss(value, {"nats_per_dim": mean(value) / x0[0].numel()})


@final
@dataclass
class HybridBound(_Bounded):
    """Hybrid loss: the simple one for the mean, the bound for the variance: for ancestral walks of
    few steps.

    The bound has `weight`, with the mean held fixed. The field needs `moments`, and the chain
    variance='learned'.
    """

    weight: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chain.variance != "learned":
            raise ValueError(
                "the hybrid loss learns the reverse variance, but this chain fixes it at"
                f" {self.chain.variance}; use DiscreteDiffusion(levels, 'learned'), or DenoisingScoreMatching"
                " where it is to stay fixed."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        field = as_noisy(model, drop(cond, self.drop_cond, generator))
        k, weight = self.steps.draw(len(x0), generator, x0)
        step = self.chain.at(k, x0)
        denoised, variance = self.chain.denoise(field, x0, normal(x0, generator), step)
        term = self.chain.nats(k, step, x0, denoised.detach(), variance)
        self.steps.tell(k, term)
        bound = weight * term + self.chain.prior(x0)
        simple = (
            weight
            / len(self.chain)
            * (denoised - x0).flatten(1).square().sum(1)
            / (2 * step.level**2)
        )
        info = {
            "simple_per_dim": mean(simple) / x0[0].numel(),
            "nats_per_dim": mean(bound) / x0[0].numel(),
        }
        return Loss(simple + self.weight * bound, info)


def ddpm_simple(levels: Sequence[float], drop_cond: float = 0.0) -> DenoisingScoreMatching:
    """The simple loss of DDPM, half the squared error of eps, at every one of `levels` alike: for
    pictures.
    """
    return DenoisingScoreMatching(Ladder(levels=tuple(levels)), "sigma2", drop_cond=drop_cond)

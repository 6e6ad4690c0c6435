r"""Reverse diffusion: from noise to data down a ladder of levels :math:`\sigma_1 > \dots >
\sigma_L` and at last to 0.

In scaled coordinates :math:`x = x_t/\alpha_t` every process is variance exploding, and every
sampler of this family takes the step

.. math:: x' = a\,x + \textstyle\sum_j b_j D_{i-j} + \tau z, \qquad D_i = E[x_0 \mid x_i],

with numbers a, b, tau that depend on the ladder alone: its `rule`, written down once for the whole
walk. From level s to t < s,

* DDIM: :math:`a = \sqrt{t^2 - \tau^2}/s,\ b = 1 - a,\ \tau^2 = \eta^2 t^2 (s^2 - t^2)/s^2`; at eta
  = 0 Euler on the probability flow :math:`dx/d\sigma = (x - D)/\sigma`;
* Ancestral: :math:`a = t^2/s^2,\ b = 1 - a`, the mean of q(x' | x, x0) at x0 = D, and a variance to
choose; * ReverseSDE: Euler-Maruyama in the process's own coordinates, :math:`y' = y - (f y - g^2
\nabla\log p) \Delta + g \sqrt\Delta z`.

x begins as a draw at the first level, sigma_1 z. The last step, to 0, is the denoised itself,
without noise.

References: Song, Meng & Ermon (2021), DDIM, arXiv 2010.02502, eq. 12 and 16; Ho et al. (2020),
DDPM, arXiv 2006.11239, eq. 7; Song et al. (2021), Score-Based Generative Modeling through SDEs,
arXiv 2011.13456, eq. 6 and app. E and F; Bao et al. (2022), Analytic-DPM, arXiv 2201.06503 (the
optimal variance); Saharia et al. (2022), Imagen, arXiv 2205.11487 (dynamic thresholding).
"""

import abc
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField, check_denoised, column
from gradlogp.core.noise import Process, VarianceExploding
from gradlogp.core.random import Randomness, normal_

Clip = tuple[float, float] | float | None


class Rule(NamedTuple):
    """One step: the factors of x, of the denoised (the newest first), and of the noise."""

    x: float
    denoised: tuple[float, ...]
    noise: float = 0.0


class ReverseState(NamedTuple):
    """x [B, *shape] in scaled coordinates, the memory for noise, the steps taken, and the latest
    denoised, newest first.

    The denoised are kept as the field gave them, without copies: a field must not write its next
    answer over its last.
    """

    x: Tensor
    noise: Tensor
    taken: int = 0
    history: tuple[Tensor, ...] = ()


class ReverseInfo(NamedTuple):
    """The level that x now stands at (0: data), and the denoised x that led there, [B, *shape]."""

    sigma: float
    denoised: Tensor


def clipped(denoised: Tensor, clip: Clip) -> Tensor:
    """`denoised` within (low, high); or cut at the quantile `clip` of its sizes, where that exceeds
    1, and scaled back.
    """
    if clip is None:
        return denoised
    if isinstance(clip, tuple):
        return denoised.clamp(*clip)
    bound = column(denoised.flatten(1).abs().quantile(clip, 1).clamp(min=1), denoised)
    return denoised.clamp(-bound, bound) / bound


@dataclass(frozen=True)
class Reverse(abc.ABC):
    """What all share: the levels, the memory, and the step that a rule describes.

    process: whose ladder to walk; levels: how many, or the levels themselves from the noisiest
    down; denoise: end at 0 instead of the last level; clip: None, (low, high) for the denoised x,
    or the quantile of dynamic thresholding on [-1, 1].
    """

    process: Process = VarianceExploding()  # noqa: RUF009 (frozen)
    levels: int | tuple[float, ...] = 20
    denoise: bool = True
    clip: Clip = None

    memory = 1  # how many of the latest denoised a rule may use

    def __post_init__(self) -> None:
        if (self.levels if isinstance(self.levels, int) else len(self.levels)) < 2 - self.denoise:
            raise ValueError(
                f"a walk needs levels >= {2 - self.denoise}, got {self.levels}; 20 to 50 are usual."
            )
        if isinstance(self.levels, tuple) and (
            min(self.levels) <= 0 or sorted(set(self.levels), reverse=True) != [*self.levels]
        ):
            raise ValueError(
                f"levels fall from the noisiest and stay above 0, got {self.levels}; denoise=True"
                " adds 0."
            )
        if isinstance(self.clip, float) and not 0 < self.clip < 1:
            raise ValueError(
                f"dynamic thresholding takes a quantile in (0, 1), got {self.clip}; .995 is usual."
            )

    @cached_property
    def ladder(self) -> list[float]:
        """The levels, and 0 where the walk ends there."""
        levels = (
            self.process.ladder(self.levels) if isinstance(self.levels, int) else [*self.levels]
        )
        return levels + [0.0] * self.denoise

    @cached_property
    def noisy(self) -> Tensor:
        """The levels above 0, in float64."""
        return torch.tensor([s for s in self.ladder if s > 0], dtype=torch.float64)

    @property
    def steps(self) -> int:
        return len(self.ladder) - 1

    @property
    def evaluations(self) -> int:
        """Evaluations of the field in a whole run."""
        return self.steps

    @property
    def kind(self) -> str:
        """'density': exact as the levels grow; 'generator' where the denoised x is clipped."""
        return "density" if self.clip is None else "generator"

    @property
    def deterministic(self) -> bool:
        """Whether the start decides the end: no noise is drawn."""
        return all(rule.noise == 0 for rule in self.rules)

    @abc.abstractmethod
    def rule(self, i: int) -> Rule:
        """How to go from level ladder[i] to ladder[i + 1] > 0."""

    @cached_property
    def rules(self) -> list[Rule]:
        return [self.rule(i) if t > 0 else Rule(0.0, (1.0,)) for i, t in enumerate(self.ladder[1:])]

    def init(self, field: NoisyField, x: Tensor) -> ReverseState:
        return ReverseState(x.clone(), torch.empty_like(x))

    def denoised(self, field: NoisyField, x: Tensor, sigma: float) -> Tensor:
        """The field's denoised x, clipped; never in the memory of x, which the step overwrites."""
        denoised = clipped(check_denoised(field.denoise(x, sigma), x), self.clip)
        return denoised.clone() if denoised.data_ptr() == x.data_ptr() else denoised

    def step(
        self, field: NoisyField, state: ReverseState, generator: Randomness
    ) -> tuple[ReverseState, ReverseInfo]:
        return self.advance(
            state, self.denoised(field, state.x, self.ladder[state.taken]), generator
        )

    def advance(
        self, state: ReverseState, denoised: Tensor, generator: Randomness
    ) -> tuple[ReverseState, ReverseInfo]:
        """The step that the rule describes, in place."""
        x, noise, taken, history = state
        history = (denoised, *history[: self.memory - 1])
        rule = self.rules[taken]
        x.mul_(rule.x)
        for weight, d in zip(rule.denoised, history, strict=False):
            x.add_(d, alpha=weight)
        if rule.noise > 0:
            x.add_(normal_(noise, generator), alpha=rule.noise)
        return ReverseState(x, noise, taken + 1, history), ReverseInfo(
            self.ladder[taken + 1], denoised
        )


@final
@dataclass(frozen=True)
class DDIM(Reverse):
    """Implicit steps down the levels: eta = 0 is Euler on the probability flow, eta = 1 is
    ancestral.

    First order: take it where a start must map to its end (eta = 0), and a multistep solver where
    evaluations are few.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], from no noise to ancestral, got {self.eta}.")

    def rule(self, i: int) -> Rule:
        s, t = self.ladder[i : i + 2]
        tau = self.eta * t / s * math.sqrt(s**2 - t**2)
        keep = math.sqrt(t**2 - tau**2) / s
        return Rule(keep, (1 - keep,), tau)


@final
@dataclass(frozen=True)
class Ancestral(Reverse):
    r"""DDPM's own sampler: the posterior of the forward process, with a small, large, learned or
    optimal variance.

    variance 'small' is :math:`t^2(s^2-t^2)/s^2` (beta-tilde; right for data at a point), 'large' is
    :math:`(\alpha_s/\alpha_t)^2(s^2-t^2)` (beta; for VP, right for data N(0, 1)), both exact only
    as the levels grow. 'learned' is the optimum, the small one and :math:`b^2 \mathrm{Var}(x_0|x)`,
    by the field's own `moments`; a number v is that for data N(m, v), :math:`\mathrm{Var} = v
    s^2/(v + s^2)`, for which it is exact at any number of levels.
    """

    variance: Literal["small", "large", "learned"] | float = "small"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.variance, float | int) and self.variance < 0:
            raise ValueError(
                f"variance is that of the data, so it is 0 or more, got {self.variance}."
            )

    @cached_property
    def alphas(self) -> list[float]:
        return self.process.alpha_at(self.noisy).tolist()

    def rule(self, i: int) -> Rule:
        s, t = self.ladder[i : i + 2]
        keep = (t / s) ** 2
        if self.variance == "large":
            return Rule(
                keep, (1 - keep,), self.alphas[i] / self.alphas[i + 1] * math.sqrt(s**2 - t**2)
            )
        v = 0.0 if isinstance(self.variance, str) else self.variance
        return Rule(
            keep,
            (1 - keep,),
            math.sqrt(keep * (s**2 - t**2) + (1 - keep) ** 2 * v * s**2 / (v + s**2)),
        )

    def step(
        self, field: NoisyField, state: ReverseState, generator: Randomness
    ) -> tuple[ReverseState, ReverseInfo]:
        if self.variance != "learned" or state.taken >= self.steps - self.denoise:
            return super().step(field, state, generator)
        x, noise, taken, _ = state
        mean, variance = field.moments(x, self.ladder[taken])
        denoised, rule = clipped(mean, self.clip), self.rules[taken]
        std = variance.mul(rule.denoised[0] ** 2).add_(rule.noise**2).sqrt_()
        x.mul_(rule.x).add_(denoised, alpha=rule.denoised[0]).addcmul_(
            normal_(noise, generator), std
        )
        return ReverseState(x, noise, taken + 1), ReverseInfo(self.ladder[taken + 1], denoised)


@final
@dataclass(frozen=True)
class ReverseSDE(Reverse):
    r"""The reverse SDE stepped in the process's own coordinates: Euler-Maruyama, or the forward
    chain reversed.

    With :math:`y = \alpha x`: 'euler_maruyama' is :math:`y' = (1 - f\Delta) y +
    g^2\Delta\,\nabla\log p + g\sqrt\Delta z`; 'reverse_diffusion' has :math:`2 - \alpha_s/\alpha_t`
    and :math:`\alpha_s^2 (s^2 - t^2)` in the place of :math:`1 - f\Delta` and :math:`g^2\Delta`.
    Unstable below some 20 levels, and where f is not bounded (cosine, rectified): take Ancestral
    there.
    """

    method: Literal["euler_maruyama", "reverse_diffusion"] = "euler_maruyama"

    @cached_property
    def parts(self) -> list[tuple[float, float, float]]:
        """(factor of y, variance of the noise, alpha) for each step; its last entry has the last
        alpha alone.
        """
        level, alpha = self.noisy, self.process.alpha_at(self.noisy)
        if self.method == "euler_maruyama":
            delta = -self.process.time(level).diff()
            drift, diffusion = self.process.sde_at(level[:-1])
            keep = 1 - drift * delta
            variance = diffusion**2 * delta
        else:
            keep = 2 - alpha[:-1] / alpha[1:]
            variance = alpha[:-1] ** 2 * -level.square().diff()
        return list(
            zip([*keep.tolist(), 0.0], [*variance.tolist(), 0.0], alpha.tolist(), strict=True)
        )

    def rule(self, i: int) -> Rule:
        (keep, variance, alpha), (_, _, after) = self.parts[i : i + 2]
        pull = variance / (
            alpha * self.ladder[i] ** 2
        )  # the score of y is (D - x) / (alpha level^2)
        return Rule((alpha * keep - pull) / after, (pull / after,), math.sqrt(variance) / after)

r"""Solvers of the probability-flow ODE of higher order, in scaled coordinates, and the SDE that
they extend to.

.. math:: \frac{dx}{d\sigma} = \frac{x - D(x, \sigma)}{\sigma}
          \quad\Longleftrightarrow\quad \frac{dx}{d\lambda} = -x + D, \qquad \lambda = -\ln\sigma .

**Multistep** solvers integrate the linear part exactly and D through the levels already seen: over
a span h of lambda,

.. math:: x' = e^{-h} x + \int_0^h e^{-(h - u)}\, \hat D(u)\, du ,

with :math:`\hat D` the polynomial through the latest denoised (`weights`). DPM-Solver++ 2M rounds
the slope's share to half a span, as published; 3M integrates the parabola exactly. With noise
:math:`\eta` the exponent is :math:`(1 + \eta) h`, and what is missing of the variance is drawn.
UniPC goes over each span a second time, with the new denoised among its points: the corrected x and
the next prediction are one sum, so x holds the prediction throughout and a step stays one
evaluation.

**Runge-Kutta** solvers evaluate within a step. Every stage is again a sum of x and the denoised
with fixed factors (`stages`). `Heun` is EDM's: with churn, it first climbs to a higher level by
adding noise.

References: Lu et al. (2022), DPM-Solver++, arXiv 2211.01095, algorithm 2, and app. B for the SDE;
Zhao et al. (2023), UniPC, arXiv 2302.04867, algorithms 5 to 8 (B(h) = e^h - 1: one unknown is 1/2,
more are solved for, where B cancels); Karras et al. (2022), EDM, arXiv 2206.00364, algorithms 1 and
2; Dormand & Prince (1980); Bogacki & Shampine (1989).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField
from gradlogp.core.noise import EDM, Process
from gradlogp.core.random import Randomness, normal_
from gradlogp.samplers.reverse import Reverse, ReverseInfo, ReverseState, Rule


def weights(h: float, nodes: Sequence[float], rate: float = 1.0) -> list[float]:
    r"""The w for which :math:`\sum_j w_j p(u_j) = \int_0^h r e^{-r(h-u)} p(u)\,du`, exact for
    polynomials through the `nodes` u_j.

    The first node is 0. Two nodes have the published weights, the slope's share rounded to half a
    span.
    """
    total = -math.expm1(-rate * h)
    if len(nodes) == 2:
        slope = total * h / (2 * nodes[1])
        return [total - slope, slope]
    moments = [total]
    for k in range(1, len(nodes)):
        moments.append(h**k - k / rate * moments[-1])
    powers = torch.tensor(nodes, dtype=torch.float64) / h
    matrix = powers ** torch.arange(len(nodes), dtype=torch.float64)[:, None]
    scaled = [m / h**k for k, m in enumerate(moments)]
    return torch.linalg.solve(matrix, torch.tensor(scaled, dtype=torch.float64)).tolist()


@dataclass(frozen=True)
class Multistep(Reverse):
    """What solvers share that remember: the spans of lambda, and an order that grows at the start
    and falls at the end.
    """

    order: Literal[1, 2, 3] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2, 3):
            raise ValueError(f"order is 1, 2 or 3, got {self.order}.")

    @cached_property
    def spans(self) -> list[float]:
        """The lengths in lambda of the steps that end above 0."""
        return [math.log(s / t) for s, t in itertools.pairwise(self.ladder) if t > 0]

    def order_at(self, i: int) -> int:
        """As many points as there are; and no more than steps are left, where the ladder is
        steepest.
        """
        return min(self.order, i + 1, self.steps - i) if self.denoise else min(self.order, i + 1)

    def past(self, i: int, points: int) -> list[float]:
        """Where the latest `points` denoised stand, in lambda from level i: 0, then below."""
        return [0.0, *(-sum(self.spans[j:i]) for j in range(i - 1, i - points, -1))]


@final
@dataclass(frozen=True)
class DPMSolver(Multistep):
    """DPM-Solver++ (2M, 3M, and SDE with eta = 1): multistep, one evaluation a step, second or
    third order.

    The choice at 10 to 50 evaluations; order 3 where the field is smooth and unguided. eta > 0
    mends errors of the field by noise.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eta < 0:
            raise ValueError(
                f"eta scales the noise of the SDE, so it is 0 (none) or more, got {self.eta}; 1 is"
                " the reverse SDE."
            )

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order

    def rule(self, i: int) -> Rule:
        h, rate = self.spans[i], 1 + self.eta
        w = weights(h, self.past(i, self.order_at(i)), rate)
        return Rule(
            math.exp(-rate * h),
            tuple(w),
            self.ladder[i + 1] * math.sqrt(-math.expm1(-2 * self.eta * h)),
        )


@final
@dataclass(frozen=True)
class UniPC(Multistep):
    """A predictor and a corrector that share one evaluation a step: order `order` + 1 for the price
    of DPM-Solver++.

    The most accurate at 5 to 20 evaluations of a smooth field.
    """

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order + 1

    def rule(self, i: int) -> Rule:
        """x + (corrected - predicted over the last span), carried over the next: factors of D_i,
        D_{i-1}, ...
        """
        decay = math.exp(-self.spans[i])
        total = [*weights(self.spans[i], self.past(i, self.order_at(i))), *[0.0] * self.memory][
            : self.memory
        ]
        if i > 0:
            before = self.spans[i - 1]
            known = self.past(i - 1, self.order_at(i - 1))
            corrected = self._correction(before, known)
            predicted = weights(before, known)
            for j, change in enumerate(
                a - b for a, b in zip(corrected, [0.0, *predicted], strict=True)
            ):
                total[j] += decay * change
        return Rule(decay, tuple(total))

    @staticmethod
    def _correction(h: float, known: Sequence[float]) -> list[float]:
        """Factors of the denoised at the new level, then at the known ones."""
        first, new, *rest = weights(h, [0.0, h, *known[1:]])
        return [new, first, *rest]


Tableau = tuple[tuple[float, ...], ...]
EULER: Tableau = ((1.0,),)
HEUN: Tableau = ((1.0,), (1 / 2, 1 / 2))
RK4: Tableau = ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
TABLEAUS = {"euler": EULER, "heun": HEUN, "rk4": RK4}


def stages(s: float, t: float, tableau: Tableau) -> list[tuple[float, Rule]]:
    """For each row of the tableau, the level it leads to and its point as factors of x and of D_1,
    D_2, ... (the oldest first).

    A slope is (x - D) / sigma, and the points x are sums of x and the denoised; so the slopes are,
    and the next points.
    """
    count = len(tableau)

    def unit(j: int) -> list[float]:
        return [float(k == j) for k in range(count + 1)]

    point = unit(0)
    level = s
    slopes = []
    found = []
    for j, row in enumerate(tableau):
        slopes.append([(p - d) / level for p, d in zip(point, unit(j + 1), strict=True)])
        level = s + (t - s) * sum(row)
        point = [
            u + (t - s) * sum(a * k[n] for a, k in zip(row, slopes, strict=True))
            for n, u in enumerate(unit(0))
        ]
        found.append((level, Rule(point[0], tuple(point[1 : j + 2]))))
    return found


@dataclass(frozen=True)
class RungeKutta(Reverse):
    """What solvers share that evaluate within a step; the step to 0 is the denoised, one
    evaluation.
    """

    process: Process = EDM()  # noqa: RUF009 (frozen)

    @property
    def tableau(self) -> Tableau:
        return HEUN

    @property
    def evaluations(self) -> int:
        inner = self.steps - self.denoise
        return inner * len(self.tableau) + self.denoise

    @property
    def climbs(self) -> list[float]:
        """The level that each step first climbs to, by noise; its own, where there is none."""
        return self.ladder[:-1]

    @cached_property
    def plan(self) -> list[tuple[float, float, list[tuple[float, Rule]]]]:
        """(noise to add, level to start from, stages) for each step."""
        return [
            (math.sqrt(up**2 - s**2), up, stages(up, t, self.tableau if t > 0 else EULER))
            for s, up, t in zip(self.ladder, self.climbs, self.ladder[1:], strict=False)
        ]

    def rule(self, i: int) -> Rule:
        return self.plan[i][2][-1][1]

    def step(
        self, field: NoisyField, state: ReverseState, generator: Randomness
    ) -> tuple[ReverseState, ReverseInfo]:
        x, noise, taken, _ = state
        tau, level, (*inner, last) = self.plan[taken]
        if tau > 0:
            self.climb(x, normal_(noise, generator), tau)
        found = [self.denoised(field, x, level)]
        for below, rule in inner:
            found.append(self.denoised(field, combined(x * rule.x, rule, found), below))
        combined(x.mul_(last[1].x), last[1], found)
        return ReverseState(x, noise, taken + 1), ReverseInfo(self.ladder[taken + 1], found[0])

    def climb(self, x: Tensor, z: Tensor, tau: float) -> None:
        x.add_(z, alpha=tau)


def combined(x: Tensor, rule: Rule, denoised: Sequence[Tensor]) -> Tensor:
    """x plus the denoised with the rule's factors, in place."""
    for weight, d in zip(rule.denoised, denoised, strict=False):
        if weight != 0:
            x.add_(d, alpha=weight)
    return x


@final
@dataclass(frozen=True)
class ProbabilityFlow(RungeKutta):
    """The probability-flow ODE by a fixed Runge-Kutta method: euler, heun (order 2) or rk4 (order
    4), in sigma.

    rk4 takes four evaluations a level: for likelihoods and reference solutions; multistep solvers
    are cheaper for pictures.
    """

    method: Literal["euler", "heun", "rk4"] = "rk4"

    @property
    def tableau(self) -> Tableau:
        return TABLEAUS[self.method]


@final
@dataclass(frozen=True)
class Heun(RungeKutta):
    """EDM's sampler: Heun's second order down the levels, with churn, fresh noise, where asked for.

    Choose it from some 35 evaluations. churn, between the levels s_min and s_max, is S_churn over
    the whole walk, at most sqrt(2) - 1 of the level in one step; s_noise above 1 makes up for
    detail lost. No correction at level 0: 2 L - 1 evaluations for L levels.
    """

    churn: float = 0.0
    s_min: float = 0.0
    s_max: float | None = None
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.churn < 0 or self.s_noise < 0:
            raise ValueError(
                f"churn and s_noise are amounts of noise, so 0 or more, got {self.churn} and"
                f" {self.s_noise}."
            )

    @property
    def kind(self) -> str:
        return (
            "density"
            if super().kind == "density" and (self.churn == 0 or self.s_noise == 1)
            else "generator"
        )

    @property
    def deterministic(self) -> bool:
        return self.churn == 0

    @property
    def climbs(self) -> list[float]:
        gamma = min(self.churn / max(1, self.steps), math.sqrt(2) - 1)
        top = math.inf if self.s_max is None else self.s_max
        return [s * (1 + gamma) if self.s_min <= s <= top else s for s in self.ladder[:-1]]

    def climb(self, x: Tensor, z: Tensor, tau: float) -> None:
        x.add_(z, alpha=tau * self.s_noise)

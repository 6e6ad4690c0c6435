r"""The probability-flow ODE :math:`dx/d\sigma = (x - D(x, \sigma))/\sigma` by embedded Runge-Kutta
pairs with error control.

A step is one attempt, for each example on its own: with a span h down from its own level it is
accepted where the error

.. math:: e = \Big(\tfrac1d \sum_k \big(\Delta_k / (a + r \max(|x_k|, |x'_k|))\big)^2\Big)^{1/2}

is at most 1, with :math:`\Delta` the difference of the pair's two solutions, a = `atol`, r =
`rtol`; the next span is :math:`.9\, h\, e^{-1/q}`, q the pair's order. So an example does not
depend on its batch, and no attempt waits for the host. Those that have arrived stay.

References: Dormand & Prince (1980), A family of embedded Runge-Kutta formulae; Bogacki & Shampine
(1989); Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, eq. II.4.11 to
13; Song et al. (2021), arXiv 2011.13456, app. D.2.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField, column
from gradlogp.core.noise import EDM, Process
from gradlogp.core.random import Randomness


class Pair(NamedTuple):
    """Rows of the tableau, of which the last is the solution; its difference from the embedded one;
    the order of the solution.
    """

    rows: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]
    order: int


PAIRS = {
    "dormand_prince": Pair(
        (
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
        5,
    ),
    "bogacki_shampine": Pair(
        ((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)), (-5 / 72, 1 / 12, 1 / 9, -1 / 8), 3
    ),
}


class AdaptiveFlowState(NamedTuple):
    """x [B, *shape]; the level, the next span and the slope dx/dsigma of each example; and which
    have arrived, [B] bool.
    """

    x: Tensor
    level: Tensor
    span: Tensor
    slope: Tensor
    done: Tensor


class FlowInfo(NamedTuple):
    """For each example [B]: the level it now stands at, the error of the attempt (1 is the limit),
    whether it has arrived.
    """

    sigma: Tensor
    error: Tensor
    done: Tensor


@final
@dataclass(frozen=True)
class AdaptiveFlow:
    """The probability-flow ODE with error control: as accurate as `rtol` and `atol` ask, whatever
    it takes.

    For likelihoods and reference solutions. `steps` bounds the attempts, of 6 (dormand_prince,
    order 5) or 3 (bogacki_shampine, order 3) evaluations; `solve` ends as soon as all have arrived,
    which it asks the host after each attempt.
    """

    process: Process = EDM()  # noqa: RUF009 (frozen)
    rtol: float = 1e-5
    atol: float = 1e-5
    method: Literal["dormand_prince", "bogacki_shampine"] = "dormand_prince"
    steps: int = 200
    denoise: bool = True

    kind = "density"
    deterministic = True

    def __post_init__(self) -> None:
        if self.rtol < 0 or self.atol < 0 or self.rtol + self.atol <= 0:
            raise ValueError(
                f"rtol and atol bound an error, so 0 or more and not both 0, got {self.rtol} and"
                f" {self.atol}."
            )

    @property
    def evaluations(self) -> int:
        """Evaluations of the field in a whole run, at most."""
        return 1 + self.steps * len(PAIRS[self.method].rows)

    @cached_property
    def ladder(self) -> list[float]:
        """Where a walk begins, where its steps end, and 0 where the denoised ends it."""
        return self.process.ladder(2) + [0.0] * self.denoise

    def init(self, field: NoisyField, x: Tensor) -> AdaptiveFlowState:
        top = self.ladder[0]
        level = x.new_full((len(x),), top)
        return AdaptiveFlowState(
            x.clone(),
            level,
            level * 0.1,
            (x - field.denoise(x, level)) / top,
            torch.zeros_like(level, dtype=torch.bool),
        )

    def step(
        self, field: NoisyField, state: AdaptiveFlowState, generator: Randomness | None = None
    ) -> tuple[AdaptiveFlowState, FlowInfo]:
        pair, (x, level, span, slope, done), bottom = PAIRS[self.method], state, self.ladder[1]
        last = span >= level - bottom
        span = torch.where(last, level - bottom, span)
        h, slopes = column(span, x), [slope]
        for row in pair.rows:  # downwards in sigma
            below = (
                torch.where(last, bottom, level - span)
                if row is pair.rows[-1]
                else level - sum(row) * span
            )
            point = x - h * _sum(row, slopes)
            slopes.append((point - field.denoise(point, below)) / column(below, x))
        size = self.atol + self.rtol * torch.maximum(x.abs(), point.abs())
        error = (h * _sum(pair.error, slopes) / size).flatten(1).square().mean(1).sqrt()
        good = (error <= 1) & ~done
        arrived = good & last
        point = (
            torch.where(column(arrived, x), point - bottom * slopes[-1], point)
            if self.denoise
            else point
        )
        grown = span * (0.9 * error.clamp(min=1e-10) ** (-1 / pair.order)).nan_to_num(
            nan=0.2
        ).clamp(0.2, 5)
        here = column(good, x)
        new = AdaptiveFlowState(
            torch.where(here, point, x),
            torch.where(good, below, level),
            torch.where(done, state.span, grown),
            torch.where(here, slopes[-1], slope),
            done | arrived,
        )
        return new, FlowInfo(new.level, error, new.done)

    def solve(self, field: NoisyField, x: Tensor) -> Tensor:
        """From x at the first level to the data; RuntimeError where `steps` attempts are too few."""
        with torch.no_grad():
            state = self.init(field, x)
            for _ in range(self.steps):
                state, _ = self.step(field, state)
                if bool(state.done.all()):
                    return state.x
        raise RuntimeError(
            f"{int((~state.done).sum())} of {len(x)} examples have not arrived after {self.steps}"
            " attempts; raise steps, or rtol and atol."
        )


def _sum(row: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    parts = [a * k for a, k in zip(row, slopes, strict=True) if a != 0]
    return sum(parts[1:], start=parts[0])

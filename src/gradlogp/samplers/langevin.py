r"""Unadjusted Langevin dynamics, with its parts separate.

.. math:: x' = x + h\, s(x) + \tau z, \qquad z \sim \mathcal N(0, I), \qquad \tau = \sqrt{2 h T}\ \text{samples}\ p^{1/T}.

h is `step_size`, tau is `noise_std`, T is `temperature`. With `noise_std=None` the law above holds
and the sampler is a *density sampler*, up to a bias of order h: on N(0, s^2) its stationary
variance is :math:`s^2 / (1 - h / 2s^2)`. Training image energies breaks that law on purpose (large
h, small tau, clipped scores, clamped pixels): such a sampler is a *generator*, and what it draws is
not the density.

References: Roberts & Tweedie (1996), Exponential Convergence of Langevin Distributions; Du &
Mordatch (2019), Implicit Generation and Modeling with Energy-Based Models, arXiv 1903.08689 (the
generator).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field
from gradlogp.core.inputs import check_interval
from gradlogp.core.random import Randomness, normal_


class LangevinState(NamedTuple):
    """x [B, *shape] and the memory that the next noise is drawn into."""

    x: Tensor
    noise: Tensor


class LangevinInfo(NamedTuple):
    """The score that moved the chain, [B, *shape], after clipping."""

    score: Tensor


@final
@dataclass(frozen=True)
class Langevin:
    """Langevin dynamics: samples the density where its law is kept, generates where it is not.

    step_size in units of x^2 / energy; grad_clip bounds each entry of the score; clamp keeps x in
    an interval.
    """

    by_example: ClassVar[bool] = True  # no chain hangs on another

    step_size: float
    noise_std: float | None = None
    temperature: float = 1.0
    grad_clip: float | None = None
    clamp: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.step_size <= 0 or self.temperature < 0:
            raise ValueError(
                f"Langevin needs step_size > 0 and temperature >= 0, got {self.step_size} and "
                f"{self.temperature}; to go up in energy negate the field."
            )
        if self.tau < 0:
            raise ValueError(
                f"noise_std is a standard deviation, so it is 0 or more, got {self.noise_std}."
            )
        if self.grad_clip is not None and self.grad_clip <= 0:
            raise ValueError(
                f"grad_clip bounds a size, so it is positive, got {self.grad_clip}; None leaves it"
                " out."
            )
        check_interval(self.clamp, "clamp")

    @property
    def tau(self) -> float:
        """The standard deviation of the noise in one step."""
        return (
            math.sqrt(2 * self.step_size * self.temperature)
            if self.noise_std is None
            else self.noise_std
        )

    @property
    def kind(self) -> str:
        """'density' where the law above holds, else 'generator'."""
        lawful = self.noise_std is None and self.grad_clip is None and self.clamp is None
        return "density" if lawful else "generator"

    @property
    def max_displacement(self) -> float:
        """The furthest that the score can move one entry of x in one step; infinite without
        `grad_clip`.
        """
        return math.inf if self.grad_clip is None else self.step_size * self.grad_clip

    def init(self, field: Field, x: Tensor) -> LangevinState:
        return LangevinState(x.clone(), torch.empty_like(x))

    def step(
        self, field: Field, chain: LangevinState, generator: Randomness
    ) -> tuple[LangevinState, LangevinInfo]:
        score = field.score(chain.x)
        if self.grad_clip is not None:
            score = score.clamp(-self.grad_clip, self.grad_clip)
        x = chain.x.add_(score, alpha=self.step_size)
        if self.tau > 0:
            x.add_(normal_(chain.noise, generator), alpha=self.tau)
        if self.clamp is not None:
            x.clamp_(*self.clamp)
        return chain, LangevinInfo(score)

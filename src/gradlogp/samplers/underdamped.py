r"""Underdamped Langevin dynamics by the BAOAB splitting: momentum with friction, one evaluation a
step.

.. math:: dx = v\,dt, \qquad dv = s(x)\,dt - \gamma v\,dt + \sqrt{2\gamma T}\,dW

has the law :math:`p^{1/T}(x)\,\mathcal N(v; 0, T)`. Half a kick (B), half a drift (A), friction and
its noise solved exactly (O), half a drift, half a kick:

.. math:: v \leftarrow v + \tfrac h2 s(x), \quad x \leftarrow x + \tfrac h2 v, \quad
          v \leftarrow e^{-\gamma h}v + \sqrt{(1 - e^{-2\gamma h})T}\,z,

.. math:: x \leftarrow x + \tfrac h2 v, \quad v \leftarrow v + \tfrac h2 s(x).

There is no Metropolis test, so the law is biased at order h^2, but seldom as little as here: on a
harmonic energy :math:`x^2/2s^2` the variance of x is *exactly* :math:`T s^2` for every stable step,
h < 2 s, and that of v is :math:`T(1 - h^2/4s^2)`.

References: Leimkuhler & Matthews (2013), Rational Construction of Stochastic Numerical Methods for
Molecular Sampling, arXiv 1203.5428; and (2013), Robust and Efficient Configurational Molecular
Sampling via Langevin Dynamics, arXiv 1304.3269, section II (the harmonic law).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field
from gradlogp.core.random import Randomness, normal_


class UnderdampedState(NamedTuple):
    """x [B, *shape], its velocity and score, the memory for noise, and whether the velocity has
    been drawn yet.
    """

    x: Tensor
    velocity: Tensor
    score: Tensor
    noise: Tensor
    drawn: bool


class UnderdampedInfo(NamedTuple):
    """Twice the kinetic energy per coordinate, [B]: its mean is near T where the step is short
    enough.
    """

    heat: Tensor


@final
@dataclass(frozen=True)
class Underdamped:
    """Underdamped Langevin (BAOAB): one evaluation a step, no test, and far less bias than
    Langevin.

    Choose it for a score without an energy, where no Metropolis test is possible.

    step_size h in units of x / sqrt(energy), as in HMC; friction gamma in units of 1 / h: near the
    inverse time in which the widest direction is crossed it mixes best, and as it grows the chain
    becomes Langevin with step_size h^2 / 2 and correlated noise.
    """

    kind: ClassVar[str] = "density"
    step_size: float
    friction: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.step_size <= 0 or self.friction < 0 or self.temperature < 0:
            raise ValueError(
                "underdamped Langevin needs step_size > 0, friction >= 0 and temperature >= 0, got"
                f" {self.step_size}, {self.friction} and {self.temperature}; to go up in energy"
                " negate the field."
            )

    @property
    def keep(self) -> float:
        """The share of the velocity that friction leaves in one step."""
        return math.exp(-self.friction * self.step_size)

    def init(self, field: Field, x: Tensor) -> UnderdampedState:
        return UnderdampedState(
            x.clone(), torch.zeros_like(x), field.score(x), torch.empty_like(x), drawn=False
        )

    def step(
        self, field: Field, state: UnderdampedState, generator: Randomness
    ) -> tuple[UnderdampedState, UnderdampedInfo]:
        x, v, score, noise, drawn = state
        h = self.step_size
        tau = math.sqrt((1 - self.keep**2) * self.temperature)
        if not drawn:
            normal_(v, generator).mul_(math.sqrt(self.temperature))
        v.add_(score, alpha=h / 2)
        x.add_(v, alpha=h / 2)
        v.mul_(self.keep)
        if tau > 0:
            v.add_(normal_(noise, generator), alpha=tau)
        x.add_(v, alpha=h / 2)
        score = field.score(x)
        v.add_(score, alpha=h / 2)
        return UnderdampedState(x, v, score, noise, drawn=True), UnderdampedInfo(
            v.flatten(1).square().mean(1)
        )

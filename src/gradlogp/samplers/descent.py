r"""Descent with momentum to where a field vanishes: accelerated gradient descent,

.. math:: y = x_k + \mu\,(x_k - x_{k-1}), \qquad x_{k+1} = y + h\, s(y) ,

without noise: the ends are modes of an energy, or the equilibria of a field learned by equilibrium
matching; no sample of a density. mu = 0 is plain gradient descent. On :math:`E = a x^2/2` the error
falls by the larger root of :math:`r^2 = (1 - ha)\,((1 + \mu)\, r - \mu)` in size at each step.

References: Nesterov (1983), A method of solving a convex programming problem with convergence rate
O(1/k^2); Wang & Du (2025), arXiv 2510.02300 (samples by descent).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field
from gradlogp.core.random import Randomness


class DescentState(NamedTuple):
    """x and where it was one step before, [B, *shape] each."""

    x: Tensor
    before: Tensor


class DescentInfo(NamedTuple):
    """The root mean square of the score at the point looked at, [B]: 0 at an equilibrium."""

    slope: Tensor


@final
@dataclass(frozen=True)
class Descent:
    """Accelerated descent without noise: to the equilibria of a field, not to samples of a density.

    Choose it for fields learned by equilibrium matching, and for modes. step_size in units of x^2 /
    energy; momentum in [0, 1).
    """

    kind: ClassVar[str] = "generator"
    deterministic: ClassVar[bool] = True
    step_size: float
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.step_size <= 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                "descent needs step_size > 0 and momentum in [0, 1), got"
                f" {self.step_size} and {self.momentum}; to climb negate the field."
            )

    def init(self, field: Field, x: Tensor) -> DescentState:
        return DescentState(x.clone(), x.clone())

    def step(
        self, field: Field, state: DescentState, generator: Randomness
    ) -> tuple[DescentState, DescentInfo]:
        x, before = state
        ahead = torch.lerp(before, x, 1 + self.momentum)
        score = field.score(ahead)
        before.copy_(x)
        torch.add(ahead, score, alpha=self.step_size, out=x)
        return DescentState(x, before), DescentInfo(score.flatten(1).square().mean(1).sqrt())

r"""Langevin dynamics with a diagonal preconditioner P: every coordinate takes a step of its own
scale.

.. math:: x' = x + h P\, s(x) + \sqrt{2 h T P}\; z .

For any fixed P this is Langevin on coordinates :math:`P^{-1/2}x`, so it samples the same law up to
the same kind of bias: on N(0, s^2) the stationary variance is :math:`T s^2 / (1 - hP/2s^2)`. Best P
is the variances of the law.

Where they are not known, P is learned as in RMSprop during the first `adapt` steps and then frozen,

.. math:: V \leftarrow \beta V + (1 - \beta)\, s(x)^2, \qquad P = 1 / (\lambda + \sqrt V),

which on N(0, s^2) makes P about s: it halves the spread of scales on a log axis. While P moves, the
chain leaves out the term :math:`h\nabla\!\cdot P` and *does not keep the law*; once frozen it does,
as above. Throw the first `adapt` steps away.

References: Li et al. (2016), Preconditioned Stochastic Gradient Langevin Dynamics, arXiv
1512.07666, eq. 4 and algorithm 1; Roberts & Stramer (2002), Langevin Diffusions and
Metropolis-Hastings Algorithms, section 2.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field
from gradlogp.core.random import Randomness, normal_
from gradlogp.samplers.langevin import LangevinInfo


class PreconditionedState(NamedTuple):
    """x [B, *shape], the mean square score V, the preconditioner P, the memory for noise, and the
    steps taken.
    """

    x: Tensor
    square: Tensor
    preconditioner: Tensor
    noise: Tensor
    taken: int


@final
@dataclass(frozen=True)
class PreconditionedLangevin:
    """Langevin with a diagonal preconditioner, given or learned (pSGLD): for laws of very unequal
    scales.

    preconditioner [*shape] or [B, *shape], positive, best the variances of the law; without one it
    is learned during the first `adapt` steps from the squared score with memory `decay`, and
    `reference` (lambda) bounds it by 1 / damping. Its units go into step_size: with P the variances,
    step_size is a pure number below 2.
    """

    kind: ClassVar[str] = "density"
    step_size: float
    adapt: int = 0
    decay: float = 0.99
    damping: float = 1e-5
    temperature: float = 1.0
    preconditioner: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if (
            self.step_size <= 0
            or self.temperature < 0
            or self.damping <= 0
            or not 0 <= self.decay < 1
        ):
            raise ValueError(
                "preconditioned Langevin needs step_size > 0, temperature >= 0, damping > 0 and"
                f" decay in [0, 1), got {self.step_size}, {self.temperature}, {self.damping} and"
                f" {self.decay}."
            )
        if (self.preconditioner is None) == (self.adapt < 1):
            given = "no preconditioner" if self.preconditioner is None else "a preconditioner"
            raise ValueError(
                f"expected a preconditioner, or adapt >= 1 steps that learn one, got {given} and"
                f" adapt={self.adapt}; for P = 1 use Langevin."
            )
        if self.preconditioner is not None and not bool((self.preconditioner > 0).all()):
            raise ValueError(
                "every entry of a preconditioner is positive, got"
                f" {float(self.preconditioner.min())}."
            )

    def init(self, field: Field, x: Tensor) -> PreconditionedState:
        if (p := self.preconditioner) is not None and p.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"expected a preconditioner of shape {list(x.shape[1:])} or {list(x.shape)}, got"
                f" {list(p.shape)}."
            )
        given = (
            torch.ones_like(x)
            if self.preconditioner is None
            else self.preconditioner.to(x).expand_as(x)
        )
        return PreconditionedState(x.clone(), torch.zeros_like(x), given, torch.empty_like(x), 0)

    def step(
        self, field: Field, state: PreconditionedState, generator: Randomness
    ) -> tuple[PreconditionedState, LangevinInfo]:
        x, square, p, noise, taken = state
        score = field.score(x)
        if taken < self.adapt:
            square.lerp_(score.square(), 1 - self.decay)
            unbiased = square / (1 - self.decay ** (taken + 1))
            p = 1 / (self.damping + unbiased.sqrt())
        x.addcmul_(p, score, value=self.step_size)
        if self.temperature > 0:
            x.addcmul_(
                p.sqrt(),
                normal_(noise, generator),
                value=math.sqrt(2 * self.step_size * self.temperature),
            )
        return PreconditionedState(x, square, p, noise, taken + 1), LangevinInfo(score)

r"""Hamiltonian Monte Carlo and MALA: a walk along the field with momentum, and a Metropolis test at
its end.

.. math:: H(x, v) = E(x) + \tfrac12\|v\|^2, \qquad v \sim \mathcal N(0, I), \qquad \alpha = \min(1, e^{-\Delta H}),

by L leapfrog steps (half kick, drift, half kick) with the diagonal mass M in whitened momenta
:math:`v = M^{-1/2}p`:

.. math:: v' = v + \tfrac\epsilon2 M^{-1/2} s(x), \qquad x' = x + \epsilon M^{-1/2} v', \qquad
          v'' = v' + \tfrac\epsilon2 M^{-1/2} s(x').

Leapfrog is reversible and keeps volume, so the test makes the law exact at any step size;
:math:`\Delta H` of one trajectory is of order :math:`\epsilon^2`. One leapfrog step with
:math:`\epsilon = \sqrt{2h}` is the proposal of Langevin dynamics, :math:`x' = x + h M^{-1} s(x) +
\sqrt{2h}M^{-1/2}z`, and :math:`-\Delta H` its whole log ratio, the two proposal densities included:
that is MALA. On N(0, I) the log ratio is :math:`(h/4)(\|x\|^2 - \|x'\|^2)`.

`mass` is one number per coordinate, [*shape], best the inverse variances of the law. The score and
energy at x are kept in the state, so that a MALA step costs one evaluation and an HMC step L.

References: Neal (2011), MCMC using Hamiltonian Dynamics, arXiv 1206.1901, section 3; Duane et al.
(1987), Hybrid Monte Carlo; Roberts & Tweedie (1996), Exponential Convergence of Langevin
Distributions, section 1.4; Roberts & Rosenthal (1998), Optimal Scaling of Discrete Approximations
(acceptance .574, h ~ d^(-1/3)); Beskos et al. (2013), arXiv 1001.4460 (.651).
"""

import abc
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.compiled import bound
from gradlogp.core.fields import Field, column
from gradlogp.core.random import Randomness, normal_, uniform_
from gradlogp.samplers.metropolis import (
    MetropolisState,
    acceptance,
    begin,
    check_tuning,
    choose,
    root_inverse,
    tuned,
)


class HamiltonianState(NamedTuple):
    """x [B, *shape], whitened momentum, energy [B], score."""

    x: Tensor
    v: Tensor
    energy: Tensor
    score: Tensor

    @property
    def hamiltonian(self) -> Tensor:
        """E + |v|^2 / 2, [B]."""
        return self.energy + self.v.flatten(1).square().sum(1) / 2


def leapfrog(f: Field, phase: HamiltonianState, reach: Tensor, steps: int) -> HamiltonianState:
    """`steps` >= 1 leapfrog steps, one evaluation each; `reach` is epsilon M^(-1/2), negative to
    walk back.
    """
    x = phase.x
    v = torch.addcmul(phase.v, reach, phase.score, value=0.5)
    for _ in range(steps - 1):
        x = torch.addcmul(x, reach, v)
        v = torch.addcmul(v, reach, f.score(x))
    x = torch.addcmul(x, reach, v)
    energy, score = f.energy_and_score(x)
    return HamiltonianState(x, torch.addcmul(v, reach, score, value=0.5), energy, score)


class HamiltonianInfo(NamedTuple):
    """The probability of acceptance and the change of H of the proposal, each [B]; NaN or inf where
    it diverged.
    """

    accept: Tensor
    change: Tensor


class Hamiltonian(abc.ABC):
    """What MALA and HMC share: momenta are drawn, leapfrog proposes, the change of H decides."""

    kind: ClassVar[str] = "density"
    step_size: float
    adapt: int
    target: float
    mass: Tensor | None

    @property
    @abc.abstractmethod
    def leaps(self) -> int:
        """Leapfrog steps, and so evaluations, of one step."""

    @abc.abstractmethod
    def epsilon(self, step_size: Tensor, generator: Randomness) -> Tensor:
        """The leapfrog step [B]."""

    def __post_init__(self) -> None:
        check_tuning(type(self).__name__, self.step_size, self.adapt, self.target, self.mass)

    def init(self, field: Field, x: Tensor) -> MetropolisState:
        return begin(field, x, self.step_size)

    def step(
        self, field: Field, state: MetropolisState, generator: Randomness
    ) -> tuple[MetropolisState, HamiltonianInfo]:
        x, energy, score, noise, tuning = state
        epsilon = self.epsilon(tuning.log_step.exp(), generator)
        reach = column(epsilon, x) * root_inverse(self.mass, x)
        phase = HamiltonianState(x, normal_(noise, generator), energy, score)
        coin = uniform_(torch.empty_like(energy), generator)
        moved = bound(field, transition, self.leaps)(phase, reach, coin)
        x, energy, score, accept, change = moved
        tuning = tuned(tuning, accept, self.target, self.adapt)
        state = MetropolisState(x, energy, score, noise, tuning)
        return state, HamiltonianInfo(accept, change)


def transition(
    f: Field, leaps: int, old: HamiltonianState, reach: Tensor, coin: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One step from `old`, decided by `coin` in [0, 1), [B]: x, energy [B] and score where it ends,
    the probability of acceptance and the change of H, each [B].
    """
    new = leapfrog(f, old, reach, leaps)
    change = new.hamiltonian - old.hamiltonian
    accept = acceptance(-change, new.energy)
    keep = coin < accept
    x = choose(keep, new.x, old.x)
    energy = choose(keep, new.energy, old.energy)
    return x, energy, choose(keep, new.score, old.score), accept, change


@final
@dataclass(frozen=True)
class MALA(Hamiltonian):
    """Metropolis-adjusted Langevin: exact, at one evaluation a step, for smooth laws of few scales.

    step_size is Langevin's h, in units of x^2 / energy. adapt=n tunes it during the first n steps,
    which are to be thrown away.
    """

    scaling: ClassVar[float] = 1.0  # step_size grows like temperature to this power
    step_size: float
    adapt: int = 0
    target: float = 0.574
    mass: Tensor | None = field(default=None, compare=False)

    @property
    def leaps(self) -> int:
        return 1

    def epsilon(self, step_size: Tensor, generator: Randomness) -> Tensor:
        return (2 * step_size).sqrt()


@final
@dataclass(frozen=True)
class HMC(Hamiltonian):
    """Hamiltonian Monte Carlo: samples the density exactly and moves far, for smooth laws in many
    dimensions.

    step_size is the leapfrog epsilon, in units of x / sqrt(energy); a trajectory is
    `leapfrog_steps` of it, best a quarter of a period of the widest direction. jitter=j spreads
    epsilon over [1 - j, 1 + j] of itself, against trajectories that come back to where they began.
    adapt=n tunes the step size during the first n steps, which are to be thrown away: .651 is the
    best acceptance of a law of independent coordinates, .8 is safer where curvature varies.
    """

    scaling: ClassVar[float] = 0.5
    step_size: float
    leapfrog_steps: int = 10
    jitter: float = 0.0
    adapt: int = 0
    target: float = 0.8
    mass: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leapfrog_steps < 1 or not 0 <= self.jitter < 1:
            raise ValueError(
                f"HMC needs leapfrog_steps >= 1 and jitter in [0, 1), got {self.leapfrog_steps} and"
                f" {self.jitter}; one leapfrog step is MALA."
            )

    @property
    def leaps(self) -> int:
        return self.leapfrog_steps

    def epsilon(self, step_size: Tensor, generator: Randomness) -> Tensor:
        if self.jitter == 0:
            return step_size
        return step_size * (
            1 + self.jitter * (2 * uniform_(torch.empty_like(step_size), generator) - 1)
        )

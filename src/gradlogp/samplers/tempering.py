r"""Tempering: chains that cross between modes by way of flatter laws :math:`p_i \propto
e^{-E/T_i}`, :math:`T_0 < \dots < T_R`.

*Parallel tempering* runs a replica at each temperature. After every step neighbours may exchange
their x, with probability

.. math:: \min\bigl(1, e^{(1/T_i - 1/T_{i+1})(E_i - E_{i+1})}\bigr),

even pairs and odd pairs in turn, so that a state travels up and down the ladder instead of
diffusing on it. All replicas are one batch of R x B rows: one evaluation of the field per inner
step. x is the replica at :math:`T_0`.

*Tempered transitions* take one chain up the ladder and down again, a step at each temperature on
either way, and accept or reject the whole excursion with

.. math:: \log\rho = \sum_{i=0}^{R-1}\Bigl(\frac1{T_i} - \frac1{T_{i+1}}\Bigr)\bigl(E(\hat x_i) - E(\check x_i)\bigr),

:math:`\hat x_i` the state that leaves :math:`T_i` on the way up, :math:`\check x_i` the one that
comes back to it: no memory for replicas, but an excursion is accepted only where the ladder is
fine. Each inner kernel must be reversible: MALA or HMC.

The ladder is right where neighbours exchange a fifth to a half of the time. The step sizes of MALA,
HMC and NUTS grow with the temperature (as T, and as its root), the scale of the flatter law; other
samplers step alike everywhere, and so cross slowly.

References: Geyer (1991), Markov Chain Monte Carlo Maximum Likelihood; Syed et al. (2022),
Non-Reversible Parallel Tempering, arXiv 1905.02939 (even and odd in turn); Neal (1996), Sampling
from Multimodal Distributions Using Tempered Transitions.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.conditioned import MaskedField
from gradlogp.core.fields import Field, Scaled
from gradlogp.core.kernel import Sampler
from gradlogp.core.random import Randomness, Repeated
from gradlogp.samplers.hamiltonian import HMC, MALA
from gradlogp.samplers.langevin import Langevin
from gradlogp.samplers.metropolis import (
    MetropolisState,
    check_digits,
    choose,
    decide,
    moved,
    stretched,
)
from gradlogp.samplers.nuts import NUTS
from gradlogp.samplers.preconditioned import PreconditionedLangevin
from gradlogp.samplers.underdamped import Underdamped


def check_ladder(temperatures: tuple[float, ...]) -> None:
    rises = all(a < b for a, b in pairwise(temperatures))
    if len(temperatures) < 2 or temperatures[0] <= 0 or not rises:
        raise ValueError(
            "expected two or more rising temperatures above 0, such as (1.0, 2.0, 4.0), got"
            f" {temperatures}; the first is the one that is sampled."
        )


class ParallelState(NamedTuple):
    """The inner state of R x B rows, coldest first; 1 / T of each row; R; and the steps taken."""

    inner: Any
    weight: Tensor
    copies: int
    taken: int

    @property
    def x(self) -> Tensor:
        """The coldest replica, [B, *shape]."""
        return self.inner.x.chunk(self.copies)[0]


class ParallelInfo(NamedTuple):
    """The acceptance of the coldest replica's inner step [B], 1 where it has no test, and of each
    exchange [B, R - 1].
    """

    accept: Tensor
    swap: Tensor


@final
@dataclass(frozen=True)
class ParallelTempering:
    """Parallel tempering: replicas at rising temperatures exchange states, for laws of separated
    modes.

    `inner` is any sampler of continuous x, and temperatures[0] the law that is sampled, 1 for p
    itself. A field with a condition or an observation for each row needs it R times over,
    `cond.repeat(R)`. The cost is R evaluations in one batch.
    """

    inner: Langevin | PreconditionedLangevin | MALA | HMC | NUTS | Underdamped
    temperatures: tuple[float, ...]

    def __post_init__(self) -> None:
        check_ladder(self.temperatures)

    @property
    def kind(self) -> str:
        return self.inner.kind

    def init(self, field: Field, x: Tensor) -> ParallelState:
        copies = len(self.temperatures)
        energy = field.energy(x)
        temperature = energy.new_tensor(self.temperatures).repeat_interleave(len(x))
        inner = self.inner.init(
            Scaled(replicated(field, x, copies), 1 / temperature),
            x.repeat(copies, *[1] * (x.ndim - 1)),
        )
        if not hasattr(inner, "energy"):  # whose own test would have looked
            check_digits(energy)
        return ParallelState(stretched(inner, self.inner, temperature), 1 / temperature, copies, 0)

    def step(
        self, field: Field, state: ParallelState, generator: Randomness
    ) -> tuple[ParallelState, ParallelInfo]:
        weight, copies = state.weight, state.copies
        tempered = Scaled(replicated(field, state.x, copies), weight)
        sampler: Sampler[Field, Any] = self.inner
        inner, info = sampler.step(tempered, state.inner, Repeated(generator, copies))
        energy = inner.energy if hasattr(inner, "energy") else tempered.energy(inner.x)
        swap, rows = exchange(energy / weight, weight, copies, state.taken % 2, generator)
        inner = moved(inner, weight / weight[rows], rows)
        accept = (
            info.accept.chunk(copies)[0] if hasattr(info, "accept") else torch.ones_like(swap[:, 0])
        )
        return ParallelState(inner, weight, copies, state.taken + 1), ParallelInfo(accept, swap)


def replicated(field: Field, x: Tensor, copies: int) -> Field:
    """The field for all replicas of x: a mask with a row for each example needs its rows R times
    over.
    """
    if isinstance(field, MaskedField) and field.mask.ndim == x.ndim:
        return MaskedField(field.field, field.mask.expand_as(x).repeat(copies, *[1] * (x.ndim - 1)))
    return field


def exchange(
    energy: Tensor, weight: Tensor, copies: int, parity: int, generator: Randomness
) -> tuple[Tensor, Tensor]:
    """(the acceptance of each pair of neighbours [B, R - 1], the row that each row takes its x from
    [R B]); one parity is tried.
    """
    e, beta = (v.view(copies, -1).T for v in (energy, weight))  # [B, R]
    accept, keep = decide(
        (beta[:, :-1] - beta[:, 1:]) * (e[:, :-1] - e[:, 1:]), e[:, 1:], generator
    )
    keep[:, 1 - parity :: 2] = False
    replica = torch.arange(copies, device=e.device).expand_as(e).clone()
    replica[:, :-1] += keep.long()
    replica[:, 1:] -= keep.long()
    return accept, (replica * len(e) + torch.arange(len(e), device=e.device)[:, None]).T.flatten()


class ExcursionInfo(NamedTuple):
    """The probability that the excursion is accepted, [B]."""

    accept: Tensor


@final
@dataclass(frozen=True)
class TemperedTransitions:
    """Tempered transitions: excursions up and down a ladder of temperatures, for separated modes.

    Each is accepted as a whole. Choose it where memory for the replicas of parallel tempering is
    short.

    A step is one inner step at temperatures[0] and one excursion of `inner_steps` at each higher
    temperature, on either way. The inner sampler does not adapt: tune its step_size before.
    """

    kind: ClassVar[str] = "density"
    inner: MALA | HMC
    temperatures: tuple[float, ...]
    inner_steps: int = 1

    def __post_init__(self) -> None:
        check_ladder(self.temperatures)
        if self.inner.adapt or self.inner_steps < 1:
            raise ValueError(
                "tempered transitions need inner_steps >= 1 and an inner sampler with adapt=0, got"
                f" {self.inner_steps} and adapt={self.inner.adapt}; a kernel that adapts is not"
                " reversible."
            )

    def init(self, field: Field, x: Tensor) -> MetropolisState:
        chain = self.inner.init(Scaled(field, 1 / self.temperatures[0]), x)
        return stretched(chain, self.inner, torch.full_like(chain.energy, self.temperatures[0]))

    def step(
        self, field: Field, state: MetropolisState, generator: Randomness
    ) -> tuple[MetropolisState, ExcursionInfo]:
        state = chain = self._walk(0, field, state, generator)
        log_ratio = torch.zeros_like(chain.energy)
        top = len(self.temperatures)
        for i in range(1, top):
            log_ratio += self._work(i, chain.energy, self.temperatures[i - 1])
            chain = self._walk(
                i, field, self._at(i, chain, self.temperatures[i - 1]), generator, self.inner_steps
            )
        for i in range(top - 1, 0, -1):
            chain = self._at(
                i - 1,
                self._walk(i, field, chain, generator, self.inner_steps),
                self.temperatures[i],
            )
            log_ratio -= self._work(i, chain.energy, self.temperatures[i - 1])
        accept, keep = decide(log_ratio, chain.energy, generator)
        x, energy, score = (
            choose(keep, new, old) for new, old in zip(chain[:3], state[:3], strict=True)
        )
        return state._replace(x=x, energy=energy, score=score), ExcursionInfo(accept)

    def _at(self, i: int, chain: MetropolisState, last: float) -> MetropolisState:
        """The chain of temperature `last` brought to temperature i."""
        ratio = torch.full_like(chain.energy, self.temperatures[i] / last)
        return stretched(moved(chain, 1 / ratio), self.inner, ratio)

    def _work(self, i: int, energy: Tensor, last: float) -> Tensor:
        """(1 / T_{i-1} - 1 / T_i) E of a state whose energy is E / T_{i-1}."""
        return energy * (1 - last / self.temperatures[i])

    def _walk(
        self, i: int, field: Field, chain: MetropolisState, generator: Randomness, steps: int = 1
    ) -> MetropolisState:
        for _ in range(steps):
            chain, _ = self.inner.step(Scaled(field, 1 / self.temperatures[i]), chain, generator)
        return chain

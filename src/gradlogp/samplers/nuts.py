r"""The no-U-turn sampler: Hamiltonian Monte Carlo that finds the length of its trajectories by
itself.

From (x, v) the trajectory doubles, forward or backward in time by a coin, until its ends turn
towards each other,

.. math:: (x_+ - x_-)^\top M^{1/2} v_\pm \le 0 ,

or within the new half some balanced subtree does so. The next x is drawn from the states of the
trajectory with weights :math:`e^{-H}`: uniformly progressive within a half, and biased towards the
new half between the two, :math:`\min(1, w_\text{new} / w_\text{old})`. A half that turns within, or
that *diverges* (:math:`\Delta H > 1000`: the step is too long for the curvature there), is thrown
away.

All chains of a batch double in step: a batch evaluates until its longest tree ends, at most
2^max_depth - 1 evaluations. Within a half the leaves come one by one, and leaf n, whose binary
digits end in k ones, closes k subtrees; their first leaves wait in :math:`O(\text{max\_depth})`
marks, one for each count of ones.

Host syncs: one for each doubling (does any chain go on?), none for each leaf. How many random
numbers are drawn depends on the longest tree of the batch, so a NUTS sample, unlike all others,
depends on the batch that it is drawn in.

References: Hoffman & Gelman (2014), arXiv 1111.4246, algorithm 3 and section 3.2; Betancourt
(2017), A Conceptual Introduction to Hamiltonian Monte Carlo, arXiv 1701.02434, appendix A
(weights); Phan, Pradhan & Jankowiak (2019), arXiv 1912.11554, algorithm 2 (the iterative form).
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeVar, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field, column
from gradlogp.core.random import Randomness, normal_, uniform_
from gradlogp.samplers.hamiltonian import HamiltonianState, leapfrog
from gradlogp.samplers.metropolis import (
    MetropolisState,
    begin,
    check_tuning,
    choose,
    root_inverse,
    tuned,
)

DIVERGED = 1000.0  # nats of energy error


class NUTSInfo(NamedTuple):
    """For each chain, [B]: mean acceptance along the trajectory, doublings, leapfrog steps, whether
    it diverged.
    """

    accept: Tensor
    depth: Tensor
    leaps: Tensor
    diverged: Tensor


class Draw(NamedTuple):
    """A state of the trajectory that may be the next one: x, energy [B], score."""

    x: Tensor
    energy: Tensor
    score: Tensor


class Half(NamedTuple):
    """A new half of a trajectory: its far end, its draw, log sum of weights, validity, and sums for
    the info.
    """

    end: HamiltonianState
    draw: Draw
    log_weight: Tensor
    valid: Tensor
    diverged: Tensor
    accept: Tensor
    leaps: Tensor


@final
@dataclass(frozen=True)
class NUTS:
    """The no-U-turn sampler: Hamiltonian Monte Carlo that finds its own lengths, for laws of
    unknown scales.

    step_size is the leapfrog epsilon; adapt=n tunes it during the first n steps, which are to be
    thrown away. A trajectory has at most 2^max_depth - 1 leapfrog steps. `mass` is one number per
    coordinate, [*shape], best the inverse variances.
    """

    kind: ClassVar[str] = "density"
    scaling: ClassVar[float] = 0.5
    step_size: float
    adapt: int = 0
    target: float = 0.8
    max_depth: int = 10
    mass: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_tuning("NUTS", self.step_size, self.adapt, self.target, self.mass)
        if self.max_depth < 1:
            raise ValueError(
                f"NUTS doubles its trajectory at least once, got max_depth={self.max_depth}; 5 to"
                " 10 is usual."
            )

    def init(self, field: Field, x: Tensor) -> MetropolisState:
        return begin(field, x, self.step_size)

    def step(
        self, field: Field, state: MetropolisState, generator: Randomness
    ) -> tuple[MetropolisState, NUTSInfo]:
        x, energy, score, noise, tuning = state
        reach = column(tuning.log_step.exp(), x) * root_inverse(self.mass, x)
        left = right = origin = HamiltonianState(x, normal_(noise, generator), energy, score)
        draw = Draw(x, energy, score)
        log_weight, accept, leaps = (torch.zeros_like(energy) for _ in range(3))
        going = torch.ones_like(energy, dtype=torch.bool)
        depth = torch.zeros_like(energy)
        diverged = torch.zeros_like(going)
        for doubling in range(self.max_depth):
            forward = _uniform(energy, generator) < 0.5
            half = self._half(
                field,
                select(forward, right, left),
                origin.hamiltonian,
                choose(forward, reach, -reach),
                doubling,
                going,
                generator,
            )
            take = half.valid & (_uniform(energy, generator).log() < half.log_weight - log_weight)
            draw = select(take, half.draw, draw)
            right = select(half.valid & forward, half.end, right)
            left = select(half.valid & ~forward, half.end, left)
            log_weight = torch.where(
                half.valid, torch.logaddexp(log_weight, half.log_weight), log_weight
            )
            accept = accept + half.accept
            leaps = leaps + half.leaps
            depth = depth + going
            diverged = diverged | half.diverged
            going = half.valid & ~turned_back(left, right, reach)
            if not going.any():
                break
        accept = accept / leaps
        return (
            MetropolisState(*draw, noise, tuned(tuning, accept, self.target, self.adapt)),
            NUTSInfo(accept, depth, leaps, diverged),
        )

    def _half(
        self,
        field: Field,
        phase: HamiltonianState,
        start: Tensor,
        reach: Tensor,
        doubling: int,
        valid: Tensor,
        generator: Randomness,
    ) -> Half:
        """2^doubling leapfrog steps on from `phase`, as far as they stay `valid`; `start` is H of
        the origin, [B].
        """
        draw = Draw(phase.x, phase.energy, phase.score)
        marks = [phase] * (doubling + 1)
        log_weight = torch.full_like(start, -math.inf)
        accept = torch.zeros_like(start)
        leaps = torch.zeros_like(start)
        diverged = torch.zeros_like(valid)
        for leaf in range(2**doubling):
            phase = leapfrog(field, phase, reach, 1)
            log_w = (start - phase.hamiltonian).nan_to_num(-math.inf, posinf=-math.inf)
            accept = accept + valid * log_w.clamp(max=0).exp()
            leaps = leaps + valid
            diverged = diverged | (valid & (log_w < -DIVERGED))
            log_weight = torch.logaddexp(log_weight, log_w)
            take = _uniform(start, generator).log() < log_w - log_weight
            draw = select(take, Draw(phase.x, phase.energy, phase.score), draw)
            valid = valid & ~diverged
            for mark in closed(leaf):
                valid = valid & ~turned_back(marks[mark], phase, reach)
            if leaf % 2 == 0:
                marks[leaf.bit_count()] = phase
        return Half(phase, draw, log_weight, valid, diverged, accept, leaps)


def closed(leaf: int) -> range:
    """The marks of the subtrees that end with this leaf: one for each of the ones that its binary
    digits end in.
    """
    ones = leaf.bit_count()
    return range(ones - ((leaf + 1) & -(leaf + 1)).bit_length() + 1, ones)


def turned_back(first: HamiltonianState, last: HamiltonianState, reach: Tensor) -> Tensor:
    """Whether two ends move towards each other, [B]; `last` lies in the direction of `reach`."""
    along = (last.x - first.x) / reach
    return ((along * first.v).flatten(1).sum(1) <= 0) | ((along * last.v).flatten(1).sum(1) <= 0)


Rows = TypeVar("Rows", HamiltonianState, Draw)


def select(keep: Tensor, new: Rows, old: Rows) -> Rows:
    """`choose` for each of the tensors."""
    return type(new)(*(choose(keep, a, b) for a, b in zip(new, old, strict=True)))


def _uniform(like: Tensor, generator: Randomness) -> Tensor:
    return uniform_(torch.empty_like(like), generator)

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

from gradlogp.core.compiled import Compiled, bound
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
LEAVES = 8  # of a block, which is one program where the field is compiled


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


class Trajectory(NamedTuple):
    """Both ends, the draw, log sum of weights, whether it goes on, and sums for the info."""

    left: HamiltonianState
    right: HamiltonianState
    draw: Draw
    log_weight: Tensor
    going: Tensor
    accept: Tensor
    leaps: Tensor
    depth: Tensor
    diverged: Tensor


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
        origin = HamiltonianState(x, normal_(noise, generator), energy, score)
        whole, start = _begun(origin), origin.hamiltonian
        for doubling in range(self.max_depth):
            whole = _doubled(field, whole, reach, start, doubling, generator)
            if not whole.going.any():
                break
        accept = whole.accept / whole.leaps
        return (
            MetropolisState(*whole.draw, noise, tuned(tuning, accept, self.target, self.adapt)),
            NUTSInfo(accept, whole.depth, whole.leaps, whole.diverged),
        )


def _begun(origin: HamiltonianState) -> Trajectory:
    """A trajectory of one state."""
    draw = Draw(origin.x, origin.energy, origin.score)
    zeros = torch.zeros_like(origin.energy)
    no = torch.zeros_like(zeros, dtype=torch.bool)
    return Trajectory(origin, origin, draw, zeros, ~no, zeros, zeros, zeros, no)


def _doubled(
    field: Field,
    whole: Trajectory,
    reach: Tensor,
    start: Tensor,
    doubling: int,
    generator: Randomness,
) -> Trajectory:
    """The trajectory with 2^doubling leapfrog steps more, as far as they stay valid; `start` is H
    of the origin, [B].

    The leaves come in blocks, of which each is one program where the field is compiled: blocks make
    a tree as leaves do.
    """
    block = LEAVES if isinstance(field, Compiled) else 1
    if 2**doubling <= block:
        coins = _uniforms(2**doubling + 2, start, generator)
        return bound(field, doubled, 2**doubling)(whole, reach, start, coins)
    way = _uniforms(1, start, generator)
    half, along = bound(field, set_out)(whole, reach, way[0])
    marks: dict[int, HamiltonianState] = {}
    for i in range(2**doubling // block):
        coins = _uniforms(block, start, generator)
        half, first = bound(field, extended, block)(half, along, start, coins)
        for mark in closed(i):
            half = half._replace(valid=half.valid & ~turned_back(marks[mark], half.end, along))
        if i % 2 == 0:
            marks[i.bit_count()] = first
    coins = torch.cat([way, _uniforms(1, start, generator)])
    return bound(field, merged)(whole, half, reach, coins)


def doubled(
    f: Field, leaves: int, whole: Trajectory, reach: Tensor, start: Tensor, coins: Tensor
) -> Trajectory:
    """The trajectory with `leaves` more; coins [leaves + 2, B] choose the direction, the draw of
    the half, and between the draws.
    """
    half, along = set_out(f, whole, reach, coins[0])
    half, _ = extended(f, leaves, half, along, start, coins[1:-1])
    return merged(f, whole, half, reach, torch.stack([coins[0], coins[-1]]))


def set_out(f: Field, whole: Trajectory, reach: Tensor, coin: Tensor) -> tuple[Half, Tensor]:
    """An empty half at the end that `coin` [B] chooses, and epsilon M^(-1/2) of its direction."""
    forward = coin < 0.5
    end = select(forward, whole.right, whole.left)
    zeros = torch.zeros_like(coin)
    none = torch.full_like(coin, -math.inf)
    no = torch.zeros_like(forward)
    half = Half(end, Draw(end.x, end.energy, end.score), none, whole.going, no, zeros, zeros)
    return half, choose(forward, reach, -reach)


def extended(
    f: Field, leaves: int, half: Half, reach: Tensor, start: Tensor, coins: Tensor
) -> tuple[Half, HamiltonianState]:
    """A half with a block of `leaves` more steps, and the first of them; coins [leaves, B] choose
    the draw.
    """
    phase, draw, log_weight, valid, diverged, accept, leaps = half
    marks: dict[int, HamiltonianState] = {}
    for leaf in range(leaves):
        phase = leapfrog(f, phase, reach, 1)
        log_w = (start - phase.hamiltonian).nan_to_num(-math.inf, posinf=-math.inf)
        accept = accept + valid * log_w.clamp(max=0).exp()
        leaps = leaps + valid
        diverged = diverged | (valid & (log_w < -DIVERGED))
        log_weight = torch.logaddexp(log_weight, log_w)
        take = coins[leaf].log() < log_w - log_weight
        draw = select(take, Draw(phase.x, phase.energy, phase.score), draw)
        valid = valid & ~diverged
        for mark in closed(leaf):
            valid = valid & ~turned_back(marks[mark], phase, reach)
        if leaf % 2 == 0:
            marks[leaf.bit_count()] = phase
    return Half(phase, draw, log_weight, valid, diverged, accept, leaps), marks[0]


def merged(f: Field, whole: Trajectory, half: Half, reach: Tensor, coins: Tensor) -> Trajectory:
    """The trajectory with the half on the side that the first of coins [2, B] chose; the second
    decides between their draws.
    """
    way, coin = coins
    forward = way < 0.5
    take = half.valid & (coin.log() < half.log_weight - whole.log_weight)
    right = select(half.valid & forward, half.end, whole.right)
    left = select(half.valid & ~forward, half.end, whole.left)
    added = torch.logaddexp(whole.log_weight, half.log_weight)
    return Trajectory(
        left,
        right,
        select(take, half.draw, whole.draw),
        torch.where(half.valid, added, whole.log_weight),
        half.valid & ~turned_back(left, right, reach),
        whole.accept + half.accept,
        whole.leaps + half.leaps,
        whole.depth + whole.going,
        whole.diverged | half.diverged,
    )


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


def _uniforms(count: int, like: Tensor, generator: Randomness) -> Tensor:
    """Draws from U(0, 1), [count, B]."""
    return torch.stack([uniform_(torch.empty_like(like), generator) for _ in range(count)])

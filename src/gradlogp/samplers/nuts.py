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
LEAVES = 4  # of a block, which is one program where the field is compiled


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
            coin = _uniform(energy, generator)
            half, way = bound(field, set_out)(whole, reach, coin)
            half = _grown(field, half, way, start, doubling, generator)
            coins = coin, _uniform(energy, generator)
            whole = bound(field, merged)(whole, half, reach, *coins)
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


def _grown(
    field: Field, half: Half, way: Tensor, start: Tensor, doubling: int, generator: Randomness
) -> Half:
    """2^doubling leapfrog steps of `way`, as far as they stay valid; `start` is H of the origin,
    [B].

    The leaves come in blocks, of which each is one program where the field is compiled: blocks make
    a tree as leaves do.
    """
    leaves = min(2**doubling, LEAVES) if isinstance(field, Compiled) else 1
    marks: dict[int, HamiltonianState] = {}
    for block in range(2**doubling // leaves):
        coins = torch.stack([_uniform(start, generator) for _ in range(leaves)])
        half, first = bound(field, extended, leaves)(half, way, start, coins)
        for mark in closed(block):
            half = half._replace(valid=half.valid & ~turned_back(marks[mark], half.end, way))
        if block % 2 == 0:
            marks[block.bit_count()] = first
    return half


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


def merged(
    f: Field, whole: Trajectory, half: Half, reach: Tensor, way: Tensor, coin: Tensor
) -> Trajectory:
    """The trajectory with the half on the side that `way` [B] chose; `coin` [B] decides between
    their draws.
    """
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


def _uniform(like: Tensor, generator: Randomness) -> Tensor:
    return uniform_(torch.empty_like(like), generator)

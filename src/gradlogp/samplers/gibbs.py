r"""Gibbs sampling of discrete x: draw a site, or many, from its conditional distribution given the
rest. No step size, nothing rejected.

    Gibbs                one site after another, for any energy: K - 1 evaluations a site
    CheckerboardGibbs    the sites of one colour, then of the other, for an energy that is affine in
                         each (Ising, Potts): two scores a sweep
    GibbsWithGradients   one site where the gradient expects a gain, accepted or not: an energy and
                         its gradient, one evaluation a step

Models with a hidden layer have `samplers.block`. Layouts of x are those of `core.discrete`: binary
with two `values`, or one-hot with `values=None`. Inside `Masked` what is pinned stays, and the rest
follows the exact conditional distribution. Gibbs with gradients proposes the move from state a to b
of site i with probability

.. math:: q(i, b \mid x) \propto e^{d_{ib}(x)/2}, \qquad d_{ib}(x) = (e_b - e_a)^\top s_i(x) \approx \log p(x') - \log p(x),

and accepts by Metropolis-Hastings, so it is exact whatever the gradient is worth. Nothing here
depends on the size of the batch.

References: Geman & Geman (1984); Grathwohl et al. (2021), Oops I Took A Gradient: Scalable Sampling
for Discrete Distributions, arXiv 2102.04509, algorithm 1.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.conditioned import MaskedField
from gradlogp.core.discrete import Values, check_states, check_values, moved, sites, states
from gradlogp.core.fields import Field
from gradlogp.core.random import Randomness, seeded, uniform_
from gradlogp.samplers.metropolis import check_digits, choose, decide

PROBES = 64  # random states, at least, at which an energy is tried


class GibbsState(NamedTuple):
    """x [B, *shape], its energy [B], and the memory for uniform draws, [B] or [B, 2]."""

    x: Tensor
    energy: Tensor
    uniform: Tensor


class GibbsInfo(NamedTuple):
    """The share of the updates that changed a site, [B]."""

    changed: Tensor


class Accepted(NamedTuple):
    """The probability of acceptance, [B]."""

    accept: Tensor


def pick(p: Tensor, u: Tensor) -> Tensor:
    """The index whose share of [0, 1) holds u [B], by the probabilities p [B, K] (up to a factor),
    [B].
    """
    edges = p.cumsum(1)
    index = torch.searchsorted(edges, (u * edges[:, -1])[:, None], right=True)[:, 0]
    return index.clamp_(max=p.shape[1] - 1)


def free_sites(field: Field, x: Tensor, values: Values) -> Tensor | None:
    """Which sites of x may change, bool [B, sites]; None where all may."""
    if not isinstance(field, MaskedField):
        return None
    mask = field.mask.expand_as(x)
    return (mask.all(-1) if values is None else mask).flatten(1)


@final
@dataclass(frozen=True)
class Gibbs:
    """Gibbs sampling site by site, for any energy of binary or one-hot x: exact, and slow on many
    sites.

    `values` are those of a binary site, None for one-hot. A step sweeps all sites in order, or
    updates `random_sites` sites drawn anew for each chain.
    """

    values: Values = (0.0, 1.0)
    random_sites: int | None = None

    def __post_init__(self) -> None:
        check_values(self.values)
        if self.random_sites is not None and self.random_sites < 1:
            raise ValueError(
                f"`random_sites` counts updates, so it is 1 or more, got {self.random_sites}; None"
                " sweeps all sites."
            )

    @property
    def kind(self) -> str:
        return "density"

    def init(self, field: Field, x: Tensor) -> GibbsState:
        x = check_states(x, self.values).clone()
        return GibbsState(x, check_digits(field.energy(x)), x.new_empty(len(x)))

    def step(
        self, field: Field, state: GibbsState, generator: Randomness
    ) -> tuple[GibbsState, GibbsInfo]:
        n = sites(state.x, self.values)
        free = free_sites(field, state.x, self.values)
        updates = self.random_sites or n
        changed = torch.zeros_like(state.uniform)
        for i in range(updates):
            at = self._site(i, n, state.uniform, generator)
            energies, to = self.energies(field, state.x, state.energy, at)
            by = pick((-energies).softmax(1), uniform_(state.uniform, generator))
            if free is not None:
                by *= take(free, at)
            changed += by > 0
            state = GibbsState(
                to[torch.arange(len(by), device=by.device), by], take(energies, by), state.uniform
            )
        return state, GibbsInfo(changed / updates)

    def energies(
        self, field: Field, x: Tensor, energy: Tensor, at: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The energies [B, K] of x with site `at` [B] moved on by 0 ... K - 1 states, and these x
        [B, K, *shape].

        The law of the site given all others is the softmax of their negatives. One state of all
        chains at a time: a field may hold a condition for each.
        """
        to = torch.cat([x[:, None], moved(x, at[:, None], self.values)[:, 0]], 1)
        return (
            torch.stack([energy, *(field.energy(to[:, s]) for s in range(1, to.shape[1]))], 1),
            to,
        )

    def _site(self, i: int, n: int, uniform: Tensor, generator: Randomness) -> Tensor:
        if self.random_sites is None:
            return torch.full((len(uniform),), i, device=uniform.device)
        return (uniform_(uniform, generator) * n).long().clamp_(max=n - 1)


@final
@dataclass(frozen=True)
class CheckerboardGibbs:
    """Gibbs sampling of all sites of one colour at once, for lattices such as Ising and Potts
    models.

    The colour of a site is the parity of the sum of its coordinates, so a periodic lattice needs
    even sizes. `init` tests at random states that the energy is affine in each colour, and raises
    ValueError where it is not.
    """

    values: Values = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_values(self.values)

    @property
    def kind(self) -> str:
        return "density"

    def init(self, field: Field, x: Tensor) -> GibbsState:
        x = check_states(x, self.values).clone()
        self._test(field, x)
        return GibbsState(x, x.new_empty(0), torch.empty_like(x))

    def step(
        self, field: Field, state: GibbsState, generator: Randomness
    ) -> tuple[GibbsState, GibbsInfo]:
        x, _, uniform = state
        before, mask = x.clone(), None
        if isinstance(field, MaskedField):
            mask, field = field.mask, field.field
        for colour in (0, 1):
            drawn = self._draw(field.score(x), uniform_(uniform, generator))
            move = self._colour(x) == colour
            x = torch.where(move if mask is None else move & mask, drawn, x)
        return GibbsState(x, state.energy, uniform), GibbsInfo(
            (x != before).flatten(1).to(x.dtype).mean(1)
        )

    def _draw(self, score: Tensor, uniform: Tensor) -> Tensor:
        """Every site from softmax(score): the law of one that the energy is affine in."""
        if self.values is None:  # the largest of score + Gumbel noise
            return torch.zeros_like(score).scatter_(
                -1, (score - (-uniform.log()).log()).argmax(-1, keepdim=True), 1.0
            )
        low, high = self.values
        return torch.where(
            uniform < ((high - low) * score).sigmoid(),
            score.new_full((), high),
            score.new_full((), low),
        )

    def _colour(self, x: Tensor) -> Tensor:
        """0 or 1 for every site, broadcastable to x."""
        sizes = x.shape[1:-1] if self.values is None else x.shape[1:]
        parity = (
            torch.stack(
                torch.meshgrid(*(torch.arange(s, device=x.device) for s in sizes), indexing="ij")
            ).sum(0)
            % 2
        )
        return parity[..., None] if self.values is None else parity

    def _test(self, field: Field, x: Tensor) -> None:
        """ValueError where the energy is not affine in what is free of each colour, as far as
        PROBES random states tell: one start may agree by chance.
        """
        field, mask = (field.field, field.mask) if isinstance(field, MaskedField) else (field, True)
        free = torch.as_tensor(mask, device=x.device)
        generator = seeded("checkerboard", device=x.device)
        for _ in range(-(-PROBES // len(x))):
            here, there = (torch.where(free, self._random(x, generator), x) for _ in range(2))
            energy, score = field.energy_and_score(here)
            for colour in (0, 1):
                to = torch.where(self._colour(x) == colour, there, here)
                gain = energy - field.energy(to)
                expected = (score * (to - here)).flatten(1).sum(1)
                close = torch.isclose(gain, expected, rtol=1e-3, atol=1e-3)
                if not close.all():
                    worst = (gain - expected).abs().argmax()
                    raise ValueError(
                        "this energy couples sites of one colour: moving them should have changed"
                        f" it by {-expected[worst]:.4g}, but did by {-gain[worst]:.4g}; use Gibbs,"
                        " or a periodic lattice of even sizes."
                    )

    def _random(self, x: Tensor, generator: Randomness) -> Tensor:
        """States shaped as x, all alike in probability."""
        return self._draw(torch.zeros_like(x), uniform_(torch.empty_like(x), generator))


class GradientGibbsState(NamedTuple):
    """x [B, *shape], its energy [B] and score [B, *shape], and the memory for uniform draws [B]."""

    x: Tensor
    energy: Tensor
    score: Tensor
    uniform: Tensor


@final
@dataclass(frozen=True)
class GibbsWithGradients:
    """Gibbs with gradients: one site a step, proposed where the gradient expects a gain, then
    accepted or not.

    Choose it for energies of many sites that autograd can differentiate. Binary sites have two
    `values`; None takes one-hot x. The energy must also be defined, and smooth, between the states.
    """

    values: Values = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_values(self.values)

    @property
    def kind(self) -> str:
        return "density"

    def init(self, field: Field, x: Tensor) -> GradientGibbsState:
        x = check_states(x, self.values).clone()
        energy, score = field.energy_and_score(x)
        return GradientGibbsState(x, check_digits(energy), score, x.new_empty(len(x)))

    def step(
        self, field: Field, state: GradientGibbsState, generator: Randomness
    ) -> tuple[GradientGibbsState, Accepted]:
        free = free_sites(field, state.x, self.values)
        log_q = self.log_proposal(state.x, state.score, free)
        move = pick(log_q.exp(), uniform_(state.uniform, generator))
        x, back = self.move(state.x, move)
        new = GradientGibbsState(x, *field.energy_and_score(x), state.uniform)
        reverse = self.log_proposal(new.x, new.score, free)
        log_ratio = state.energy - new.energy + take(reverse, back) - take(log_q, move)
        accept, keep = decide(log_ratio, new.energy, generator)
        x, energy, score = (choose(keep, a, b) for a, b in zip(new[:3], state[:3], strict=True))
        return GradientGibbsState(x, energy, score, state.uniform), Accepted(accept)

    def log_proposal(self, x: Tensor, score: Tensor, free: Tensor | None = None) -> Tensor:
        """log q of every move, [B, sites] (flips) or [B, sites * K] (site and new state); -inf for
        none, and where not `free`.
        """
        if self.values is not None:
            gain = ((sum(self.values) - 2 * x) * score).flatten(1)[..., None]
        else:
            gain = (
                (score - (x * score).sum(-1, keepdim=True))
                .masked_fill(x > 0, -torch.inf)
                .flatten(1, -2)
            )
        if free is not None:
            gain = gain.masked_fill(~free[..., None], -torch.inf)
        return gain.flatten(1).div(2).log_softmax(1)

    def move(self, x: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        """x after the moves [B], and the moves that lead back, [B]."""
        k = 1 if self.values is not None else states(x, None)
        rows, site = torch.arange(len(x), device=x.device), move // k
        units = x.reshape(len(x), -1, k).clone()  # [B, sites, K], or [B, sites, 1]
        here = units[rows, site]
        if self.values is not None:
            units[rows, site] = sum(self.values) - here
            return units.reshape(x.shape), move
        units[rows, site] = torch.zeros_like(here).scatter_(1, (move % k)[:, None], 1.0)
        return units.reshape(x.shape), site * k + here.argmax(1)


def take(table: Tensor, index: Tensor) -> Tensor:
    """table [B, M] at index [B], [B]."""
    return table.gather(1, index[:, None])[:, 0]

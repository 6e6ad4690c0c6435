r"""Gibbs sampling: draw a part of x from its conditional law given the rest. No step size, nothing
rejected.

| sampler | draws | asks for | |---|---|---| | `Gibbs` | one site after another, from its
conditional law | an energy of discrete x: K - 1 evaluations a site | | `CheckerboardGibbs` | the
sites of one colour, then of the other | an energy affine in each (Ising, Potts): two scores a sweep
| | `BlockGibbs` | all hidden units given v, then v given them | a bipartite model (`models.rbm`) |
| `GibbsWithGradients` | one site where the gradient expects a gain, accepted or not | an energy and
its gradient: one a step | | `GibbsLangevin` | all hidden units, then Langevin steps in v given them
| a Gaussian-Bernoulli machine |

Layouts of discrete x are those of `core.discrete`: binary with two `values`, or one-hot with
`values=None`. Inside `Masked` what is pinned stays, and the rest follows the exact conditional law
(all but Gibbs-Langevin). Gibbs with gradients proposes the move from state a to b of site i with
probability

.. math:: q(i, b \mid x) \propto e^{d_{ib}(x)/2}, \qquad d_{ib}(x) = (e_b - e_a)^\top s_i(x) \approx \log p(x') - \log p(x),

and accepts by Metropolis-Hastings, so it is exact whatever the gradient is worth. Gibbs-Langevin
moves :math:`u = (v - m_h)/\sigma` by :math:`u' = (1 - \eta) u + \sqrt{2\eta}\, z`, the Langevin
step of p(v | h), with eta in units of each visible unit's variance (Liao et al. take one step size
for all). Unadjusted, it settles at the variance :math:`\sigma^2/(1 - \eta/2)`; adjusted, at
:math:`\sigma^2`. Nothing here depends on the size of the batch.

References: Geman & Geman (1984); Grathwohl et al. (2021), Oops I Took A Gradient: Scalable Sampling
for Discrete Distributions, arXiv 2102.04509, algorithm 1; Liao et al. (2022), Gaussian-Bernoulli
RBMs Without Tears, arXiv 2210.10318.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from gradlogp.core.discrete import Values, check_states, check_values, moved, sites, states
from gradlogp.core.fields import Field, MaskedField, column
from gradlogp.core.random import Randomness, normal_, seeded, uniform_
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


@runtime_checkable
class Bipartite(Protocol):
    """Two layers, each drawn as a whole given the other."""

    def sample_hidden(self, v: Tensor, generator: Randomness) -> Tensor: ...

    def sample_visible(self, h: Tensor, generator: Randomness) -> Tensor: ...


@runtime_checkable
class Gaussian(Protocol):
    """Hidden units given v; v given them is N(visible(h), variance)."""

    variance: Tensor

    def sample_hidden(self, v: Tensor, generator: Randomness) -> Tensor: ...

    def visible(self, h: Tensor) -> Tensor: ...


def bipartite(field: Field) -> Bipartite:
    """The two-layered model behind a field: the field itself, or the model that it is the energy
    of.
    """
    field = field.field if isinstance(field, MaskedField) else field
    model = getattr(field, "function", field)
    if isinstance(model, Bipartite):
        return model
    raise ValueError(
        "block Gibbs needs a model of two layers (sample_hidden, sample_visible), got"
        f" {type(model).__name__}; pass an RBM's field, or use Gibbs or GibbsWithGradients."
    )


class BlockState(NamedTuple):
    """v [B, *shape]: a chain of two layers remembers the visible one."""

    x: Tensor


class BlockInfo(NamedTuple):
    """The hidden units that v was drawn from, [B, H]."""

    hidden: Tensor


@final
@dataclass(frozen=True)
class BlockGibbs:
    """Block Gibbs sampling: the hidden layer given the visible one, then the visible one, each as a
    whole.

    The sampler for restricted Boltzmann machines, and the one to train them with:
    `ContrastiveDivergence(BlockGibbs(), ...)`.
    """

    @property
    def kind(self) -> str:
        return "density"

    def init(self, field: Field, x: Tensor) -> BlockState:
        bipartite(field)
        return BlockState(x.clone())

    def step(
        self, field: Field, state: BlockState, generator: Randomness
    ) -> tuple[BlockState, BlockInfo]:
        model = bipartite(field)
        h = model.sample_hidden(state.x, generator)
        v = model.sample_visible(h, generator)
        return BlockState(
            torch.where(field.mask, v, state.x) if isinstance(field, MaskedField) else v
        ), BlockInfo(h)


@final
@dataclass(frozen=True)
class GibbsLangevin:
    """Gibbs-Langevin for Gaussian-Bernoulli machines: the hidden units, then `inner` Langevin steps
    in v given them.

    step_size is in units of the visible variance, in (0, 2); `adjust` accepts or rejects each inner
    step, and is exact.
    """

    step_size: float = 0.1
    inner: int = 10
    adjust: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.step_size < 2 or self.inner < 1:
            raise ValueError(
                "Gibbs-Langevin needs step_size in (0, 2), where the chain is stable, and inner >="
                f" 1, got {self.step_size} and {self.inner}."
            )

    @property
    def kind(self) -> str:
        return "density"

    def init(self, field: Field, x: Tensor) -> BlockState:
        self._model(field)
        return BlockState(x.clone())

    def step(
        self, field: Field, state: BlockState, generator: Randomness
    ) -> tuple[BlockState, Accepted]:
        model = self._model(field)
        mean = model.visible(model.sample_hidden(state.x, generator))
        std = model.variance.sqrt()
        u, accept = (self._metropolis if self.adjust else self._at_once)(
            (state.x - mean) / std, generator
        )
        return BlockState(torch.addcmul(mean, u, std)), Accepted(accept)

    def _at_once(self, u: Tensor, generator: Randomness) -> tuple[Tensor, Tensor]:
        """`inner` unadjusted steps are an AR(1) process, of variance 1 / (1 - eta / 2) in the end:
        taken as one, with one draw.
        """
        shrink = (1 - self.step_size) ** self.inner
        tau = math.sqrt((1 - shrink**2) / (1 - self.step_size / 2))
        return u.mul_(shrink).add_(normal_(torch.empty_like(u), generator), alpha=tau), u.new_ones(
            len(u)
        )

    def _metropolis(self, u: Tensor, generator: Randomness) -> tuple[Tensor, Tensor]:
        """The log-ratio of a Langevin step on N(0, 1) is eta (|u|^2 - |u'|^2) / 4."""
        eta = self.step_size
        noise = torch.empty_like(u)
        uniform = u.new_empty(len(u))
        total = torch.zeros_like(uniform)
        for _ in range(self.inner):
            new = torch.add((1 - eta) * u, normal_(noise, generator), alpha=math.sqrt(2 * eta))
            accept = (eta / 4 * (u.square() - new.square()).flatten(1).sum(1)).clamp_(max=0).exp_()
            u = torch.where(column(uniform_(uniform, generator) < accept, u), new, u)
            total += accept
        return u, total / self.inner

    @staticmethod
    def _model(field: Field) -> Gaussian:
        model = getattr(field, "function", field)
        if isinstance(model, Gaussian):
            return model
        raise ValueError(
            f"Gibbs-Langevin needs a Gaussian-Bernoulli machine, but got {type(model).__name__}; "
            "pass a GaussianRBM's field, or use Langevin."
        )


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

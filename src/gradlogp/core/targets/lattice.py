r"""Ising and Potts models on a square lattice: discrete laws :math:`p(x) = e^{-E(x)}/Z` with Z and
samples exact.

.. math:: E_{Ising} = -J \sum_{\langle ij \rangle} s_i s_j - h \sum_i s_i, \qquad
          E_{Potts} = -J \sum_{\langle ij \rangle} [c_i = c_j] - \sum_i h_{c_i},

at temperature 1 (J stands for :math:`\beta J`). Row by row they are Markov chains: with the
transfer matrix :math:`T_{rr'} = e^{-E(r)/2 - E(r, r') - E(r')/2}` between rows, Z is
:math:`\mathrm{tr}\, T^n` on a torus, and rows are sampled one after another. On a torus with a side
of 2 each bond there counts twice, as it does in Kaufman's formula.

Both energies are linear in each variable, so that the score, -dE/dx, *is* the vector of conditional
logits.

References: Kramers & Wannier (1941), Statistics of the Two-Dimensional Ferromagnet I (transfer
matrix); Potts (1952); Grathwohl et al. (2021), Oops I Took A Gradient, arXiv 2102.04509, section 3
(gradients of discrete energies).
"""

import abc
import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot, pad

from gradlogp.core.fields import Field
from gradlogp.core.inputs import check_numbers
from gradlogp.core.random import check_generator

MOST_ROWS = 1024  # states of one row, for the transfer matrix
MOST_STATES = 2**16  # states of the lattice, for enumeration


@dataclass(frozen=True)
class Lattice(Field):
    """A pair model on height x width sites of q colours each: energy, score = conditional logits,
    states, log Z, samples.
    """

    height: int = 4
    width: int = 4
    coupling: float = 0.3
    periodic: bool = True

    @property
    @abc.abstractmethod
    def site(self) -> tuple[int, ...]:
        """The shape of one site of x."""

    @abc.abstractmethod
    def encode(self, colours: Tensor) -> Tensor:
        """Colours 0 ... q - 1, [B, height, width], as x, [B, *shape], float64."""

    @abc.abstractmethod
    def weights(self) -> tuple[Tensor, Tensor]:
        """The log-weights of a bond [q, q] and of a site [q] by their colours, float64."""

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 + self.periodic:
            raise ValueError(
                f"a lattice has sides of 1 or more, a torus of 2 or more, got {self.height} x"
                f" {self.width}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.height, self.width, *self.site)

    @property
    def has_energy(self) -> bool:
        return True

    def conditional(self, x: Tensor) -> Tensor:
        """The logits of each variable given all others, shaped as x: the score, since energies are
        linear in each.
        """
        return self.score(x)

    def _grid(self, x: Tensor) -> Tensor:
        if check_numbers(x)[0].numel() != math.prod(self.shape):
            raise ValueError(
                f"expected x of shape [B, {', '.join(map(str, self.shape))}], or flat in each"
                f" example, got {list(x.shape)}."
            )
        return x.reshape(-1, *self.shape)

    def _neighbours(self, s: Tensor) -> Tensor:
        """The sum over the neighbours of each site, for s [B, height, width, *site]."""
        if self.periodic:
            return s.roll(1, 1) + s.roll(-1, 1) + s.roll(1, 2) + s.roll(-1, 2)
        p = pad(s, (0, 0) * len(self.site) + (1, 1, 1, 1))
        return p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:]

    def states(self) -> Tensor:
        """All x, [q^(height width), *shape]; ValueError where they are too many."""
        q, sites = len(self.weights()[1]), self.height * self.width
        if q**sites > MOST_STATES:
            raise ValueError(
                f"{q}^{sites} states are too many to list (the most is {MOST_STATES}); log_z and"
                " sample need no list."
            )
        return self.encode(words(q, sites).view(-1, self.height, self.width))

    def log_z(self) -> float:
        weights, log_scale, _ = self._first
        return float(weights.sum().log() + log_scale)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent exact draws, [n, *shape], on the CPU: the first row, then each given its
        neighbour and what must follow.
        """
        check_generator(generator)
        first, _, messages = self._first
        rows = [torch.multinomial(first, n, replacement=True, generator=generator)]
        for message in reversed(messages[:-1]):
            follow = message[:, rows[0]].T if self.periodic else message.T
            rows.append(
                torch.multinomial(self._transfer[0][rows[-1]] * follow, 1, generator=generator)[
                    :, 0
                ]
            )
        colours = torch.stack([self._transfer[2][r] for r in rows], 1)
        return self.encode(colours if self.width <= self.height else colours.transpose(1, 2))

    @cached_property
    def _transfer(self) -> tuple[Tensor, Tensor, Tensor]:
        """The transfer matrix [R, R] between rows along the shorter side, the root of a row's
        weight [R], the rows [R, side].
        """
        (bond, site), side = self.weights(), min(self.height, self.width)
        if (n := len(site) ** side) > MOST_ROWS:
            raise ValueError(
                f"log Z and exact samples need all rows of the shorter side, but {n} are too many"
                f" (the most is {MOST_ROWS}); take a smaller lattice."
            )
        rows = words(len(site), side)
        alone = site[rows].sum(1) + bond[rows[:, :-1], rows[:, 1:]].sum(1)
        if self.periodic:
            alone = alone + bond[rows[:, -1], rows[:, 0]]
        between = torch.stack([bond[c[:, None], c] for c in rows.T]).sum(0)
        return (between + (alone[:, None] + alone) / 2).exp(), (alone / 2).exp(), rows

    @cached_property
    def _first(self) -> tuple[Tensor, float, list[Tensor]]:
        """The first row's weights [R], which sum to Z exp(-log_scale), and the messages M_1 ... M_n
        from the rows that follow.

        M_j = T M_{j-1}, from M_1 = T on a torus and the root of a row's weight on a free lattice,
        scaled to a largest entry of 1.
        """
        transfer, root, _ = self._transfer
        messages = [transfer if self.periodic else root[:, None]]
        log_scale = 0.0
        for _ in range(max(self.height, self.width) - 1):
            message = transfer @ messages[-1]
            log_scale += float(message.max().log())
            messages.append(message / message.max())
        return (
            messages[-1].diagonal() if self.periodic else root * messages[-1][:, 0],
            log_scale,
            messages,
        )


def words(q: int, n: int) -> Tensor:
    """All q^n words of n letters, [q^n, n]."""
    return torch.cartesian_prod(*[torch.arange(q)] * n).view(-1, n)


@final
@dataclass(frozen=True)
class Ising(Lattice):
    """The Ising model: for samplers and objectives of binary x, with a phase transition.

    Spins s = 2x - 1 with x in {0, 1}, shape [B, height, width], or flat [B, height * width].
    """

    field: float = 0.0

    @property
    def site(self) -> tuple[int, ...]:
        return ()

    def encode(self, colours: Tensor) -> Tensor:
        return colours.double()

    def weights(self) -> tuple[Tensor, Tensor]:
        spins = torch.tensor([-1.0, 1.0], dtype=torch.float64)
        return self.coupling * spins[:, None] * spins, self.field * spins

    def energy(self, x: Tensor) -> Tensor:
        s = 2 * self._grid(x) - 1
        return -(s * (self.coupling / 2 * self._neighbours(s) + self.field)).flatten(1).sum(1)

    def score(self, x: Tensor) -> Tensor:
        """-dE/dx, shaped as x: the log-odds of x_i = 1 given all others."""
        return (2 * (self.coupling * self._neighbours(2 * self._grid(x) - 1) + self.field)).view_as(
            x
        )


@final
@dataclass(frozen=True)
class Potts(Lattice):
    """The Potts model: for samplers and objectives of one-hot x.

    One of q colours per site, one-hot, shape [B, height, width, q], or flat in each example. field:
    one entry per colour; None is zero.
    """

    q: int = 3
    field: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.field is not None and len(self.field) != self.q:
            raise ValueError(
                f"a Potts field has one entry for each of {self.q} colours, got {len(self.field)};"
                " None is zero."
            )

    @property
    def site(self) -> tuple[int, ...]:
        return (self.q,)

    def _field(self) -> Tensor:
        return torch.tensor(self.field or (0.0,) * self.q, dtype=torch.float64)

    def encode(self, colours: Tensor) -> Tensor:
        return one_hot(colours, self.q).double()

    def weights(self) -> tuple[Tensor, Tensor]:
        return self.coupling * torch.eye(self.q, dtype=torch.float64), self._field()

    def energy(self, x: Tensor) -> Tensor:
        c = self._grid(x)
        return (
            -(c * (self.coupling / 2 * self._neighbours(c) + self._field().to(x))).flatten(1).sum(1)
        )

    def score(self, x: Tensor) -> Tensor:
        """-dE/dx, shaped as x: the logits of each site's colour given all others."""
        return (self.coupling * self._neighbours(self._grid(x)) + self._field().to(x)).view_as(x)

r"""Restricted Boltzmann machines: visible v, binary hidden h, and no edge within a layer,

.. math:: E(v, h) = E_V(v) - b^\top h - \hat v^\top W h, \qquad F(v) = E_V(v) - \sum_j \mathrm{softplus}(b + W^\top \hat v)_j .

The model's energy is the *free energy* F, h summed out: :math:`p(v) = e^{-F(v)} / Z`, so that every
objective and sampler for energies serves it. Given one layer, the units of the other are
independent: :math:`p(h_j = 1 \mid v)` is the sigmoid of :math:`(b + W^\top \hat v)_j`, and

| machine | visible energy | :math:`\hat v` | v given h | |---|---|---|---| | `BernoulliRBM` |
:math:`-a^\top v` | v | Bernoulli, sigmoid(a + W h) | | `GaussianRBM` | :math:`\sum_i (v_i -
\mu_i)^2 / 2\sigma_i^2` | :math:`v / \sigma^2` | :math:`\mathcal N(\mu + W h, \sigma^2)` |

The energy is a sum over the example and is never divided by the batch: dividing it would make the
temperature of every chain depend on how many run beside it.

Shapes: v [B, *shape] with D entries each, h [B, H], W [D, H]. With few units log Z is exact, by
enumeration of either layer.

References: Smolensky (1986); Hinton (2002), Training Products of Experts; Cho et al. (2011),
Improved Learning of Gaussian-Bernoulli RBMs, and Liao et al. (2022), Gaussian-Bernoulli RBMs
Without Tears, arXiv 2210.10318 (this energy); Salakhutdinov & Murray (2008), On the Quantitative
Analysis of Deep Belief Networks (the path of machines).
"""

import abc
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gradlogp.core.random import Randomness, normal_, uniform_
from gradlogp.models.energy import EnergyModel

LIMIT = 24
CHUNK = 2**14  # units that are enumerated at most, and states at a time


def binary_states(units: int, like: Tensor) -> Iterator[Tensor]:
    """All 2^units binary vectors, [n, units], in chunks; unit 0 changes slowest. ValueError where
    they are too many.
    """
    if units > LIMIT:
        raise ValueError(
            f"enumeration takes at most {LIMIT} units, but here are {units}, so 2^{units} states; "
            "enumerate the smaller layer, or estimate log Z by gradlogp.tasks.ais."
        )
    places = torch.arange(units - 1, -1, -1, device=like.device)
    for first in range(0, 2**units, CHUNK):
        numbers = torch.arange(first, min(first + CHUNK, 2**units), device=like.device)
        yield (numbers[:, None] >> places & 1).to(like.dtype)


class RBM(EnergyModel):
    """What both machines share: everything but the law of the visible units."""

    shape: tuple[int, ...]
    weight: nn.Parameter
    hidden_bias: nn.Parameter

    @classmethod
    def of(cls, weight: Tensor, *parameters: Any, **more: Any) -> Self:
        """The machine with these parameters, in the order of the constructor's tensors, `weight`
        [D, H] first.
        """
        machine = cls.__new__(cls)
        nn.Module.__init__(machine)
        machine._hold((len(weight),), weight, *parameters, **more)
        return machine

    @abc.abstractmethod
    def _hold(self, shape: Sequence[int], weight: Tensor, *parameters: Any) -> None:
        """Take the parameters in."""

    @abc.abstractmethod
    def visible_energy(self, v: Tensor) -> Tensor:
        """E_V, the visible units' own energy, [B]."""

    @abc.abstractmethod
    def drive(self, v: Tensor) -> Tensor:
        """The hidden units' log-odds given v, [B, H]."""

    @abc.abstractmethod
    def visible(self, h: Tensor) -> Tensor:
        """The mean of v given h, [B, *shape]."""

    @abc.abstractmethod
    def sample_visible(self, h: Tensor, generator: Randomness) -> Tensor:
        """v given h, [B, *shape]."""

    @abc.abstractmethod
    def hidden_energy(self, h: Tensor) -> Tensor:
        """-log of the sum (or integral) over v of exp(-E(v, h)), [B]."""

    @abc.abstractmethod
    def base(self, data: Tensor) -> tuple[Tensor, ...]:
        """The parameters of the visible units alone that fit data [n, *shape]: where a path to the
        machine begins.
        """

    @abc.abstractmethod
    def tempered(self, beta: float, *base: Tensor) -> Self:
        r"""The machine of :math:`\beta E(v, h) + (1 - \beta) E_0(v)` up to a constant that is 0 at
        both ends.

        E_0 is the visible energy with the parameters `base`: the visible bias, or the mean and the
        log-variance.
        """

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is not None:
            raise ValueError(
                "a restricted Boltzmann machine takes no `cond`, but got one; train one machine for"
                " each class."
            )
        return self.visible_energy(x) - softplus(self.drive(x)).sum(1)

    def joint(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) for v [B, *shape] and h [B, H], [B]."""
        return self.visible_energy(v) - (self.drive(v) * h).sum(1)

    def hidden(self, v: Tensor) -> Tensor:
        """The probability of each hidden unit given v, [B, H]."""
        return self.drive(v).sigmoid()

    def features(self, x: Tensor) -> Tensor:
        """The embedding of x: its hidden units' probabilities, [B, H]."""
        return self.hidden(x)

    def sample_hidden(self, v: Tensor, generator: Randomness) -> Tensor:
        """h given v, [B, H] of 0 and 1."""
        return bernoulli(self.hidden(v), generator)

    def log_z(self, by: str = "hidden") -> Tensor:
        """The exact log partition function by enumeration of one layer, `by` = 'hidden' or
        'visible', or of both, 'joint'; 0-d.

        ValueError where there are more than 24 units to enumerate, or visible units that are not
        binary.
        """
        ways: dict[str, Callable[[], Tensor]] = {
            "hidden": self._by_hidden,
            "visible": self._by_visible,
            "joint": self._by_joint,
        }
        if by not in ways:
            raise ValueError(f"log Z is enumerated by 'hidden', 'visible' or 'joint', got {by!r}.")
        with torch.no_grad():
            return ways[by]()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n exact and independent draws [n, *shape], by enumeration of the hidden units."""
        with torch.no_grad():
            states = torch.cat(list(binary_states(self.weight.shape[1], self.weight)))
            weights = (-self.hidden_energy(states)).softmax(0)
            edges = weights.cumsum(0)  # not torch.multinomial, which takes at most 2^24 states
            drawn = uniform_(weights.new_empty(n), generator) * edges[-1]
            return self.sample_visible(
                states[torch.searchsorted(edges, drawn).clamp(max=len(edges) - 1)], generator
            )

    def _flat(self, v: Tensor) -> Tensor:
        if v.shape[1:].numel() != len(self.weight):
            raise ValueError(
                f"this machine has {len(self.weight)} visible units, shape {list(self.shape)}, but"
                f" got v of shape {list(v.shape)}; build it with shape={tuple(v.shape[1:])}."
            )
        return v.flatten(1)

    def _by_hidden(self) -> Tensor:
        return torch.stack(
            [(-self.hidden_energy(h)).logsumexp(0) for h in self._states(1)]
        ).logsumexp(0)

    def _by_visible(self) -> Tensor:
        return torch.stack([(-self(v)).logsumexp(0) for v in self._states(0)]).logsumexp(0)

    def _by_joint(self) -> Tensor:
        units = len(self.weight)
        parts = [-self.joint(vh[:, :units], vh[:, units:]) for vh in self._states(0, 1)]
        return torch.stack([p.logsumexp(0) for p in parts]).logsumexp(0)

    def _states(self, *layers: int) -> Iterator[Tensor]:
        if 0 in layers and not isinstance(self, BernoulliRBM):
            raise ValueError(
                "these visible units are continuous, so only the hidden ones can be enumerated; use"
                " by='hidden'."
            )
        return binary_states(sum(self.weight.shape[layer] for layer in layers), self.weight)


@final
class BernoulliRBM(RBM):
    """A restricted Boltzmann machine of binary units, for binary data; small ones can be
    enumerated.

    v [B, *shape] of 0 and 1, `hidden` hidden units. `std` is that of the first weights; biases
    begin at 0. With data at hand, begin `visible_bias` at its `log_odds`.
    """

    def __init__(self, shape: Sequence[int], hidden: int, std: float = 0.01) -> None:
        super().__init__()
        units = math.prod(shape)
        self._hold(shape, std * torch.randn(units, hidden), torch.zeros(units), torch.zeros(hidden))

    def _hold(
        self, shape: Sequence[int], weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor
    ) -> None:
        self.shape = tuple(shape)
        self.weight, self.visible_bias, self.hidden_bias = map(
            nn.Parameter, (weight, visible_bias, hidden_bias)
        )

    def visible_energy(self, v: Tensor) -> Tensor:
        return -self._flat(v) @ self.visible_bias

    def drive(self, v: Tensor) -> Tensor:
        return torch.addmm(self.hidden_bias, self._flat(v), self.weight)

    def _odds(self, h: Tensor) -> Tensor:
        return torch.addmm(self.visible_bias, h, self.weight.T)

    def visible(self, h: Tensor) -> Tensor:
        return self._odds(h).sigmoid().reshape(-1, *self.shape)

    def sample_visible(self, h: Tensor, generator: Randomness) -> Tensor:
        return bernoulli(self.visible(h), generator)

    def hidden_energy(self, h: Tensor) -> Tensor:
        return -h @ self.hidden_bias - softplus(self._odds(h)).sum(1)

    def base(self, data: Tensor) -> tuple[Tensor, ...]:
        return (log_odds(data),)

    def tempered(self, beta: float, *base: Tensor) -> Self:
        (bias,) = base
        machine = self.of(
            beta * self.weight,
            torch.lerp(bias.flatten(), self.visible_bias, beta),
            beta * self.hidden_bias,
        )
        machine.shape = self.shape
        return machine


@final
class GaussianRBM(RBM):
    """A Gaussian-Bernoulli restricted Boltzmann machine, for real data: a mixture of 2^hidden
    Gaussians.

    v [B, *shape] real, `hidden` binary hidden units. `std` is that of the first weights. Each
    visible unit has a `variance` of its own, learned as its logarithm or, with
    `learn_variance=False`, left as it is. Standardise the data first.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int,
        std: float = 0.01,
        variance: float = 1.0,
        learn_variance: bool = True,
    ) -> None:
        super().__init__()
        if variance <= 0:
            raise ValueError(f"variance is positive, got {variance}; 1 suits standardised data.")
        units = math.prod(shape)
        self._hold(
            shape,
            std * torch.randn(units, hidden),
            torch.zeros(units),
            torch.full((units,), math.log(variance)),
            torch.zeros(hidden),
            learn_variance,
        )

    def _hold(
        self,
        shape: Sequence[int],
        weight: Tensor,
        mean: Tensor,
        log_variance: Tensor,
        hidden_bias: Tensor,
        learn_variance: bool = True,
    ) -> None:
        self.shape = tuple(shape)
        self.weight, self.mean, self.hidden_bias = map(nn.Parameter, (weight, mean, hidden_bias))
        self.log_variance = nn.Parameter(log_variance, requires_grad=learn_variance)

    @property
    def variance(self) -> Tensor:
        """The variance of each visible unit given h, [*shape]."""
        return self.log_variance.exp().reshape(self.shape)

    def visible_energy(self, v: Tensor) -> Tensor:
        return ((self._flat(v) - self.mean).square() * (-self.log_variance).exp()).sum(1) / 2

    def drive(self, v: Tensor) -> Tensor:
        return torch.addmm(
            self.hidden_bias, self._flat(v) * (-self.log_variance).exp(), self.weight
        )

    def visible(self, h: Tensor) -> Tensor:
        return torch.addmm(self.mean, h, self.weight.T).reshape(-1, *self.shape)

    def sample_visible(self, h: Tensor, generator: Randomness) -> Tensor:
        mean = self.visible(h)
        return torch.addcmul(mean, normal_(torch.empty_like(mean), generator), self.variance.sqrt())

    def hidden_energy(self, h: Tensor) -> Tensor:
        gain = ((h @ self.weight.T + self.mean).square() - self.mean.square()) * (
            -self.log_variance
        ).exp()
        return -h @ self.hidden_bias - (gain + self.log_variance + math.log(2 * math.pi)).sum(1) / 2

    def base(self, data: Tensor) -> tuple[Tensor, ...]:
        return (
            data.mean(0),
            data.var(0).clamp(min=1e-6).log(),
        )  # a pixel that never changes still has a law

    def tempered(self, beta: float, *base: Tensor) -> Self:
        mean, log_variance = (b.flatten() for b in base)
        here, there = (
            beta * (-self.log_variance).exp(),
            (1 - beta) * (-log_variance).exp(),
        )  # precisions add
        share = here / (here + there)
        machine = self.of(
            share[:, None] * self.weight,
            torch.lerp(mean, self.mean, share),
            -(here + there).log(),
            beta * self.hidden_bias,
        )
        machine.shape = self.shape
        return machine


def log_odds(v: Tensor) -> Tensor:
    """The base rates of binary data v [n, *shape] as log-odds [*shape], with one example of each
    kind added: always finite.
    """
    rate = (v.sum(0) + 1) / (len(v) + 2)
    return rate.logit()


def bernoulli(p: Tensor, generator: Randomness) -> Tensor:
    """1 with probability p, else 0, in the shape and type of p."""
    return (uniform_(torch.empty_like(p), generator) < p).to(p.dtype)

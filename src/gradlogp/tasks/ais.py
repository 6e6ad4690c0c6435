r"""Annealed importance sampling: the log partition function of an energy, with a standard error and
a bracket.

From a base law whose :math:`Z_0` is known to the target runs a path of energies :math:`E_\beta`,
beta from 0 to 1. A chain that starts at a draw of the base and takes a step that keeps
:math:`p_{\beta_k}` at each beta in turn carries the weight

.. math:: \log w = \sum_k E_{\beta_{k-1}}(x_k) - E_{\beta_k}(x_k), \qquad \mathbb E[w] = Z_1/Z_0 .

The mean of w is unbiased, but its logarithm is too low on average, by Jensen: :math:`\log Z_0 +
\log\bar w` is a stochastic *lower* bound, below log Z but for luck. Run from draws of the *target*
down to the base the same gives :math:`\mathbb E[w] = Z_0/Z_1`, and a stochastic *upper* bound.
Together they bracket log Z, and their gap says what the ladder is worth, which the standard error
of one direction does not: chains that all miss a mode agree with each other.

The steps must keep the density: samplers of kind 'density' are taken and generators refused.
Metropolis and Gibbs samplers are exact; unadjusted Langevin adds its own bias, of the order of its
step size.

References: Neal (2001), Annealed Importance Sampling, arXiv physics/9803008, section 2;
Salakhutdinov & Murray (2008), On the Quantitative Analysis of Deep Belief Networks (the path of
machines, the ladder); Burda et al. (2015), Accurate and Conservative Estimates of MRF
Log-likelihood using Reverse Annealing, arXiv 1412.8566; Grosse et al. (2015), arXiv 1511.02543 (the
bracket).
"""

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, final

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from gradlogp.core.errors import UserError
from gradlogp.core.fields import Energy, Field, Scaled, Sum, as_field
from gradlogp.core.kernel import Sampler, run
from gradlogp.core.random import Randomness, normal_, uniform_
from gradlogp.models.rbm import RBM, bernoulli
from gradlogp.tasks.likelihood import check_temperature


class Base(Protocol):
    """A law that is easy: its draws, and its energy with log Z = 0."""

    def energy(self, x: Tensor) -> Tensor: ...

    def sample(self, n: int, generator: Randomness) -> Tensor: ...


@final
@dataclass(frozen=True)
class NormalBase:
    """Independent Gaussians; mean and std: [*shape]."""

    mean: Tensor
    std: Tensor

    def energy(self, x: Tensor) -> Tensor:
        return (
            (
                ((x - self.mean) / self.std).square() / 2
                + (self.std.log() + math.log(2 * math.pi) / 2)
            )
            .flatten(1)
            .sum(1)
        )

    def sample(self, n: int, generator: Randomness) -> Tensor:
        return torch.addcmul(
            self.mean, normal_(self.mean.new_empty(n, *self.mean.shape), generator), self.std
        )


@final
@dataclass(frozen=True)
class BernoulliBase:
    """Independent binary sites of two `values`, with the log-odds [*shape] of the high one."""

    log_odds: Tensor
    values: tuple[float, float] = (0.0, 1.0)

    def energy(self, x: Tensor) -> Tensor:
        low, high = self.values
        return (
            (softplus(self.log_odds) - (x - low) / (high - low) * self.log_odds).flatten(1).sum(1)
        )

    def sample(self, n: int, generator: Randomness) -> Tensor:
        low, high = self.values
        return low + (high - low) * bernoulli(
            self.log_odds.sigmoid().expand(n, *self.log_odds.shape), generator
        )


@final
@dataclass(frozen=True)
class OneHotBase:
    """Independent categorical sites, one-hot, with the logits [*sites, K] of their states."""

    logits: Tensor

    def energy(self, x: Tensor) -> Tensor:
        return -(x * self.logits.log_softmax(-1)).flatten(1).sum(1)

    def sample(self, n: int, generator: Randomness) -> Tensor:
        u = uniform_(self.logits.new_empty(n, *self.logits.shape), generator)
        return one_hot((self.logits - (-u.log()).log()).argmax(-1), self.logits.shape[-1]).to(
            self.logits.dtype
        )


class Bridge(abc.ABC):
    """A path of energies from a base law (beta = 0) to the target (beta = 1)."""

    @property
    @abc.abstractmethod
    def log_z_base(self) -> float: ...

    @abc.abstractmethod
    def sample(self, n: int, generator: Randomness) -> Tensor:
        """Draws of the base law, [n, *shape]."""

    @abc.abstractmethod
    def at(self, beta: float) -> Field:
        """The field in between, for a sampler."""

    @abc.abstractmethod
    def drop(self, x: Tensor, here: float, there: float) -> Tensor:
        """E_here(x) - E_there(x), [B]."""


@final
@dataclass(frozen=True)
class Geometric(Bridge):
    r"""The geometric path :math:`E_\beta = (1 - \beta) E_0 + \beta E` from a base law to anything
    with an energy.
    """

    base: Base
    target: Any

    @cached_property
    def field(self) -> Field:
        return as_field(self.target)

    @property
    def log_z_base(self) -> float:
        return 0.0

    def sample(self, n: int, generator: Randomness) -> Tensor:
        return self.base.sample(n, generator)

    def at(self, beta: float) -> Field:
        return Sum((Scaled(Energy(self.base.energy), 1 - beta), Scaled(self.field, beta)))

    def drop(self, x: Tensor, here: float, there: float) -> Tensor:
        return (there - here) * (self.base.energy(x) - self.field.energy(x))


@final
@dataclass(frozen=True)
class Machines(Bridge):
    """The path of tempered restricted Boltzmann machines, for BlockGibbs: every law on it is such a
    machine.

    base: the parameters of the visible units at beta = 0; `rbm.base(data)` are the data's own
    rates, or means and variances.
    """

    rbm: RBM
    base: tuple[Tensor, ...]

    @cached_property
    def _first(self) -> RBM:
        return self.rbm.tempered(0.0, *self.base)

    @property
    def _silent(self) -> Tensor:
        return torch.zeros_like(self.rbm.hidden_bias)[None]

    @property
    def log_z_base(self) -> float:
        return float(
            -self._first.hidden_energy(self._silent).detach()
        ) + self.rbm.hidden_bias.numel() * math.log(2)

    def sample(self, n: int, generator: Randomness) -> Tensor:
        return self._first.sample_visible(self._silent.expand(n, -1), generator)

    def at(self, beta: float) -> Field:
        return self.rbm.tempered(beta, *self.base).field()

    def drop(self, x: Tensor, here: float, there: float) -> Tensor:
        drive = self.rbm.drive(x)
        visible = (there - here) * (self._first.visible_energy(x) - self.rbm.visible_energy(x))
        return visible + (softplus(there * drive) - softplus(here * drive)).sum(1)


@final
@dataclass(frozen=True)
class Estimate:
    """An estimate of log Z in nats, from log-weights [n]; `sign` is -1 where they are those of Z_0
    / Z.
    """

    log_z_base: float
    log_weights: Tensor
    sign: int = 1

    @property
    def value(self) -> float:
        mean = self.log_weights.logsumexp(0) - math.log(len(self.log_weights))
        return self.log_z_base + self.sign * float(mean)

    @property
    def error(self) -> float:
        """The standard error of `value`, by the delta method: only of the weights seen, and
        infinite for a single one.
        """
        if len(self.log_weights) < 2:
            return math.inf
        share = self.log_weights.softmax(0) * len(self.log_weights)
        return float(share.std()) / math.sqrt(len(share))

    @property
    def ess(self) -> float:
        """The effective number of chains, 1 to n: (sum w)^2 / sum w^2."""
        return 1 / float(self.log_weights.softmax(0).square().sum())

    def log_likelihood(self, model: Any, x: Tensor, batch: int = 500) -> Tensor:
        """log p(x) = -E(x) - log Z in nats for x [n, *shape], [n]; `error` is common to all. A
        lower bound of log Z flatters.
        """
        with torch.no_grad():
            return (
                torch.cat([-as_field(model).energy(part) for part in x.split(batch)]) - self.value
            )


@final
@dataclass(frozen=True)
class Bracket:
    """log Z between a stochastic lower bound, from the base up, and a stochastic upper one, from
    the target down.
    """

    lower: Estimate
    upper: Estimate

    @property
    def gap(self) -> float:
        """Upper less lower, in nats: what the ladder leaves open."""
        return self.upper.value - self.lower.value

    def contains(self, log_z: float, errors: float = 0.0) -> bool:
        """Whether log_z lies within, give or take so many standard errors."""
        below, above = (errors * e.error if errors else 0.0 for e in (self.lower, self.upper))
        return self.lower.value - below <= log_z <= self.upper.value + above


Steps = (
    Sampler[Field, Any] | Callable[[float], Sampler[Field, Any]]
)  # one sampler, or one for each beta


def ais(
    bridge: Bridge,
    sampler: Steps,
    betas: Sequence[float],
    n: int,
    generator: Randomness,
    steps: int = 1,
) -> Estimate:
    """log Z from n chains up the ladder `betas` (0 ... 1), `steps` sampler steps at each rung: low
    on average.
    """
    with torch.no_grad():
        x = bridge.sample(n, generator)
        return Estimate(
            bridge.log_z_base, _anneal(bridge, sampler, check_ladder(betas), x, generator, steps)
        )


def reverse_ais(
    bridge: Bridge,
    sampler: Steps,
    betas: Sequence[float],
    samples: Tensor,
    generator: Randomness,
    steps: int = 1,
) -> Estimate:
    """log Z from chains down the same ladder, begun at draws of the target, samples [n, *shape]:
    high on average.

    The samples are exact ones where those can be had, else the ends of long runs; short runs make
    the bound worth less.
    """
    with torch.no_grad():
        down = check_ladder(betas)[::-1]
        return Estimate(
            bridge.log_z_base,
            _anneal(bridge, sampler, down, samples.clone(), generator, steps),
            sign=-1,
        )


def bracket(
    bridge: Bridge,
    sampler: Steps,
    betas: Sequence[float],
    samples: Tensor,
    generator: Randomness,
    steps: int = 1,
) -> Bracket:
    """Both bounds, with as many chains up as there are samples [n, *shape] of the target to come
    down from.
    """
    return Bracket(
        ais(bridge, sampler, betas, len(samples), generator, steps),
        reverse_ais(bridge, sampler, betas, samples, generator, steps),
    )


def _anneal(
    bridge: Bridge,
    sampler: Steps,
    betas: Sequence[float],
    x: Tensor,
    generator: Randomness,
    steps: int,
) -> Tensor:
    """The log-weights [n] in float64 of chains from x, a draw at the first of the betas, to the
    last.
    """
    log_w = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for here, there in pairwise(betas):
        log_w += bridge.drop(x, here, there)
        if there != betas[-1]:
            x = run(
                _check_kind(sampler(there) if callable(sampler) else sampler),
                bridge.at(there),
                x,
                steps,
                generator,
            )
    return log_w


def _check_kind(sampler: Sampler[Field, Any]) -> Sampler[Field, Any]:
    if getattr(sampler, "kind", None) != "density":
        raise UserError(
            f"log Z needs a sampler that keeps the density, but this {type(sampler).__name__} only"
            " generates; take MALA, HMC or Gibbs, or a Langevin without noise_std, grad_clip and"
            " clamp."
        )
    check_temperature(sampler)
    return sampler


def check_ladder(betas: Sequence[float]) -> list[float]:
    rungs = list(betas)
    if len(rungs) < 2 or rungs[0] != 0 or rungs[-1] != 1 or any(b <= a for a, b in pairwise(rungs)):
        raise ValueError(
            f"a ladder rises from 0 to 1, but this one has {len(rungs)} rungs from {rungs[:1]} to"
            f" {rungs[-1:]}; use linear(100) or salakhutdinov_murray()."
        )
    return rungs


def linear(steps: int) -> list[float]:
    """steps + 1 inverse temperatures at equal distances from 0 to 1."""
    return [i / steps for i in range(steps + 1)]


def salakhutdinov_murray(steps: int = 14_500) -> list[float]:
    """The ladder of Salakhutdinov & Murray (2008), finer towards 1: 500 steps to .5, 4,000 to .9,
    10,000 to 1, or in proportion.
    """
    first = max(1, round(steps * 500 / 14_500))
    last = max(1, round(steps * 10_000 / 14_500))
    middle = max(1, steps - first - last)
    return (
        [0.5 * i / first for i in range(first)]
        + [0.5 + 0.4 * i / middle for i in range(middle)]
        + [0.9 + 0.1 * i / last for i in range(last)]
        + [1.0]
    )

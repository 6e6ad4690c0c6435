r"""Fields on data space. An energy E gives the score :math:`s(x) = -\nabla_x E(x)`; a score network gives it directly.

Samplers ask a field for nothing but its score, so the two are interchangeable wherever the mathematics allows.
Energies add, and so do their scores: a product of experts is `Sum`, a likelihood :math:`\|x - y\|^2 / 2\sigma^2` that ties
a restoration to what was seen is `Tether`, and :math:`E / T` is `Scaled` by 1 / T.

Shapes: x is [B, *shape], energy(x) is [B], score(x) is [B, *shape].
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor


class Field(abc.ABC):
    """Anything with a score."""

    @abc.abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density at x, [B, *shape]."""


def check_energy(energy: Tensor, x: Tensor) -> Tensor:
    """`energy` as [B]; raises ValueError where it is not one number per example."""
    if energy.shape == (len(x), 1):
        energy = energy[:, 0]
    if energy.shape != x.shape[:1]:
        raise ValueError(f"an energy gives one number per example, shape [{len(x)}], but this one gave "
                         f"{list(energy.shape)} for x of shape {list(x.shape)}; sum over everything but the batch.")
    return energy


@final
@dataclass(frozen=True)
class Energy(Field):
    """The field of any callable (B, *shape) -> (B,), low = likely; with `cond`, of (x, cond) -> (B,)."""

    function: Callable[..., Tensor]
    cond: Tensor | None = None

    def energy(self, x: Tensor) -> Tensor:
        e = self.function(x) if self.cond is None else self.function(x, self.cond)
        return check_energy(e, x)

    def score(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.energy(x).sum(), x)
        return gradient.neg_()


@final
@dataclass(frozen=True)
class Score(Field):
    """The field of any callable (B, *shape) -> (B, *shape) that is a score already."""

    function: Callable[[Tensor], Tensor]

    def score(self, x: Tensor) -> Tensor:
        s = self.function(x)
        if s.shape != x.shape:
            raise ValueError(f"a score has the shape of x, {list(x.shape)}, but this one gave {list(s.shape)}; "
                             "an energy belongs in Energy(...).")
        return s


@final
@dataclass(frozen=True)
class Sum(Field):
    """A product of experts: energies, and so scores, add."""

    fields: tuple[Field, ...]

    def score(self, x: Tensor) -> Tensor:
        first, *rest = (f.score(x) for f in self.fields)
        return sum(rest, start=first)


@final
@dataclass(frozen=True)
class Scaled(Field):
    """weight x E: tempering with weight = 1 / temperature."""

    field: Field
    weight: float

    def score(self, x: Tensor) -> Tensor:
        return self.weight * self.field.score(x)


@final
@dataclass(frozen=True)
class Tether(Field):
    r"""The Gaussian likelihood :math:`\|x - y\|^2 / 2\sigma^2` of an observation y [B, *shape] with noise `sigma`."""

    y: Tensor
    sigma: float

    def score(self, x: Tensor) -> Tensor:
        return (self.y - x) / self.sigma**2


class NoisyField(Protocol):
    """A family of fields, one for each noise level: the score of the data with N(0, sigma^2) added."""

    def at(self, sigma: float) -> Field: ...


@final
@dataclass(frozen=True)
class Guided:
    r"""Classifier-free guidance, :math:`(1 + w)\, s(x \mid c) - w\, s(x)`, at every noise level: w = 0 is off.

    Only w = 0 is the conditional law; w > 0 sharpens it towards what sets the class apart, at the price of variety, and takes two
    evaluations for each score. Reference: Ho & Salimans (2022), arXiv 2207.12598, eq. 6.
    """

    conditional: NoisyField
    marginal: NoisyField
    weight: float

    def at(self, sigma: float) -> Field:
        conditional, marginal = self.conditional.at(sigma), self.marginal.at(sigma)
        return Sum((Scaled(conditional, 1 + self.weight), Scaled(marginal, -self.weight)))


def as_field(thing: Any) -> Field:
    """A Field as it is; any callable as an energy."""
    if isinstance(thing, Field):
        return thing
    if callable(thing):
        return Energy(thing)
    raise ValueError(f"expected a Field or a callable energy (B, *) -> (B,), got {type(thing).__name__}; "
                     "wrap a score function in Score(...).")

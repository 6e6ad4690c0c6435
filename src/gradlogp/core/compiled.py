r"""Compiled fields: energy and score in one compiled function, opt-in; and what is made of them.

.. math:: x \mapsto (E(x),\ -\nabla E(x))

It pays where the network is small and its calls are many (perceptrons: measured in
docs/overhead.md), and costs a compilation of half a minute on the first call with each dtype and
rank of x. Weights may change: they are arguments of the compiled function. Where gradients are to
flow through the score, which compiled functions do not allow twice, the field is used as it is.

A sampler whose step asks for many scores makes one program of all of them, `bound(field,
function)`: HMC of a whole transition, NUTS of a few leaves. What costs a few operations on small
tensors is then bought at the price of one call (docs/peers.md); each program compiles on its first
call, for a minute or so where it holds twenty gradients.
"""

import types
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field as settings
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field, Score, transformable


@final
@dataclass(frozen=True)
class Traced(Field):
    """A field as compilers see through it."""

    field: Field

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, x: Tensor) -> Tensor:
        return self.field.energy(x)

    def score(self, x: Tensor) -> Tensor:
        return self.energy_and_score(x)[1]

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return transformable(self.field.energy, x)


@final
@dataclass(frozen=True)
class Compiled(Field):
    """A field with an energy, and the compiled programs of it, each made when first asked for."""

    field: Field
    programs: dict[Hashable, Callable[..., Any]] = settings(default_factory=dict, compare=False)

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, x: Tensor) -> Tensor:
        return self.field.energy(x)

    def score(self, x: Tensor) -> Tensor:
        return self.energy_and_score(x)[1]

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            return self.field.energy_and_score(x)
        return self.program(Traced.energy_and_score)(x)

    def program(self, function: Callable[..., Any], *constants: Hashable) -> Callable[..., Any]:
        """tensors -> function(field, *constants, *tensors), compiled."""
        key = (function, *constants)
        if key not in self.programs:
            self.programs[key] = _program(Traced(self.field), function, constants)
        return self.programs[key]


def _program(
    traced: Traced, function: Callable[..., Any], constants: tuple[Hashable, ...]
) -> Callable[..., Any]:
    def call(*tensors: Any) -> Any:
        return function(traced, *constants, *tensors)

    # Compiled code is kept, searched and limited in number by code object: each has its own.
    own = types.FunctionType(
        call.__code__.replace(), call.__globals__, function.__name__, None, call.__closure__
    )
    return torch.compile(own)


def bound(field: Field, function: Callable[..., Any], *constants: Hashable) -> Callable[..., Any]:
    """tensors -> function(field, *constants, *tensors): one compiled program where `field` is
    compiled and no gradients are recorded, else the function as it is.

    `function` draws nothing and looks at no tensor's values; it is the same object at every call.
    """
    if isinstance(field, Compiled) and not torch.is_grad_enabled():
        return field.program(function, *constants)
    return lambda *tensors: function(field, *constants, *tensors)


def compiled(field: Field) -> Field:
    """The same field, compiled on its first call without gradients; on the CPU that needs a C++
    compiler.
    """
    return Compiled(field) if field.has_energy else Score(torch.compile(field.score))

r"""Compiled fields: energy and score in one compiled function, opt-in.

.. math:: x \mapsto (E(x),\ -\nabla E(x))

It pays where the network is small and its calls are many (perceptrons: measured in
docs/overhead.md), and costs a compilation of half a minute on the first call with each dtype and
rank of x. Weights may change: they are arguments of the compiled function. Where gradients are to
flow through the score, which compiled functions do not allow twice, the field is used as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.fields import Field, Score, transformable


@final
@dataclass(frozen=True)
class Compiled(Field):
    """A field with an energy, and its compiled function x -> (energy, score)."""

    field: Field
    function: Callable[[Tensor], tuple[Tensor, Tensor]]

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, x: Tensor) -> Tensor:
        return self.field.energy(x)

    def score(self, x: Tensor) -> Tensor:
        return self.energy_and_score(x)[1]

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.field.energy_and_score(x) if torch.is_grad_enabled() else self.function(x)


def compiled(field: Field) -> Field:
    """The same field, compiled on its first call without gradients; on the CPU that needs a C++
    compiler.
    """

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        return transformable(field.energy, x)

    return (
        Compiled(field, torch.compile(both))
        if field.has_energy
        else Score(torch.compile(field.score))
    )

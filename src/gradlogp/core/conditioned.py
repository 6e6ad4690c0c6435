r"""Fields of what is left to find once something of x was seen: all of it with noise, a likelihood
:math:`\|x - y\|^2 / 2\sigma^2` to add to a field, or some of it exactly, so that the rest alone may
move.

Shapes: x is [B, *shape], energy(x) is [B], score(x) is [B, *shape].
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.fields import Field


@final
@dataclass(frozen=True)
class GaussianLikelihood(Field):
    r"""The Gaussian likelihood :math:`\|x - y\|^2 / 2\sigma^2` of an observation y, [B, *shape] or
    [*shape], with noise `sigma`.
    """

    y: Tensor
    sigma: float

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise ValueError(
                f"an observation's noise has sigma > 0, got {self.sigma}; for an exact one "
                "pin x by Masked(sampler, mask)."
            )

    @property
    def has_energy(self) -> bool:
        return True

    def energy(self, x: Tensor) -> Tensor:
        return self._gap(x).flatten(1).square().sum(1) / (2 * self.sigma**2)

    def score(self, x: Tensor) -> Tensor:
        return self._gap(x) / self.sigma**2

    def _gap(self, x: Tensor) -> Tensor:
        if self.y.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"expected an observation of the shape of x, {list(x.shape)}, or of one example,"
                f" got {list(self.y.shape)}; for several samples of each use"
                " y.repeat_interleave(samples, 0)."
            )
        return self.y - x


@final
@dataclass(frozen=True)
class MaskedField(Field):
    """The field with its score set to 0 where `mask` (bool, True = free, broadcastable to x) is
    False.

    Together with `core.random.Masked` noise, x stays as it is there, and what a sampler draws of
    the rest follows the exact conditional law given what is pinned: inpainting by masked Langevin.
    The energy is the whole one, as a Metropolis test needs.
    """

    field: Field
    mask: Tensor

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool:
            raise ValueError(
                f"a mask says True (free) or False (pinned), but this one holds {self.mask.dtype};"
                " pass mask.bool()."
            )

    @property
    def has_energy(self) -> bool:
        return self.field.has_energy

    def energy(self, x: Tensor) -> Tensor:
        return self.field.energy(x)

    def score(self, x: Tensor) -> Tensor:
        return self._free(self.field.score(x))

    def energy_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        energy, score = self.field.energy_and_score(x)
        return energy, self._free(score)

    def _free(self, score: Tensor) -> Tensor:
        sizes = zip(reversed(self.mask.shape), reversed(score.shape), strict=False)
        if self.mask.ndim > score.ndim or any(m not in (1, s) for m, s in sizes):
            raise ValueError(
                f"a mask must broadcast to x, {list(score.shape)}, but this one has"
                f" {list(self.mask.shape)}; leave the batch out, or give it one row per example."
            )
        return torch.where(self.mask, score, 0)

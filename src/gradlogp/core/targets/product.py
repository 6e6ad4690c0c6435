"""Independent parts side by side: energies add, scores are laid end to end, at every noise level.

Reference: Noe et al. (2019), Boltzmann Generators, Science 365 (a double well with Gaussian
coordinates beside it).
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import Level
from gradlogp.core.targets.base import Target
from gradlogp.core.targets.curved import DoubleWell
from gradlogp.core.targets.gaussian import gaussian


@final
@dataclass(frozen=True)
class Product(Target):
    """The law of independent parts, each on vectors; x [B, D] holds them one after the other."""

    parts: tuple[Target, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(p.shape[0] for p in self.parts),)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.check(x).split([p.shape[0] for p in self.parts], 1)

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        return torch.stack(
            [p.energy(piece, sigma) for p, piece in zip(self.parts, self._split(x), strict=True)]
        ).sum(0)

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        return torch.cat(
            [p.score(piece, sigma) for p, piece in zip(self.parts, self._split(x), strict=True)], 1
        )

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return torch.cat(
            [p.denoise(piece, sigma) for p, piece in zip(self.parts, self._split(x), strict=True)],
            1,
        )

    def sample(self, n: int, generator: Generator) -> Tensor:
        return torch.cat([p.sample(n, generator) for p in self.parts], 1)


def double_well(a: float = 1.0, b: float = 2.0, wells: int = 1, gaussians: int = 1) -> Product:
    """Double wells in some coordinates, N(0, 1) in the others: for crossing barriers, of height a
    b^2.

    The first `wells` of them and the next `gaussians`: 2^wells modes.
    """
    quiet = (gaussian([0.0] * gaussians, [1.0] * gaussians),) if gaussians else ()
    return Product((DoubleWell(a, b),) * wells + quiet)

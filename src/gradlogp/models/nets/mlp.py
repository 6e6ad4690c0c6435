r"""Multi-layer perceptrons: for vectors, and anything small that flattens to them.

`LevelMLP` is a residual stack that hears the noise level and the class in every block,

.. math:: h' = h + W_2\, \mathrm{silu}(\mathrm{film}(W_1\, \mathrm{silu}(h),\ \text{level})),

with :math:`W_2` zero at the start. Smooth (SiLU), for energies and scores are differentiated.

References: He et al. (2016), arXiv 1603.05027, eq. 5 (pre-activation blocks); Perez et al. (2018),
FiLM, arXiv 1709.07871, eq. 2.
"""

import itertools
import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.models.nets.embedding import Embedding, modulate


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """(B, *) -> (B, widths[-1]) through hidden layers of these widths, each followed by a SiLU."""
    layers = [
        layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.SiLU())
    ]
    return nn.Sequential(nn.Flatten(), *layers)


class Block(nn.Module):
    """One residual step of the equation above."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.film = nn.Linear(embedding, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return h + self.second(F.silu(modulate(self.first(F.silu(h)), self.film(embedding))))


class LevelMLP(nn.Module):
    """x [B, *shape], level [B], cond [B] -> [B, *shape], zero at the start; with `scalar`, -> [B].
    `times` as many channels come out as go in.
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        width: int = 128,
        blocks: int = 3,
        classes: int = 0,
        scalar: bool = False,
        times: int = 1,
    ) -> None:
        super().__init__()
        size = shape if isinstance(shape, int) else math.prod(shape)
        self.scalar, self.times = scalar, times
        self.embedding = Embedding(width, classes)
        self.stem = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Block(width, width) for _ in range(blocks))
        self.head = nn.Linear(width, 1 if scalar else times * size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        out = self.head(self.features(x, level, cond))
        if self.scalar:
            return out[:, 0]
        return out.reshape(-1, self.times * x.shape[1], *x.shape[2:])

    def features(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        """What the linear head reads, [B, width]."""
        embedding = F.silu(self.embedding(level, cond))
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = block(h, embedding)
        return F.silu(h)

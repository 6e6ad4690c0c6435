r"""A WaveNet for waveforms: a stack of dilated convolutions that look both ways, x [B, channels,
length], level [B], cond [B].

Layer i has dilation :math:`2^{i \bmod n}` and hears the level (and the class) by an added bias b,

.. math:: g = \tanh(a_1) \odot \mathrm{sigmoid}(a_2), \quad (a_1, a_2) = \mathrm{conv}_i(h + b), \qquad
          (r, q) = W g, \quad h' = (h + r)/\sqrt 2 ,

and the skips q of all layers, summed, give the output. Each output hears :math:`1 + 2\sum_i 2^{i
\bmod n}` samples.

Reference: Kong et al. (2021), DiffWave, arXiv 2009.09761, sec. 3.1 and fig. 2.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.models.nets.conv import spatial_rank
from gradlogp.models.nets.embedding import Embedding


class GatedLayer(nn.Module):
    """(h, embedding) -> (h', q) of the equation above."""

    def __init__(self, channels: int, dilation: int, width: int) -> None:
        super().__init__()
        self.told = nn.Linear(width, channels)
        self.conv = nn.Conv1d(channels, 2 * channels, 3, padding=dilation, dilation=dilation)
        self.out = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, h: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        wave, gate = self.conv(h + self.told(embedding)[..., None]).chunk(2, 1)
        residual, skip = self.out(wave.tanh() * gate.sigmoid()).chunk(2, 1)
        return (h + residual) / math.sqrt(2), skip


class WaveNet(nn.Module):
    """`layers` gated layers of `channels`, whose dilations begin anew after every `cycle`; zero at
    the start.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int = 32,
        layers: int = 16,
        cycle: int = 8,
        classes: int = 0,
        width: int = 96,
    ) -> None:
        super().__init__()
        if spatial_rank(shape) != 1:
            raise ValueError(
                f"a WaveNet needs waveforms, shape (channels, length), got {tuple(shape)}; for"
                " images use a UNet."
            )
        self.embedding = Embedding(width, classes)
        self.stem = nn.Conv1d(shape[0], channels, 1)
        self.layers = nn.ModuleList(
            GatedLayer(channels, 2 ** (i % cycle), width) for i in range(layers)
        )
        self.mix = nn.Conv1d(channels, channels, 1)
        self.head = nn.Conv1d(channels, shape[0], 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        embedding = F.silu(self.embedding(level, cond))
        h, skips = F.silu(self.stem(x)), 0.0
        for layer in self.layers:
            h, skip = layer(h, embedding)
            skips = skip + skips
        return self.head(F.silu(self.mix(skips / math.sqrt(len(self.layers)))))

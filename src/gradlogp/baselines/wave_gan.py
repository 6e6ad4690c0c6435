r"""WaveGAN: an adversarial network of waveforms, with wide kernels, strides of 4 and phase shuffle.

A transposed convolution leaves its stride in the phase of what it draws, and a critic that sees it
looks no further. *Phase shuffle* moves the critic's activations, after each layer but the last, by
a random number of samples from -n to n, what enters mirroring the border.

Reference: Donahue et al. (2019), Adversarial Audio Synthesis, arXiv 1802.04208, sections 3.1 and
3.3, app. D (the layers).
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gradlogp.baselines.decoder import Decoder
from gradlogp.baselines.gan import GAN
from gradlogp.models import EnergyModel
from gradlogp.models.nets.conv import spatial_rank
from gradlogp.objectives.augment import Shift

KERNEL, STRIDE = 25, 4


class WaveCritic(EnergyModel):
    """The energy -D(x) of waveforms x [B, channels, length], [B]; with a generator, its phases are
    shuffled.
    """

    random = True

    def __init__(
        self, shape: Sequence[int], channels: Sequence[int] = (16, 32, 64), shuffle: int = 2
    ) -> None:
        super().__init__()
        if spatial_rank(shape) != 1:
            raise ValueError(
                f"this critic hears waveforms, shape (channels, length), got {tuple(shape)}; for"
                " pictures and volumes use a ConvEnergy."
            )
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, KERNEL, STRIDE, KERNEL // 2)
            for a, b in itertools.pairwise([shape[0], *channels])
        )
        with torch.no_grad():
            flat = math.prod(self._heard(torch.zeros(1, *shape), None).shape[1:])
        self.shuffle, self.head = Shift(shuffle), nn.Linear(flat, 1)

    def _heard(self, x: Tensor, generator: Generator | None) -> Tensor:
        for i, conv in enumerate(self.convs):
            if i and generator is not None:
                x = self.shuffle(x, generator)
            x = F.leaky_relu(conv(x), 0.2)
        return x

    def forward(
        self, x: Tensor, cond: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        if cond is not None:
            raise ValueError(
                "this critic knows no classes, but got a `cond`; train one for each class."
            )
        return -self.head(self._heard(x, generator).flatten(1))[:, 0]


def wave_gan(
    shape: Sequence[int],
    latent: int = 100,
    channels: Sequence[int] = (64, 32, 16),
    trunk: Sequence[int] = (16, 32, 64),
    shuffle: int = 2,
) -> GAN:
    """A generator of waveforms against a critic with phase shuffle: for
    `Adversarial("wasserstein")`.

    The game of the paper has a penalty of 10 and five critics' updates to one of the generator.
    """
    decoder = Decoder(shape, latent, channels, kernel=KERNEL, stride=STRIDE)
    return GAN(decoder, WaveCritic(shape, trunk, shuffle))

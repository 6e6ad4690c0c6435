r"""From a latent vector to data in one pass: the half that variational autoencoders and adversarial
networks share.

.. math:: z \to \text{linear} \to \text{a coarse grid} \to \text{transposed convolutions, each } s \text{ times as fine} \to \tanh

in 1, 2 or 3 spatial dimensions: of pictures this is the generator of DCGAN, of volumes that of
3D-GAN, and with kernels of 25 and strides of 4 that of WaveGAN. Rows of tables come from a
perceptron, without the tanh.

References: Radford et al. (2016), DCGAN, arXiv 1511.06434, section 3; Wu et al. (2016), 3D-GAN,
arXiv 1610.07584, section 3.1; Donahue et al. (2019), WaveGAN, arXiv 1802.04208, section 3.1.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.core.fields import NoisyField, check_cond
from gradlogp.core.random import Randomness
from gradlogp.models.nets.conv import channels_last, spatial_rank
from gradlogp.models.nets.embedding import check_classes
from gradlogp.models.nets.mlp import perceptron
from gradlogp.models.nets.resnet import NORM

CONV_TRANSPOSE: dict[
    int, type[nn.ConvTranspose1d] | type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]
] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Decoder(nn.Module):
    """z [B, latent], and cond [B] with `classes` -> [B, *shape]: in (-1, 1), or any numbers for
    vectors.

    One entry of `channels` for each transposed convolution, coarse first; for vectors, the widths
    of hidden layers. Sizes that are no multiples of the strides are cropped. Smooth, and without
    normalisation layers unless `norm` asks for batch normalisation.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        channels: Sequence[int] = (64, 32),
        classes: int = 0,
        kernel: int = 4,
        stride: int = 2,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.latent, self.classes = tuple(shape), latent, classes
        self.layers = (
            perceptron([latent + classes, *channels]).append(nn.Linear(channels[-1], shape[0]))
            if len(shape) == 1
            else grown(shape, latent + classes, channels, kernel, stride, norm)
        )

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        x = self.layers(self._told(z, cond))
        for axis, size in enumerate(self.shape[1:], 2):
            x = x.narrow(axis, 0, size)
        return x

    def _told(self, z: Tensor, cond: Tensor | None) -> Tensor:
        check_classes(cond, self.classes)
        if self.classes and cond is None:
            raise ValueError(
                "this decoder draws an example of a class, but got no `cond`; pass a class number"
                " for each z."
            )
        return z if cond is None else torch.cat([z, F.one_hot(cond, self.classes).to(z)], 1)


def grown(
    shape: Sequence[int], told: int, channels: Sequence[int], kernel: int, stride: int, norm: bool
) -> nn.Sequential:
    """(B, told) -> (B, *shape) or a little larger, by transposed convolutions."""
    spatial = spatial_rank(shape)
    coarse = [-(-size // stride ** len(channels)) for size in shape[1:]]
    padding = -(-(kernel - stride) // 2)
    more = 2 * padding - (kernel - stride)
    layers: list[nn.Module] = [nn.Linear(told, channels[0] * math.prod(coarse)), nn.SiLU()]
    layers.append(nn.Unflatten(1, (channels[0], *coarse)))
    for a, b in itertools.pairwise([*channels, shape[0]]):
        layers.append(CONV_TRANSPOSE[spatial](a, b, kernel, stride, padding, more))
        layers += [NORM[spatial](b), nn.SiLU()] if norm else [nn.SiLU()]
    network = nn.Sequential(*layers[: -2 if norm else -1], nn.Tanh())
    channels_last(network, spatial)
    return network


@dataclass(frozen=True)
class OnePass(NoisyField):
    """A network (B, latent) -> (B, *shape), or with `cond` (B, latent), (B,) -> (B, *shape), as a
    field with one noise level, at which nothing is left of the data.
    """

    network: nn.Module
    cond: Tensor | None = None

    def denoise(self, x: Tensor, sigma: Any) -> Tensor:
        return self.network(x, *check_cond(self.cond, x))


class Decoded(NamedTuple):
    x: Tensor


@final
class Decode:
    """A sampler of one step and one network evaluation: the state is a latent vector before it, a
    picture after it.
    """

    kind = "generator"
    steps = 1
    ladder = (math.inf,)

    def init(self, field: OnePass, x: Tensor) -> Decoded:
        return Decoded(x)

    def step(self, field: OnePass, state: Decoded, generator: Randomness) -> tuple[Decoded, Any]:
        return Decoded(field.denoise(state.x, self.ladder[0])), None

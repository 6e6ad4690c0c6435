"""From a latent vector to a picture in one pass: the half that variational autoencoders and
adversarial networks share.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from torch import Tensor, nn

from gradlogp.core.fields import NoisyField
from gradlogp.core.random import Randomness
from gradlogp.models.nets.conv import channels_last


class Decoder(nn.Module):
    """z [B, latent] -> [B, *shape] in (-1, 1): a linear map to a quarter of each size, and two
    transposed convolutions.

    Smooth, without normalisation layers, like the trunk that it is trained beside. Sizes are
    multiples of 4.
    """

    def __init__(
        self, shape: Sequence[int], latent: int = 32, channels: tuple[int, int] = (64, 32)
    ) -> None:
        super().__init__()
        if len(shape) != 3 or any(size % 4 for size in shape[1:]):
            raise ValueError(
                "a decoder draws pictures (channels, height, width) with sides of multiples of 4,"
                f" got {tuple(shape)}."
            )
        coarse, (a, b) = [size // 4 for size in shape[1:]], channels
        self.latent = latent
        self.layers = nn.Sequential(
            nn.Linear(latent, a * math.prod(coarse)),
            nn.SiLU(),
            nn.Unflatten(1, (a, *coarse)),
            nn.ConvTranspose2d(a, b, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(b, shape[0], 4, 2, 1),
            nn.Tanh(),
        )
        channels_last(self, 2)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


@dataclass(frozen=True)
class OnePass(NoisyField):
    """A network (B, latent) -> (B, *shape) as a field with one noise level, at which nothing is
    left of the picture.
    """

    network: nn.Module

    def denoise(self, x: Tensor, sigma: Any) -> Tensor:
        return self.network(x)


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

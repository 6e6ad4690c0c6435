r"""The normalised autoencoder (NAE): the error of reconstruction is an energy,

.. math:: E(x) = \|x - g(f(x))\|^2 / T ,

so what reconstructs well is likely. Learned as a density (contrastive divergence and its kin)
instead of by reconstruction alone, it cannot reconstruct what is not data, which is why it finds
anomalies where a plain autoencoder does not. The latent f(x) lies on the unit sphere, which is
compact: chains there cannot run away. A chain on x is best begun on the decoded manifold: at g(z),
with z from a short chain on `latent_field`.

Reference: Yoon, Noh & Park (2021), Autoencoding Under Normalization Constraints, arXiv 2105.05735,
sec. 4 (the energy), sec. 5 (on-manifold initialisation).
"""

import itertools
import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.core.fields import Energy
from gradlogp.models.energy import EnergyModel
from gradlogp.models.nets.conv import CONV, ConvTrunk, channels_last, spatial_rank
from gradlogp.models.nets.mlp import perceptron


class AutoencoderEnergy(EnergyModel):
    """Any encoder (B, *shape) -> (B, latent) and decoder (B, latent) -> (B, *shape), with the
    latent on the unit sphere.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, temperature: float = 1.0, sphere: bool = True
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(
                f"an energy is divided by its temperature, so it is positive, got {temperature}."
            )
        self.encoder = encoder
        self.decoder = decoder
        self.temperature = temperature
        self.sphere = sphere

    def encode(self, x: Tensor) -> Tensor:
        return self._on_sphere(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self._on_sphere(z))

    def _on_sphere(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=1) if self.sphere else z

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is not None:
            raise ValueError(
                "an autoencoder's energy has no classes, but got a `cond`; train one for each"
                " class."
            )
        error = x - self.decode(self.encode(x))
        return error.flatten(1).square().sum(1) / self.temperature

    def latent_field(self) -> Energy:
        """The energy of g(z) as a field on latents z [B, latent]; on the sphere the length of z
        does not matter.
        """
        return Energy(lambda z: self(self.decode(z)))


class ConvDecoder(nn.Module):
    """(B, width) -> (B, *shape): the mirror of `ConvTrunk`, each halving undone by nearest
    neighbours and a convolution.
    """

    def __init__(self, shape: Sequence[int], channels: Sequence[int], width: int) -> None:
        super().__init__()
        spatial = spatial_rank(shape)
        self.sizes = [
            tuple(-(-size // 2**i) for size in shape[1:])
            for i in reversed(range(len(channels) + 1))
        ]  # coarse first
        self.first = nn.Linear(width, channels[-1] * math.prod(self.sizes[0]))
        widths = [channels[-1], *reversed(channels)]
        self.convs = nn.ModuleList(
            CONV[spatial](a, b, 3, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.last = CONV[spatial](channels[0], shape[0], 3, padding=1)
        channels_last(self, spatial)

    def forward(self, z: Tensor) -> Tensor:
        h = F.silu(self.first(z)).unflatten(1, (-1, *self.sizes[0]))
        for conv, size in zip(self.convs, self.sizes[1:], strict=True):
            h = F.silu(conv(F.interpolate(h, size)))
        return self.last(h)


def autoencoder_energy(
    shape: Sequence[int],
    latent: int = 32,
    channels: Sequence[int] = (16, 32, 64),
    width: int = 128,
    temperature: float = 1.0,
    sphere: bool = True,
) -> AutoencoderEnergy:
    """The reconstruction error of an autoencoder as an energy (NAE): convolutional, or of
    perceptrons for vectors.
    """
    if len(shape) == 1:
        encoder = perceptron([shape[0], width, width])
        decoder = perceptron([latent, width, width])
        encoder.append(nn.Linear(width, latent))
        decoder.append(nn.Linear(width, shape[0]))
    else:
        encoder = nn.Sequential(ConvTrunk(shape, channels, width), nn.Linear(width, latent))
        decoder = nn.Sequential(
            nn.Linear(latent, width), nn.SiLU(), ConvDecoder(shape, channels, width)
        )
    return AutoencoderEnergy(encoder, decoder, temperature, sphere)

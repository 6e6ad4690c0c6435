r"""Noise-aware classifiers: p(y | x, sigma) of the data with N(0, sigma^2) added, at every sigma.

.. math:: p(y \mid x, \sigma) = \mathrm{softmax}\big(W\, g(c_{in} x, \tfrac14 \ln\sigma)\big)_y, \qquad
          c_{in} = 1 / \sqrt{\sigma^2 + \sigma_d^2} ,

so that the trunk sees unit variance at every level, and its features are modulated by the level.
Its gradient in x is what classifier guidance adds to a score; a classifier of clean data misleads
there. Smooth, and no example sees its neighbours.

References: Dhariwal & Nichol (2021), Diffusion Models Beat GANs on Image Synthesis, arXiv
2105.05233, section 4; Karras et al. (2022), arXiv 2206.00364, table 1 (c_in).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.core.fields import column
from gradlogp.core.guidance import LevelEnergy, class_energy
from gradlogp.models.nets.conv import ConvTrunk
from gradlogp.models.nets.embedding import Embedding, modulate
from gradlogp.models.nets.mlp import perceptron


class NoisyClassifier(nn.Module):
    """x [B, *shape], sigma [B] -> logits [B, classes], of any smooth trunk (B, *shape) -> (B,
    width).

    `features(x, sigma)` are [B, width]; `energy(label)` is what `EnergyGuided` takes.
    """

    sigma_data: Tensor

    def __init__(self, trunk: nn.Module, width: int, classes: int, sigma_data: float) -> None:
        super().__init__()
        self.trunk, self.embedding = trunk, Embedding(width, 0)
        self.film = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)
        self.register_buffer("sigma_data", torch.tensor(float(sigma_data)))

    def features(self, x: Tensor, sigma: Tensor) -> Tensor:
        seen = self.trunk(x / column((sigma**2 + self.sigma_data**2).sqrt(), x))
        film = self.film(F.silu(self.embedding(sigma.log() / 4, None)))
        return F.silu(self.mix(F.silu(modulate(seen, film))))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.head(self.features(x, sigma))

    def energy(self, label: Tensor) -> LevelEnergy:
        """-log p(label | x, sigma) as a function of x [B, *shape] and sigma [B], for labels [B]."""
        return class_energy(self, label)


def noisy_classifier(
    shape: Sequence[int],
    classes: int,
    sigma_data: float,
    channels: Sequence[int] = (16, 32, 64, 64),
    width: int = 64,
) -> NoisyClassifier:
    """A classifier at every noise level, for guidance: of pictures, waves, volumes or vectors.

    For vectors a perceptron with hidden layers `channels`.
    """
    trunk: nn.Module = (
        perceptron([shape[0], *channels, width])
        if len(shape) == 1
        else ConvTrunk(shape, channels, width)
    )
    return NoisyClassifier(trunk, width, classes, sigma_data)

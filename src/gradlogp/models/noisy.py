r"""Noise-conditional energies: one energy :math:`E(x, \sigma)` for the data with N(0, sigma^2)
added, at every sigma.

The preconditioning of score models, integrated over x. With :math:`\tilde x = c_{in} x` and a
potential :math:`\phi`,

.. math:: E(x, \sigma) = \frac{\|x\|^2}{2(\sigma^2 + \sigma_d^2)} + \tfrac D2 \ln 2\pi(\sigma^2 + \sigma_d^2)
          - \frac{\sigma_d}{\sigma}\, \phi(\tilde x, \tfrac14\ln\sigma)
          \quad\Rightarrow\quad
          D(x, \sigma) = x - \sigma^2 \nabla_x E = c_{skip} x + c_{out} \nabla\phi(\tilde x),

so that the gradient of the potential is what the network of a score model predicts, in units of
one. The potential is a number from a network (`Potential`), or made of a vector network F
(`Reconstruction`),

.. math:: \phi(\tilde x) = \tfrac12 \|\tilde x\|^2 - \tfrac12 \|\tilde x - F(\tilde x)\|^2 ,

which takes over all that is known of good score networks. Being a gradient, the score is
conservative; being an energy, it can be Metropolis-adjusted, composed, and compared between
examples. At phi = 0 it is -log N(0, sigma^2 + sigma_d^2), normalised; how the constant moves with
sigma is learned by dual score matching alone, and is not to be relied on after any other.

References: Salimans & Ho (2021), Should EBMs Model the Energy or the Score?, ICLR EBM workshop
(half a squared error as energy); Du et al. (2023), Reduce, Reuse, Recycle, arXiv 2302.11552
(energies at each level); Karras et al. (2022), arXiv 2206.00364, table 1 (c_skip, c_out, c_in).
"""

import abc
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.core.fields import NoisyEnergy, column
from gradlogp.models.nets.conv import ConvTrunk
from gradlogp.models.nets.embedding import Embedding, modulate
from gradlogp.models.nets.mlp import LevelMLP
from gradlogp.models.nets.unet import UNet


class NoisyEnergyModel(nn.Module, abc.ABC):
    """x [B, *shape], sigma [B], cond [B] -> energy [B] of the data with noise sigma added."""

    @abc.abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor: ...

    def field(self, cond: Tensor | None = None) -> NoisyEnergy:
        return NoisyEnergy(self, cond)


class PreconditionedEnergy(NoisyEnergyModel):
    """The first equation around any potential (x, level [B], cond) -> [B]."""

    sigma_data: Tensor

    def __init__(self, potential: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.potential = potential
        self.register_buffer("sigma_data", torch.tensor(float(sigma_data)))

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        total = sigma**2 + self.sigma_data**2
        seen = x / column(total.sqrt(), x)
        phi = self.potential(seen, sigma.log() / 4, cond)
        constant = (2 * math.pi * total).log()
        normal = (x.flatten(1).square() / total[:, None] + constant[:, None]) / 2
        return normal.sum(1) - self.sigma_data / sigma * phi


class Reconstruction(nn.Module):
    """The potential of a vector network (x, level [B], cond) -> [B, *shape]: the second equation."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        f = self.net(x, level, cond)
        return (f * (x - f / 2)).flatten(1).sum(1)


class Potential(nn.Module):
    """One number from any trunk (B, *shape) -> (B, width), whose features are modulated by level
    and class; zero at the start.

    `gain` multiplies it. The gradient over D entries is to have entries of unit size, so a norm of
    sqrt(D); that of a head of ordinary weights has a norm of about one, and is the less heard the
    more entries there are.
    """

    gain: Tensor

    def __init__(self, trunk: nn.Module, width: int, classes: int = 0, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(float(gain)))
        self.trunk, self.embedding = trunk, Embedding(width, classes)
        self.film = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        film = self.film(F.silu(self.embedding(level, cond)))
        return self.gain * self.head(F.silu(self.mix(F.silu(modulate(self.trunk(x), film)))))[:, 0]


def mlp_noisy_energy(
    shape: int | Sequence[int],
    sigma_data: float,
    width: int = 128,
    blocks: int = 3,
    classes: int = 0,
) -> PreconditionedEnergy:
    """An energy at every noise level for vectors (or what flattens to them), from a residual
    perceptron.
    """
    return PreconditionedEnergy(LevelMLP(shape, width, blocks, classes, scalar=True), sigma_data)


def conv_noisy_energy(
    shape: Sequence[int],
    sigma_data: float,
    channels: Sequence[int] = (16, 32, 64, 64),
    width: int = 64,
    classes: int = 0,
    patch: int = 1,
) -> PreconditionedEnergy:
    """An energy at every noise level by a small convolutional trunk: the cheapest for images, waves
    and volumes.
    """
    trunk = ConvTrunk(shape, channels, width, patch)
    potential = Potential(trunk, width, classes, gain=math.sqrt(math.prod(shape)))
    return PreconditionedEnergy(potential, sigma_data)


def unet_noisy_energy(
    shape: Sequence[int],
    sigma_data: float,
    channels: Sequence[int] = (24, 48),
    blocks: int = 2,
    patch: int = 2,
    classes: int = 0,
) -> PreconditionedEnergy:
    """An energy at every noise level by the squared error of a UNet: the strongest, at thrice its
    score's price.
    """
    return PreconditionedEnergy(
        Reconstruction(UNet(shape, channels, blocks, patch, classes)), sigma_data
    )

r"""Noise-conditional score models: the score of the data with N(0, sigma^2) added, at every sigma.

The network F predicts what is hard at each level and the rest is wired in,

.. math:: D(x, \sigma) = c_{skip} x + c_{out} F(c_{in} x, \tfrac14 \ln\sigma), \qquad s(x, \sigma) = (D(x, \sigma) - x) / \sigma^2,

with :math:`c_{skip} = \sigma_d^2/(\sigma^2+\sigma_d^2)`, :math:`c_{out} =
\sigma\sigma_d/\sqrt{\sigma^2+\sigma_d^2}`, :math:`c_{in} = 1/\sqrt{\sigma^2+\sigma_d^2}`, so that F
sees and predicts unit variance at every level. The data's standard deviation sigma_d is measured,
never assumed.

Where all entries of the data are -1 or 1, as of occupied and empty voxels, more is known: by Bayes'
rule an entry with noise has the log-odds 2 x_i / sigma^2 of its own value, plus those that the other
entries give it, so that

.. math:: D(x, \sigma) = \tanh\!\big(x / \sigma^2 + F(c_{in} x, \tfrac14 \ln\sigma)\big)

is exact for a product of independent entries with a constant F, and exact for all data as sigma goes
to 0, with any F.

NCSNv2 instead leaves the level out of the network and divides by it, :math:`s(x, \sigma) =
F(x)/\sigma`: the size of a score at level sigma is about 1 / sigma, and x itself shows how noisy it
is (technique 3). `VectorScore` knows one law and no levels.

References: Song & Ermon (2019), arXiv 1907.05600 (noise-conditional scores); Song & Ermon (2020),
Improved Techniques, arXiv 2006.09011, technique 3; Karras et al. (2022), Elucidating the Design
Space, arXiv 2206.00364, table 1 (the preconditioning); Chen, Zhang & Hinton (2023), Analog Bits,
arXiv 2208.04202 (diffusion of two-valued data, there without the equation above).
"""

import abc
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.core.fields import Denoiser, NoisyField, Score, column
from gradlogp.models.nets.embedding import check_classes
from gradlogp.models.nets.mlp import LevelMLP, perceptron
from gradlogp.models.nets.refine import RefineNet
from gradlogp.models.nets.unet import UNet
from gradlogp.models.nets.wave import WaveNet


class ScoreModel(nn.Module, abc.ABC):
    """x [B, *shape], sigma [B], cond [B] -> the denoised x, E[x0 | x], [B, *shape]."""

    @abc.abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor: ...

    def field(self, cond: Tensor | None = None) -> NoisyField:
        return Denoiser(self, cond)


class Preconditioned(ScoreModel):
    """The equations above around any network (x, level [B], cond) -> [B, *shape]."""

    sigma_data: Tensor

    def __init__(self, net: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("sigma_data", torch.tensor(float(sigma_data)))

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        s = column(sigma, x)
        total = column(sigma**2 + self.sigma_data**2, x)
        out = self.net(x / total.sqrt(), sigma.log() / 4, cond)
        return self.sigma_data**2 / total * x + s * self.sigma_data / total.sqrt() * out

    def features(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """The middle of the network at sigma [B], [B, width]."""
        total = column(sigma**2 + self.sigma_data**2, x)
        net: Any = self.net
        return net.features(x / total.sqrt(), sigma.log() / 4, cond)


class TwoValued(Preconditioned):
    """The second equation, for data whose entries are -1 or 1: F gives half the log-odds of 1 that
    the other entries tell.
    """

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        total = column(sigma**2 + self.sigma_data**2, x)
        out = self.net(x / total.sqrt(), sigma.log() / 4, cond)
        return torch.tanh(x / column(sigma, x) ** 2 + out)


class SigmaScaled(ScoreModel):
    """The score F(x) / sigma of any network (x, level [B], cond) -> [B, *shape]: D = x + sigma
    F(x).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        return torch.addcmul(x, column(sigma, x), self.net(x, sigma.log() / 4, cond))


class VectorScore(nn.Module):
    """A perceptron for the score of one law, x -> s(x): for explicit, implicit and sliced score
    matching on vectors.

    x [B, *shape] with prod(shape) = `dim`; cond [B] with `classes`. Nothing makes it the gradient
    of an energy.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (128, 128), classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.layers = perceptron([dim + classes, *hidden])
        self.head = nn.Linear(hidden[-1], dim)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        check_classes(cond, self.classes)
        told = (
            x.new_zeros(x.shape[0], self.classes)
            if cond is None
            else F.one_hot(cond, self.classes).to(x.dtype)
        )
        return self.head(self.layers(torch.cat([x.flatten(1), told], 1))).reshape(x.shape)

    def field(self, cond: Tensor | None = None) -> Score:
        return Score(self, cond)


def mlp_score(
    shape: int | Sequence[int],
    sigma_data: float,
    width: int = 128,
    blocks: int = 3,
    classes: int = 0,
    two_valued: bool = False,
) -> Preconditioned:
    """A preconditioned residual perceptron: scores at every noise level, for vectors or what
    flattens to them.

    two_valued: all entries are -1 or 1.
    """
    wrapper = TwoValued if two_valued else Preconditioned
    return wrapper(LevelMLP(shape, width, blocks, classes), sigma_data)


def refinenet_score(
    shape: Sequence[int], channels: tuple[int, int] = (32, 64), classes: int = 0
) -> SigmaScaled:
    """The network of NCSNv2, its output divided by sigma: to follow that paper; a UNet is quicker."""
    return SigmaScaled(RefineNet(shape, channels, classes))


def unet_score(
    shape: Sequence[int],
    sigma_data: float,
    channels: Sequence[int] = (24, 48),
    blocks: int = 2,
    patch: int = 2,
    classes: int = 0,
    two_valued: bool = False,
) -> Preconditioned:
    """A preconditioned UNet for data of `shape` (channels, *sizes) with standard deviation
    `sigma_data`.

    two_valued: all entries are -1 or 1.
    """
    wrapper = TwoValued if two_valued else Preconditioned
    return wrapper(UNet(shape, channels, blocks, patch, classes), sigma_data)


def wavenet_score(
    shape: Sequence[int],
    sigma_data: float,
    channels: int = 32,
    layers: int = 16,
    cycle: int = 8,
    classes: int = 0,
) -> Preconditioned:
    """A preconditioned WaveNet for waveforms (channels, length), at full resolution: the network of
    DiffWave.
    """
    return Preconditioned(WaveNet(shape, channels, layers, cycle, classes), sigma_data)

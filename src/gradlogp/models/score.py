r"""Noise-conditional score models: the score of the data with N(0, sigma^2) added, at every sigma.

The network F predicts what is hard at each level and the rest is wired in,

.. math:: D(x, \sigma) = c_{skip} x + c_{out} F(c_{in} x, \tfrac14 \ln\sigma), \qquad s(x, \sigma) = (D(x, \sigma) - x) / \sigma^2,

with :math:`c_{skip} = \sigma_d^2/(\sigma^2+\sigma_d^2)`, :math:`c_{out} = \sigma\sigma_d/\sqrt{\sigma^2+\sigma_d^2}`,
:math:`c_{in} = 1/\sqrt{\sigma^2+\sigma_d^2}`, so that F sees and predicts unit variance at every level. The data's standard
deviation sigma_d is measured, never assumed.

References: Song & Ermon (2019), arXiv 1907.05600 (noise-conditional scores); Karras et al. (2022), Elucidating the Design
Space, arXiv 2206.00364, table 1 (the preconditioning).
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from gradlogp.core.fields import Level, NoisyField, column
from gradlogp.models.nets.unet import UNet


class ScoreModel(nn.Module, abc.ABC):
    """x [B, *shape], sigma [B], cond [B] -> the denoised x, E[x0 | x], [B, *shape]."""

    @abc.abstractmethod
    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor: ...

    def field(self, cond: Tensor | None = None) -> "Levels":
        return Levels(self, cond)


@final
@dataclass(frozen=True)
class Levels(NoisyField):
    """A score model with its condition bound: a `NoisyField`."""

    model: ScoreModel
    cond: Tensor | None

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return self.model(x, sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma), self.cond)


class Preconditioned(ScoreModel):
    """The equations above around any network (x, level [B], cond) -> [B, *shape]."""

    sigma_data: Tensor

    def __init__(self, net: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("sigma_data", torch.tensor(float(sigma_data)))

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        s, total = column(sigma, x), column(sigma**2 + self.sigma_data**2, x)
        out = self.net(x / total.sqrt(), sigma.log() / 4, cond)
        return self.sigma_data**2 / total * x + s * self.sigma_data / total.sqrt() * out


def unet_score(shape: Sequence[int], sigma_data: float, channels: Sequence[int] = (24, 48), blocks: int = 2,
               patch: int = 2, classes: int = 0) -> Preconditioned:
    """A preconditioned UNet for data of `shape` (channels, *sizes) with standard deviation `sigma_data`."""
    return Preconditioned(UNet(shape, channels, blocks, patch, classes), sigma_data)

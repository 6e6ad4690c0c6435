r"""Energy models: :math:`p(x) \propto e^{-E(x)}`, low energy = likely.

With classes, one network holds the joint energy :math:`E(x, y)`, and the marginal one is
:math:`E(x) = -\log\sum_y e^{-E(x, y)}` (Grathwohl et al. 2020, Your Classifier is Secretly an Energy Based Model, arXiv
1912.03263, eq. 6).
"""

import abc
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradlogp.core.fields import Energy
from gradlogp.models.nets.conv import ConvTrunk


class EnergyModel(nn.Module, abc.ABC):
    """x [B, *shape] -> energy [B]; with cond [B] (class numbers), the joint energy of x and its class."""

    @abc.abstractmethod
    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor: ...

    def field(self, cond: Tensor | None = None) -> Energy:
        return Energy(self, cond)


class JointHead(nn.Module):
    """Features [B, width] -> energy [B]: of one output, or of one output for each class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.linear = nn.Linear(width, max(classes, 1))

    def forward(self, features: Tensor, cond: Tensor | None) -> Tensor:
        energies = self.linear(features)  # [B, classes or 1]
        if self.classes == 0:
            if cond is not None:
                raise ValueError("this energy was built without classes, but got a `cond`; build it with classes=n.")
            return energies[:, 0]
        if cond is None:
            return -torch.logsumexp(-energies, 1)
        return energies.gather(1, cond[:, None])[:, 0]


class ConvEnergy(EnergyModel):
    """A convolutional energy for data of `shape` (channels, *sizes), 1 to 3 sizes; `classes` = 0 is unconditional."""

    def __init__(self, shape: Sequence[int], channels: Sequence[int] = (16, 32, 64, 64), width: int = 64,
                 classes: int = 0) -> None:
        super().__init__()
        self.trunk = ConvTrunk(shape, channels, width)
        self.head = JointHead(width, classes)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.head(self.trunk(x), cond)


class MLPEnergy(EnergyModel):
    """A multi-layer perceptron energy for vectors of `dim` entries (or anything that flattens to them)."""

    def __init__(self, dim: int, hidden: Sequence[int] = (128, 128), classes: int = 0) -> None:
        super().__init__()
        widths = [dim, *hidden]
        layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(nn.Flatten(), *layers)
        self.head = JointHead(widths[-1], classes)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.head(self.layers(x), cond)

"""Small classifiers: the evaluation classifiers of samples, and the feature networks of Frechet
distances.

Reference: LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition
(convolutions, pooling, a linear head).
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradlogp.models.nets.conv import CONV, channels_last, spatial_rank
from gradlogp.models.nets.mlp import perceptron

MAX_POOL: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


class ConvClassifier(nn.Module):
    """A small convolutional classifier: for judging samples, and for the features of distances.

    x [B, channels, *sizes], of 1 to 3 sizes, -> class logits [B, classes]; `features(x)` is the
    layer before, [B, width].
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        channels: Sequence[int] = (24, 48, 64),
        width: int = 64,
    ) -> None:
        super().__init__()
        spatial = spatial_rank(shape)
        conv = CONV[spatial]
        stride = 2 if min(shape[1:]) > 16 else 1
        layers: list[nn.Module] = [
            conv(shape[0], channels[0], 5, stride=stride, padding=2),
            nn.ReLU(),
        ]
        for a, b in itertools.pairwise(channels):
            layers += [conv(a, b, 3, padding=1), nn.ReLU(), MAX_POOL[spatial](2)]
        convs = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = math.prod(convs(torch.zeros(1, *shape)).shape[1:])
        self.trunk = nn.Sequential(convs, nn.Linear(flat, width), nn.ReLU())
        self.head = nn.Linear(width, classes)
        channels_last(self, spatial)

    def features(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class MLPClassifier(nn.Module):
    """A perceptron that classifies vectors, or what flattens to them: for rows of a table.

    x [B, *shape] -> class logits [B, classes]; `features(x)` is the layer before, [B, width].
    """

    def __init__(self, shape: Sequence[int], classes: int, width: int = 64) -> None:
        super().__init__()
        self.trunk = perceptron([math.prod(shape), width, width])
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

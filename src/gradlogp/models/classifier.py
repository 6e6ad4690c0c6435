"""A small convolutional classifier: the judge of samples, and the feature network of Frechet
distances.

Reference: LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition
(convolutions, pooling, a linear head).
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradlogp.models.nets.conv import channels_last


class ConvClassifier(nn.Module):
    """A small convolutional classifier of pictures: for judging samples, and for the features of
    distances.

    x [B, channels, height, width] -> class logits [B, classes]; `features(x)` is the layer before,
    [B, width].
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        channels: Sequence[int] = (24, 48, 64),
        width: int = 64,
    ) -> None:
        super().__init__()
        smallest = 2 ** (len(channels) - 1)
        if len(shape) != 3 or min(shape[1:]) < smallest:
            raise ValueError(
                f"a classifier of {len(channels)} stages needs pictures (channels, height, width) of"
                f" {smallest} x {smallest} or more, got {tuple(shape)}; give it fewer channels."
            )
        stride = 2 if min(shape[1:]) > 16 else 1
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], channels[0], 5, stride=stride, padding=2),
            nn.ReLU(),
        ]
        for a, b in itertools.pairwise(channels):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        convs = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = math.prod(convs(torch.zeros(1, *shape)).shape[1:])
        self.trunk = nn.Sequential(convs, nn.Linear(flat, width), nn.ReLU())
        self.head = nn.Linear(width, classes)
        channels_last(self, 2)

    def features(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

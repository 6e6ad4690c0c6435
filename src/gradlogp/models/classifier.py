r"""Classifiers of every kind of data behind one face: a trunk, its `features`, and a linear head.

.. math:: p(y \mid x) = \mathrm{softmax}(W f(x) + b)_y

They judge samples, they are the feature networks of Frechet distances, and they must not be the
model that is judged. Waveforms are heard through their log-mel spectrogram, as a picture.

References: LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition
(convolutions, pooling, a linear head); He et al. (2016), Deep Residual Learning for Image
Recognition, arXiv 1512.03385 (the residual one); Maturana & Scherer (2015), VoxNet (volumes).
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradlogp.core.spectrogram import LogMel
from gradlogp.models.nets.conv import CONV, MAX_POOL, channels_last, spatial_rank
from gradlogp.models.nets.resnet import ResNetTrunk

LARGE = {
    1: 16,
    2: 16,
    3: 8,
}  # places a side, by spatial dimensions, above which the first layer halves


class Classifier(nn.Module):
    """Any trunk (B, *shape) -> (B, width) under a linear head: class logits [B, classes].

    `features(x)` is the trunk's output, [B, width].
    """

    def __init__(self, trunk: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class ConvClassifier(Classifier):
    """A small convolutional classifier of pictures, waves or volumes: quick to train, good
    features.

    x [B, channels, *sizes] -> class logits [B, classes]; `features(x)` is the layer before,
    [B, width].
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        channels: Sequence[int] = (24, 48, 64),
        width: int = 64,
    ) -> None:
        spatial = spatial_rank(shape)
        conv, pool = CONV[spatial], MAX_POOL[spatial]
        smallest = 2 ** (len(channels) - 1)
        if min(shape[1:]) < smallest:
            raise ValueError(
                f"a classifier of {len(channels)} stages needs sizes of {smallest} or more, got"
                f" {tuple(shape)}; give it fewer channels."
            )
        stride = 2 if min(shape[1:]) > LARGE[spatial] else 1
        layers: list[nn.Module] = [
            conv(shape[0], channels[0], 5, stride=stride, padding=2),
            nn.ReLU(),
        ]
        for a, b in itertools.pairwise(channels):
            layers += [conv(a, b, 3, padding=1), nn.ReLU(), pool(2)]
        convs = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = math.prod(convs(torch.zeros(1, *shape)).shape[1:])
        super().__init__(nn.Sequential(convs, nn.Linear(flat, width), nn.ReLU()), width, classes)
        channels_last(self, spatial)


class ResidualClassifier(Classifier):
    """A residual classifier with batch normalisation: for natural pictures, larger and surer.

    x [B, channels, *sizes] -> class logits [B, classes]; `features(x)` is the mean over all places,
    [B, channels[-1]]. Call eval() before use.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        channels: Sequence[int] = (32, 64, 128),
        patch: int = 2,
    ) -> None:
        super().__init__(ResNetTrunk(shape, channels, patch), channels[-1], classes)


class MLPClassifier(Classifier):
    """A perceptron classifier of the rows of tables, or of anything small that flattens to them.

    x [B, *shape] -> class logits [B, classes]; `features(x)` is the last hidden layer,
    [B, hidden[-1]].
    """

    def __init__(
        self, shape: int | Sequence[int], classes: int, hidden: Sequence[int] = (128, 128)
    ) -> None:
        size = shape if isinstance(shape, int) else math.prod(shape)
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in itertools.pairwise([size, *hidden]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        super().__init__(nn.Sequential(*layers), hidden[-1], classes)


class Heard(nn.Module):
    """Waveforms [B, channels, length] -> log-mel spectrograms [B, channels, bands, frames], scaled
    to a few units.
    """

    def __init__(self, spectrogram: LogMel) -> None:
        super().__init__()
        self.spectrogram = spectrogram

    def forward(self, x: Tensor) -> Tensor:
        return self.spectrogram(x) / 4


class SpectrogramClassifier(Classifier):
    """A classifier of waveforms by the log-mel spectrogram, as a picture: for spoken words.

    x [B, channels, length] at `spectrogram.rate` samples a second -> class logits [B, classes];
    `features(x)` [B, width].
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        spectrogram: LogMel | None = None,
        channels: Sequence[int] = (24, 48, 64),
        width: int = 64,
    ) -> None:
        spectrogram = spectrogram or LogMel()
        if len(shape) != 2 or shape[1] < spectrogram.window:
            raise ValueError(
                "a classifier by spectrogram needs waveforms (channels, length) of at least"
                f" {spectrogram.window} samples, got {tuple(shape)}; choose a shorter window."
            )
        heard = Heard(spectrogram)
        seen = heard(torch.zeros(1, *shape)).shape[1:]
        convs = ConvClassifier(seen, classes, channels, width)
        super().__init__(nn.Sequential(heard, convs.trunk), width, classes)

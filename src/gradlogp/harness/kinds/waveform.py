"""Waveforms: [-1, 1] in files and in models; drawn as curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from gradlogp.core.random import Randomness, normal_
from gradlogp.data import save_grid
from gradlogp.harness.kinds.base import Kind
from gradlogp.metrics import Measure
from gradlogp.metrics.base import standard_error
from gradlogp.models import ConvClassifier, SpectrogramClassifier

HEIGHT, WIDTH = 32, 96  # of a curve, in pixels
SHORTEST = 1024  # samples of which a spectrogram can be made


@final
@dataclass(frozen=True)
class Waveform(Kind):
    """Samples of a sound: [-1, 1] in files and in models."""

    noun: ClassVar[str] = "waveform"
    plural: ClassVar[str] = "waveforms"
    noise_unit: ClassVar[str] = "on [-1, 1]"
    bounds: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".npz")

    def to_model(self, x: Tensor) -> Tensor:
        return x

    def from_model(self, x: Tensor) -> Tensor:
        return x.clamp(-1, 1)

    @property
    def gain(self) -> float:
        return 1.0

    def noise(self, x: Tensor, generator: Randomness) -> Tensor:
        """N(0, 0.1^2): the loudness of speech, not of full scale."""
        return normal_(x, generator).mul_(0.1)

    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        """By the log-mel spectrogram, where the waveform is long enough to have one."""
        long = shape[-1] >= SHORTEST
        return SpectrogramClassifier(shape, classes) if long else ConvClassifier(shape, classes)

    def restoration(self, clean: Tensor, restored: Tensor) -> list[Measure]:
        return [signal_to_noise(clean, restored)]

    def preview(self, path: Path, x: Tensor, columns: int) -> None:
        save_grid(path, curves(x), columns=columns)

    def write(self, path: Path, x: Tensor, labels: Tensor | None = None) -> None:
        if path.suffix.lower() == ".png":
            self.preview(path, x, 5)
        else:
            super().write(path, x, labels)


def signal_to_noise(clean: Tensor, restored: Tensor) -> Measure:
    """10 log10 of the energy of the signal over that of the error, dB, the mean over examples."""
    signal = clean.double().flatten(1).square().sum(1)
    error = (clean - restored).double().flatten(1).square().sum(1)
    each = 10 * torch.log10((signal + 1e-12) / (error + 1e-12))
    protocol = "signal-to-noise ratio, dB, mean over examples"
    return Measure("snr", float(each.mean()), standard_error(each), len(each), "higher", protocol)


def curves(x: Tensor) -> Tensor:
    """x [n, 1, T] in [-1, 1] -> pictures [n, 1, HEIGHT, WIDTH]: the range of the samples of each
    column, white.
    """
    columns = nn.functional.adaptive_max_pool1d(torch.cat([x[:, :1], -x[:, :1]], 1).float(), WIDTH)
    high, low = columns[:, :1], -columns[:, 1:]  # [n, 1, WIDTH]
    level = torch.linspace(1, -1, HEIGHT)[:, None]
    half = 1 / (HEIGHT - 1)
    inside = (level <= high[:, :, None] + half) & (level >= low[:, :, None] - half)
    return inside.float()

"""Waveforms: [-1, 1] in files and in models; shown as log-mel spectrograms, and played."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from gradlogp.core.random import Randomness, normal_
from gradlogp.core.spectrogram import LogMel
from gradlogp.data import save_grid
from gradlogp.data.waves import write_wave
from gradlogp.harness.kinds.base import Kind
from gradlogp.metrics import Measure, bins, frechet
from gradlogp.metrics.base import standard_error
from gradlogp.models import ConvClassifier, SpectrogramClassifier

HEIGHT, WIDTH = 64, 96  # of a picture of one, in pixels
LOUDEST = 3.0  # ln of the power that is white; the bottom of the scale is black
HEARD = 10
BINS = 25
SHADES = ((0.0, 0.0, 0.02), (0.32, 0.07, 0.48), (0.71, 0.21, 0.47), (0.98, 0.53, 0.38), (1, 1, 0.9))
SHORTEST = 1024  # samples of which a spectrogram can be made


@final
@dataclass(frozen=True)
class Waveform(Kind):
    """Samples of a sound, `rate` of them a second: [-1, 1] in files and in models."""

    rate: int = 8000

    noun: ClassVar[str] = "waveform"
    plural: ClassVar[str] = "waveforms"
    noise_unit: ClassVar[str] = "on [-1, 1]"
    bounds: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".npz", ".wav")
    columns: ClassVar[int] = 5
    single: ClassVar[str] = ".wav"

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

    def alike(self, x: Tensor) -> Tensor:
        """The log-mel spectrogram, where the waveform is long enough: a sound a moment later is the
        same sound, and shares no entry.
        """
        return (LogMel(self.rate)(x.float()) if x.shape[2] >= SHORTEST else x).flatten(1)

    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        """By the log-mel spectrogram, where the waveform is long enough to have one."""
        long = shape[-1] >= SHORTEST
        return SpectrogramClassifier(shape, classes) if long else ConvClassifier(shape, classes)

    def restoration(self, clean: Tensor, restored: Tensor) -> list[Measure]:
        return [signal_to_noise(clean, restored)]

    def compared(self, real: Tensor, fake: Tensor) -> list[Measure]:
        """Frechet distance and bins drawn differently, of the bands' means and deviations in time."""
        if real.shape[2] < SHORTEST or len(real) < 2 * BINS:
            return []
        a, b = (LogMel(self.rate).pooled(x.float()) for x in (real, fake))
        spectrum = frechet.fd(a, b, "none: log-mel bands, mean and deviation in time")
        return [replace(spectrum, metric="fd_spectrum"), bins.ndb(a, b, bins=BINS)]

    def preview(self, path: Path, x: Tensor, columns: int) -> None:
        """Log-mel spectrograms; curves, of what is too short for them."""
        shown = spectrograms(x, self.rate) if x.shape[2] >= SHORTEST else curves(x)
        save_grid(path, shown, columns=columns, scale=1)

    def enliven(self, path: Path, x: Tensor) -> None:
        """The first of them one after the other, to listen to."""
        self.sound(path.with_suffix(".wav"), x[:HEARD])

    def sound(self, path: Path, x: Tensor) -> None:
        """The first channel of x [n, channels, length], a fifth of a second of silence between."""
        silence = torch.zeros(len(x), self.rate // 5)
        write_wave(path, torch.cat([x[:, 0].float(), silence], 1).flatten().numpy(), self.rate)

    def write_one(self, path: Path, x: Tensor) -> None:
        """Without the silence that tells several apart."""
        write_wave(path, x[0].float().numpy(), self.rate)

    def writers(self) -> Mapping[str, Callable[[Path, Tensor], None]]:
        return {**super().writers(), ".wav": self.sound}


def signal_to_noise(clean: Tensor, restored: Tensor) -> Measure:
    """10 log10 of the energy of the signal over that of the error, dB, the mean over examples."""
    signal = clean.double().flatten(1).square().sum(1)
    error = (clean - restored).double().flatten(1).square().sum(1)
    each = 10 * torch.log10((signal + 1e-12) / (error + 1e-12))
    protocol = "signal-to-noise ratio, dB, mean over examples"
    return Measure("snr", float(each.mean()), standard_error(each), len(each), "higher", protocol)


def spectrograms(x: Tensor, rate: int) -> Tensor:
    """x [n, 1, T] in [-1, 1] -> pictures [n, 3, HEIGHT, WIDTH]: time to the right, low notes below,
    loud notes bright.
    """
    logmel = LogMel(rate)
    bottom = math.log(logmel.epsilon)
    level = ((logmel(x[:, :1].float()) - bottom) / (LOUDEST - bottom)).clamp(0, 1).flip(2)
    level = nn.functional.interpolate(level, (HEIGHT, WIDTH), mode="bilinear")[:, 0]
    shades = torch.tensor(SHADES)
    below = (level * (len(shades) - 1)).floor().long().clamp(max=len(shades) - 2)
    share = (level * (len(shades) - 1) - below)[..., None]
    return torch.lerp(shades[below], shades[below + 1], share).permute(0, 3, 1, 2)


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

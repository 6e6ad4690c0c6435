r"""Log-mel spectrograms: how loud a waveform is, in bands that are as wide as the ear's.

.. math:: S_{bt} = \ln\Big(\sum_f w_b(f)\, \Big|\sum_n h_n\, x_{n + t H}\, e^{-2\pi i f n / N}\Big|^2 + \epsilon\Big), \qquad
          \mathrm{mel}(f) = 2595 \log_{10}(1 + f / 700),

with a Hann window h of N samples, a hop of H, and triangles w whose tops are at equal distances in
mel: each begins at the top of the last and ends at the top of the next. The window is normalised to
:math:`\sum_n h_n^2 = 1`, so white noise of unit variance has power 1 at every frequency.

References: Stevens et al. (1937), A Scale for the Measurement of the Psychological Magnitude Pitch;
Davis & Mermelstein (1980), Comparison of Parametric Representations for Monosyllabic Word
Recognition (triangles on the mel scale).
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.errors import at_least


def mel(frequency: float) -> float:
    """Hertz to mel."""
    return 2595 * math.log10(1 + frequency / 700)


def hertz(mels: Tensor) -> Tensor:
    """Mel to hertz."""
    return 700 * (10 ** (mels / 2595) - 1)


def triangles(rate: int, window: int, bands: int) -> Tensor:
    """The weights of the frequencies in each band, [bands, window // 2 + 1]; they add to 1 between
    the outermost tops.
    """
    tops = hertz(torch.linspace(0, mel(rate / 2), bands + 2, dtype=torch.float64))
    f = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
    width = tops.diff()[:, None]
    rise = (f - tops[:-2, None]) / width[:-1]
    fall = (tops[2:, None] - f) / width[1:]
    return rise.minimum(fall).clamp(min=0)


@final
@dataclass(frozen=True)
class LogMel:
    """Waveforms [B, channels, length] at `rate` samples a second -> [B, channels, bands, frames].

    window and hop are in samples; quiet bands end at ln `epsilon`. Differentiable in x.
    """

    rate: int = 8000
    bands: int = 32
    window: int = 256
    hop: int = 64
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        at_least(1, rate=self.rate, bands=self.bands, window=self.window, hop=self.hop)
        at_least(0, epsilon=self.epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[2] < self.window:
            raise ValueError(
                "a spectrogram needs waveforms [B, channels, length] of at least"
                f" {self.window} samples, got {list(x.shape)}; choose a shorter window."
            )
        hann = torch.hann_window(self.window, dtype=x.dtype, device=x.device)
        frames = torch.stft(
            x.flatten(0, 1),
            self.window,
            self.hop,
            window=hann / hann.norm(),
            center=False,
            return_complex=True,
        )
        power = torch.view_as_real(frames).square().sum(-1)
        weights = triangles(self.rate, self.window, self.bands).to(x)
        return (weights @ power + self.epsilon).log().unflatten(0, x.shape[:2])

    def pooled(self, x: Tensor) -> Tensor:
        """Mean and standard deviation of each band over the frames, [B, 2 channels bands]: features
        for distances between sets of sounds.
        """
        bands = self(x).flatten(1, 2)
        return torch.cat([bands.mean(2), bands.std(2, correction=0)], 1)

"""Detectors for pictures of many things: the nearest training picture by whitened directions, or by
the score of one Gaussian.

Their settings (the ridge; levels, places and weights) were fixed while looking at CIFAR-10, each of
ten classes against the other nine, on validation pictures.

Reference: Mahmood et al. (2021), arXiv 2010.13132 (norms of a score, which `GaussianField` looks at
more closely).
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.baselines.detector import Detector, Scores, subsample
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Denoiser
from gradlogp.core.neighbours import nearest
from gradlogp.core.score_features import field_distances, score_features
from gradlogp.core.spectrum import Spectrum
from gradlogp.models.gaussian import LARGEST, NoisyGaussian


def _pictures(normal: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The mean of pictures [n, C, H, W] and their largest distance from it in an entry; UserError
    where they are none, or too large for a covariance.
    """
    if normal.ndim != 4:
        raise UserError(
            f"{name} is for pictures [n, C, H, W], got {list(normal.shape)}; take noised_energy or"
            " neighbours for rows and sounds."
        )
    if (entries := normal[0].numel()) > LARGEST:
        raise UserError(
            f"{name} knows the covariance of at most {LARGEST} numbers a picture, got {entries}; fit"
            " pictures to 32 pixels a side (--size 32), or take neighbours."
        )
    mean = normal.mean(0)
    extent = (normal - mean).abs().max()
    return mean, torch.where(extent > 0, extent, 1.0)


@final
@dataclass(frozen=True)
class WhitenedNeighbours(Detector):
    """The distance of the direction of a whitened picture to that of its nearest training picture.

    Directions are :math:`w / |w|, w = (C + r I)^{-1/2} (x - \\mu)`, the ridge r a `share` of the mean
    variance. Busy and plain pictures count alike: how far x is from the mean is not looked at.
    """

    share: float = 1.0

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        mean, extent = _pictures(normal, "whitened_neighbours")
        known = (normal - mean) / extent
        spectrum = Spectrum.fit(known)
        scale = (spectrum.variances + self.share * spectrum.variances.mean()).rsqrt()
        scale = torch.where(scale.isfinite(), scale, 0.0).to(normal)

        def direction(x: Tensor) -> Tensor:
            return torch.nn.functional.normalize(spectrum.coordinates(x) * scale)

        among = direction(known)
        return lambda x: nearest(direction((x - mean) / extent), among, 1)[:, 0]


@final
@dataclass(frozen=True)
class GaussianField(Detector):
    """The nearest training picture by where the score of one Gaussian is large and how it points.

    Five levels of noise, `most` training pictures, cells x cells places (`core.score_features`). For
    photos of many things.
    """

    cells: int = 4
    most: int = 5000

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        mean, extent = _pictures(normal, "gaussian_field")
        scale = extent * ((normal - mean) / extent).square().mean().sqrt().clamp(min=1e-6)
        known = (normal - mean) / scale
        gaussian = NoisyGaussian(normal.shape[1:], 1.0).to(normal)
        gaussian.fit(known)
        noisy = Denoiser(gaussian.denoise)

        def features(x: Tensor) -> dict[str, Tensor]:
            return score_features(noisy, x, cells=self.cells)

        distances = field_distances(features, subsample(known, self.most, seed))
        return lambda x: distances((x - mean) / scale)

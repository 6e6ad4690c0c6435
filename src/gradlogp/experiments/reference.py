r"""The rows that keep a table honest: real training pictures, which nothing beats, and a Gaussian of the pixels, which all do.

The Gaussian :math:`\mathcal N(\mu, C)` fitted to the training pictures draws samples, and its posterior mean is the best linear
denoiser, Wiener's filter:

.. math:: \hat x = \mu + C (C + \sigma^2 I)^{-1} (y - \mu).

Reference: Wiener (1949), Extrapolation, Interpolation and Smoothing of Stationary Time Series.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.data.picture import save_grid
from gradlogp.experiments.base import Evaluation, Restorer
from gradlogp.experiments.evaluate import ROW, Rows, denoising, judge_samples, row
from gradlogp.experiments.judge import Judge


@final
@dataclass(frozen=True)
class PixelGaussian:
    """mean [D], and the eigenvalues [D] and eigenvectors [D, D] of the covariance, in float64; pictures in [0, 1]."""

    mean: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def fit(cls, x: Tensor) -> "PixelGaussian":
        flat = x.flatten(1).double()
        values, vectors = torch.linalg.eigh(flat.T.cov())
        return cls(flat.mean(0), values.clamp(min=0), vectors)

    def sample(self, n: int, seed: int) -> Tensor:
        """[n, D]"""
        eps = torch.randn(n, len(self.mean), generator=seeded(seed, "gaussian"), dtype=torch.float64)
        return (self.mean + (eps * self.values.sqrt()) @ self.vectors.T).float()

    def restore(self, noisy: Tensor, sigma: float) -> Tensor:
        centred = (noisy.flatten(1).double() - self.mean) @ self.vectors
        restored = self.mean + (centred * self.values / (self.values + sigma**2)) @ self.vectors.T
        return restored.float().reshape(noisy.shape).clamp(0, 1)


def references(data: Dataset, judge: Judge, evaluation: Evaluation, folder: Path) -> dict[str, Rows]:
    """Rows of the two references, by label; real.png and gaussian.png go into `folder`."""
    n = min(evaluation.samples, len(data.train), len(data.test))
    real, gaussian = data.train.images(slice(0, n)), PixelGaussian.fit(data.train.images())
    drawn = gaussian.sample(n, 0).clamp(0, 1).unflatten(1, data.shape)
    save_grid(folder / "real.png", data.test.images(slice(0, ROW * ROW)), columns=ROW)
    save_grid(folder / "gaussian.png", drawn[:ROW * ROW], columns=ROW)
    wiener = denoising(lambda sigma: Restorer(lambda y: gaussian.restore(y, sigma), "Wiener filter", 0), data, evaluation, 0)
    return {"real training pictures": [row(m, seed=0) for m in judge_samples(real, data, judge)],
            "Gaussian of the pixels": [row(m, seed=0) for m in judge_samples(drawn, data, judge)] + wiener}

"""The rows that keep a table honest: real training pictures, which nothing beats, and a Gaussian of
the pixels, which all do.

The Gaussian draws samples, and its posterior mean is the best linear denoiser, Wiener's filter.
"""

from pathlib import Path

from gradlogp.data import Dataset
from gradlogp.data.picture import save_grid
from gradlogp.experiments.base import Evaluation, Restorer
from gradlogp.experiments.evaluate import ROW, Rows, denoising, judge_samples, row
from gradlogp.experiments.judge import Judge
from gradlogp.experiments.wiener import PixelGaussian


def references(
    data: Dataset, judge: Judge, evaluation: Evaluation, folder: Path
) -> dict[str, Rows]:
    """Rows of the two references, by label; real.png and gaussian.png go into `folder`."""
    n = min(evaluation.samples, len(data.train), len(data.test))
    real = data.train.scaled(slice(0, n))
    gaussian = PixelGaussian.fit(data.train.scaled())
    drawn = gaussian.sample(n, 0).clamp(0, 1).unflatten(1, data.shape)
    save_grid(folder / "real.png", data.test.scaled(slice(0, ROW * ROW)), columns=ROW)
    save_grid(folder / "gaussian.png", drawn[: ROW * ROW], columns=ROW)
    wiener = denoising(
        lambda sigma: Restorer(lambda y: gaussian.restore(y, sigma), "Wiener filter", 0),
        data,
        evaluation,
        0,
    )
    return {
        "real training pictures": [row(m, seed=0) for m in judge_samples(real, data, judge)],
        "Gaussian of the pixels": (
            [row(m, seed=0) for m in judge_samples(drawn, data, judge)] + wiener
        ),
    }

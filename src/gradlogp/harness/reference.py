"""The rows that keep a table honest: real training examples, which nothing beats, and a Gaussian of
the entries, which all do.

The Gaussian draws samples, and its posterior mean is the best linear denoiser, Wiener's filter.
"""

from pathlib import Path

from torch import Tensor

from gradlogp.baselines.wiener import PixelGaussian
from gradlogp.data import Dataset
from gradlogp.harness.evaluate import ROW, denoising, measure_samples
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.recipe import Evaluation, Restoration
from gradlogp.harness.record import Rows, row

REAL = "real training pictures"
TRIVIAL = "Gaussian of the pixels"


def references(
    data: Dataset, evaluator: Evaluator, evaluation: Evaluation, folder: Path
) -> dict[str, Rows]:
    """Rows of the two references, by label; real.png and gaussian.png go into `folder`."""
    kind = evaluator.kind
    n = min(evaluation.samples, len(data.train), len(data.test))
    real = data.train.scaled(slice(0, n))
    gaussian = PixelGaussian.fit(kind.to_unit(data.train.scaled()))
    drawn = kind.from_unit(gaussian.sample(n, 0).unflatten(1, data.shape))
    kind.preview(folder / "real.png", data.test.scaled(slice(0, ROW * ROW)), columns=ROW)
    kind.preview(folder / "gaussian.png", drawn[: ROW * ROW], columns=ROW)

    def wiener(sigma: float) -> Restoration:
        def restore(noisy: Tensor) -> Tensor:
            return kind.from_unit(gaussian.restore(kind.to_unit(noisy), sigma))

        return Restoration(restore, "Wiener filter", 0)

    measured = [row(m, seed=0) for m in measure_samples(drawn, data, evaluator)]
    linear = denoising(wiener, data, evaluation, 0, kind)
    return {
        REAL: [row(m, seed=0) for m in measure_samples(real, data, evaluator)],
        TRIVIAL: measured + linear,
    }

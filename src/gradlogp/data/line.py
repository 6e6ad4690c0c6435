"""Draws from two distributions on the line whose scores are known: what score matching is measured
on before it is let loose on pictures.

Column 0 is N(.5, .8^2), column 1 the mixture .3 N(-2, .5^2) + .7 N(1, 1). The draws are always the
same.
"""

from pathlib import Path

import torch
from torch import Tensor

from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, gaussian
from gradlogp.data.base import Dataset, Progress, Split
from gradlogp.data.columns import numeric_columns
from gradlogp.data.files import takes_nothing

DENSITIES = {
    "gaussian": gaussian([0.5], [0.8]),
    "mixture": GaussianMixture(
        *(
            torch.tensor(v, dtype=torch.float64)
            for v in ([[-2.0], [1.0]], [[0.5], [1.0]], [0.3, 0.7])
        )
    ),
}
COUNTS = {"train": 200_000, "validation": 10_000, "test": 20_000}


def densities(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Draws of a Gaussian (column 0) and of a mixture (column 1) on the line, whose scores are
    known.
    """
    takes_nothing("laws", which)

    def split(name: str) -> Split:
        return Split(
            torch.cat(
                [
                    density.sample(COUNTS[name], seeded("laws", name, key))
                    for key, density in DENSITIES.items()
                ],
                1,
            ),
            max_value=1,
        )

    train = split("train")
    columns = numeric_columns(train.x, tuple(DENSITIES))
    return Dataset("laws", train, split("validation"), split("test"), kind="row", columns=columns)


def column_of(split: Split, density: str) -> Tensor:
    """The draws [n, 1] of one distribution, float64."""
    return split.x[:, list(DENSITIES).index(density), None]

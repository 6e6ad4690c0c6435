"""Does the sampler generate, or does it hand back its training set?

    ratio = median over generated of min_t |x - t|  /  median over test of min_t |x - t|,    t in the training set

in pixel L2. Copies give 0, fresh draws of the same law 1; blur and noise also move it, so read it
beside precision.
"""

import math

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, finite, real as as_real
from gradlogp.core.errors import UserError
from gradlogp.metrics.base import Measure, Metric

CELLS = 2**24  # distances held at once: 64 MiB


def nearest(x: Numbers, train: Numbers) -> Tensor:
    """Distance [n] from every x (n, ...) to its nearest training example (m, ...).

    The neighbour is found by |t|^2 - 2 x.t, one float32 matrix product; its distance is then taken
    by differences, so that a copy is at exactly 0.
    """
    x, train = (finite(z, name, torch.float32) for z, name in ((x, "x"), (train, "train")))
    if x.shape[1:] != train.shape[1:]:
        raise ValueError(
            f"examples need one shape, but are {list(x.shape[1:])} and {list(train.shape[1:])} in "
            "training; pass images of one data set."
        )
    x, train = x.flatten(1), train.flatten(1)
    centre = train.mean(0)  # the product cancels less around 0
    x, train = x - centre, train - centre
    half = train.square().sum(1) / 2
    found = [(half - rows @ train.T).argmin(1) for rows in x.split(max(1, CELLS // len(train)))]
    return (x - train[torch.cat(found)]).norm(dim=1)


def memorisation(generated: Numbers, train: Numbers, test: Numbers) -> Measure:
    """Nearest-neighbour distance ratio of images (n, c, h, w) in [0, 1]; standard error of
    the two medians.
    """
    train = as_real(train, "train")
    far, apart = (nearest(x, train) for x in (generated, test))
    (above, error_above), (below, error_below) = map(_median, (far, apart))
    n, m = len(far), len(apart)
    if below == 0:
        raise UserError(
            "`test` needs examples that are not in `train`, but half of them are; pass a held-out"
            " set."
        )
    value = above / below
    error = (error_above**2 + (value * error_below) ** 2) ** 0.5 / below
    return MEMORISATION.measure(
        value,
        None if math.isnan(error) else error,
        n,
        f"median pixel L2 to the nearest of {len(train)} training examples, {n} generated"
        f" over {m} test, standard error from order statistics",
        1.0,
    )


def _median(distance: Tensor) -> tuple[float, float]:
    """Median and its standard error, NaN for one example: the rank of the true median is n/2 +-
    sqrt(n)/2.
    """
    distance, n = distance.double(), len(distance)
    half = min(0.5, 0.5 / n**0.5)
    low, middle, high = torch.quantile(distance, distance.new_tensor([0.5 - half, 0.5, 0.5 + half]))
    return float(middle), float(high - low) / 2 if n > 1 else math.nan


MEMORISATION = Metric(
    key="memorisation",
    call=memorisation,
    takes=("images", "images", "images"),
    says="distance to the training set, generated over test: 0 copies, 1 fresh",
    name="freshness",
    meaning="The distance from a drawn picture to the nearest training picture, over the same"
    " distance for real pictures that were held back. 0: copies of the training set (so real"
    " training pictures score 0). 1: as fresh as new ones. Noise and blur raise it above 1.",
    better="none",
    aim=1.0,
)

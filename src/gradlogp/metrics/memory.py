"""Does the sampler generate, or does it hand back its training set?

    ratio = median over generated of min_t |x - t|  /  median over test of min_t |x - t|,    t in the training set

in pixel L2. Copies give 0, fresh draws of the same law 1; blur and noise also move it, so read it
beside precision.
"""

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics.base import Measure, finite

CELLS = 2**24  # distances held at once: 64 MiB


def nearest(x: Tensor, train: Tensor) -> Tensor:
    """Distance [n] from every x (n, ...) to its nearest training example (m, ...).

    The neighbour is found by |t|^2 - 2 x.t, one float32 matrix product; its distance is then taken
    by differences, so that a copy is at exactly 0.
    """
    if x.shape[1:] != train.shape[1:]:
        raise ValueError(
            f"examples need one shape, but are {list(x.shape[1:])} and {list(train.shape[1:])} in "
            "training; pass images of one data set."
        )
    x, train = (
        finite(z, name, torch.float32).flatten(1) for z, name in ((x, "x"), (train, "train"))
    )
    centre = train.mean(0)  # the product cancels less around 0
    x, train = x - centre, train - centre
    half = train.square().sum(1) / 2
    found = [(half - rows @ train.T).argmin(1) for rows in x.split(max(1, CELLS // len(train)))]
    return (x - train[torch.cat(found)]).norm(dim=1)


def memorisation(generated: Tensor, train: Tensor, test: Tensor) -> Measure:
    """Nearest-neighbour distance ratio of images (n, c, h, w) in [0, 1]; standard error of
    the two medians.
    """
    (above, error_above), (below, error_below) = (
        _median(nearest(x, train)) for x in (generated, test)
    )
    if below == 0:
        raise UserError(
            "`test` needs examples that are not in `train`, but half of them are; pass a held-out"
            " set."
        )
    value = above / below
    spread = (error_above**2 + (value * error_below) ** 2) ** 0.5 / below
    return Measure(
        "memorisation",
        value,
        spread,
        len(generated),
        "higher",
        f"median pixel L2 to the nearest of {len(train)} training examples, {len(generated)}"
        f" generated over {len(test)} test, standard error from order statistics",
        1.0,
    )


def _median(distance: Tensor) -> tuple[float, float]:
    """Median and its standard error: the rank of the true median is n/2 +- sqrt(n)/2."""
    half = min(0.5, 0.5 / len(distance) ** 0.5)
    low, middle, high = torch.quantile(
        distance.double(), distance.new_tensor([0.5 - half, 0.5, 0.5 + half]).double()
    )
    return float(middle), float(high - low) / 2

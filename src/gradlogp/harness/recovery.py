r"""Recovery: part of an example is hidden, and a model fills it in given the rest.

    random    each entry is hidden with probability .7
    block     a block of 5/8 of every side, at a random place

The error is the share of the hidden entries that come out on the wrong side of a half; of volumes,
the voxels that are wrong. Random voxels are nearly given away by their neighbours, a block has none
to ask. What needs no learning errs so on the 783 test shapes of ModelNet10 at 16^3:

| hidden | all empty | 3^3 majority | nearest training shape |
|---|---|---|---|
| random | .090 ± .002 | .0420 ± .0006 | .0229 ± .0007 |
| block | .216 ± .005 | .184 ± .004 | .081 ± .003 |

References: Xie et al. (2018), Learning Descriptor Networks for 3D Shape Synthesis and Analysis,
arXiv 1804.00586, section 6.3 (70 % of the voxels corrupted); Wu et al. (2016), 3D-GAN, arXiv
1610.07584.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.random import seed_for, seeded
from gradlogp.data import Dataset
from gradlogp.harness.fit import Fitted
from gradlogp.harness.kinds import Kind
from gradlogp.harness.record import Recorder
from gradlogp.metrics import Measure
from gradlogp.metrics.base import standard_error
from gradlogp.models.nets.conv import spatial_rank

SHARE, BLOCK = 0.7, 0.625
COMPLETIONS = 3  # that are averaged
SHOWN = 8
Fill = Callable[[Tensor, Tensor], Tensor]  # (x with 0 where it is hidden, hidden) -> filled in


def hidden_at_random(x: Tensor, seed: int) -> Tensor:
    """True where an entry is hidden, like x [n, *shape]; all channels of a place together."""
    chances = torch.rand(len(x), 1, *x.shape[2:], generator=seeded(seed, "hidden"))
    return (chances < SHARE).expand(x.shape)


def hidden_block(x: Tensor, seed: int) -> Tensor:
    """True within a block of each example, like x [n, *shape]."""
    generator = seeded(seed, "block")
    inside = torch.ones(len(x), 1, *x.shape[2:], dtype=torch.bool)
    for axis, size in enumerate(x.shape[2:]):
        length = max(1, round(BLOCK * size))
        first = torch.randint(size - length + 1, (len(x), 1), generator=generator)
        places = torch.arange(size)
        along = (places >= first) & (places < first + length)  # [n, size]
        inside &= along.view(len(x), 1, *[1] * axis, size, *[1] * (x.dim() - 3 - axis))
    return inside.expand(x.shape)


HIDDEN: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "random": hidden_at_random,
    "block": hidden_block,
}


def by_majority(x: Tensor, hidden: Tensor) -> Tensor:
    """The vote of the shown entries among the 3^d around each hidden one, 0 where none is shown;
    x [n, 1, *sizes].
    """
    spatial = spatial_rank(x.shape[1:])
    shown = (~hidden).to(x.dtype)
    kernel = x.new_ones(1, 1, *[3] * spatial)
    around = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    full, known = (around(z, kernel, padding=1) for z in ((x > 0.5) * shown, shown))
    return torch.where(hidden, (full > known / 2).to(x.dtype), x)


def by_copy(train: Tensor) -> Fill:
    """What is hidden is copied from the training example [m, *shape] nearest in what is shown."""
    flat = train.flatten(1)
    squares = flat.square()

    def fill(x: Tensor, hidden: Tensor) -> Tensor:
        shown = (~hidden).to(x.dtype).flatten(1)
        y = x.flatten(1) * shown
        distances = shown @ squares.T - 2 * y @ flat.T  # up to what is the same for all
        return torch.where(hidden, train[distances.argmin(1)], x)

    return fill


def by_model(how: tasks.Sampling[Any], kind: Kind, seed: int) -> Fill:
    """The mean of a few completions by the chains of an energy, or by the levels of a score."""

    def fill(x: Tensor, hidden: Tensor) -> Tensor:
        y, n = kind.to_model(x), len(x)
        drawn = [tasks.inpaint(how, y, hidden, n, seed + k, batch=n) for k in range(COMPLETIONS)]
        return torch.where(hidden, torch.stack(drawn).mean(0), x)

    return fill


def wrong(clean: Tensor, filled: Tensor, hidden: Tensor) -> Measure:
    """The share of the hidden entries on the wrong side of a half, the mean over examples."""
    errs = ((clean > 0.5) != (filled > 0.5)) & hidden
    each = errs.flatten(1).sum(1).double() / hidden.flatten(1).sum(1).clamp(min=1)
    n = len(each)
    protocol = f"share of the hidden entries that are wrong, mean over {n} test examples"
    return Measure("recovery_error", float(each.mean()), standard_error(each), n, "lower", protocol)


def recovered(fill: Fill, data: Dataset, n: int, kind: Kind, recorder: Recorder) -> None:
    """Rows of the error of both ways of hiding, and a figure of each."""
    clean = data.test.scaled(slice(0, n))
    for name, hide in HIDDEN.items():
        hidden = hide(clean, 0)
        began = time.perf_counter()
        filled = fill(clean.masked_fill(hidden, 0), hidden)
        seconds = (time.perf_counter() - began) / len(clean)
        recorder.add(wrong(clean, filled, hidden), axes={"hidden": name}, seconds=seconds)
        shown = torch.cat([z[:SHOWN] for z in (clean, clean * ~hidden, filled)])
        caption = f"Test {kind.plural}, what is shown of them ({name} hidden), and how they are filled in."
        kind.preview(recorder.figure(f"recovery-{name}", caption), shown, columns=SHOWN)


def recovery(fitted: Fitted, data: Dataset, recorder: Recorder) -> None:
    """The same by a model's chains, of as many test examples as `evaluation.recover` says."""
    n = min(fitted.recipe.evaluation.recover, len(data.test))
    if n:
        kind = fitted.spec.coordinates
        fill = by_model(fitted.sampling(), kind, seed_for("restoration", recorder.seed))
        recovered(fill, data, n, kind, recorder)

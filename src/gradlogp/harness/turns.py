r"""Classes for examples that have none, so that there is something to learn features by: each
example is shown in one of four ways, and a network is taught to tell in which.

| kind | ways |
|---|---|
| pictures, volumes | turned by a quarter, half or three quarters about the middle of the last two axes |
| the same, not square | mirrored along the last axis, the one before, or both |
| waveforms | played backwards, upside down, or both |
| rows | their standardised columns in four fixed orders |

Which way up a thing is can only be seen by knowing its parts, so the features are of these; nobody
has to name anything. It is one way for all kinds.

References: Gidaris et al. (2018), Unsupervised Representation Learning by Predicting Image
Rotations, arXiv 1803.07728.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split

WAYS = 4
Way = Callable[[Tensor], Tensor]  # [n, *shape] -> the same shape


def classless(data: Dataset) -> bool:
    """Whether there are no two classes to tell apart."""
    return len(data.classes) < 2 or data.train.labels is None or data.test.labels is None


def turned(data: Dataset) -> Dataset:
    """The same examples, every fourth shown in the same way, labelled by the way."""
    shown = ways(data)

    def labelled(split: Split) -> Split:
        x, way = split.x.clone(), torch.arange(len(split)) % WAYS
        for k, show in enumerate(shown):
            x[way == k] = show(split.x[way == k]).to(x.dtype)
        return replace(split, x=x, labels=way)

    return replace(
        data,
        train=labelled(data.train),
        validation=labelled(data.validation),
        test=labelled(data.test),
        classes=tuple(f"way {k + 1}" for k in range(WAYS)),
    )


def ways(data: Dataset) -> list[Way]:
    """The four ways in which the examples of `data` are shown, the first as they are."""
    if len(data.shape) == 1:
        return [_reordered(data.train.scaled(), k) for k in range(WAYS)]
    if len(data.shape) == 2:
        return [lambda x: x, lambda x: x.flip(-1), lambda x: -x, lambda x: -x.flip(-1)]
    if data.shape[-2] == data.shape[-1]:
        return [partial(torch.rot90, k=k, dims=(-2, -1)) for k in range(WAYS)]
    return [partial(torch.flip, dims=axes) for axes in ((), (-1,), (-2,), (-2, -1))]


def _reordered(known: Tensor, k: int) -> Way:
    """Rows with their columns, standardised by `known` ones, in the k-th order."""
    mean, std = known.mean(0), known.std(0).clamp(min=1e-12)
    mixed = torch.randperm(len(mean), generator=seeded(k, "ways"))
    order = mixed if k else torch.arange(len(mean))
    return lambda x: ((x - mean) / std)[:, order] * std + mean

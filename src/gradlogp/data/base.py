"""What every reader returns: examples in three splits, and how the splits are cut.

Whole numbers stay as they were published (pictures are bytes) and become floats only when asked
for, x / max_value in [0, 1]. Shapes: pictures (n, channels, height, width), volumes (n, 1, depth,
height, width), waveforms (n, channels, length) in [-1, 1], rows (n, d) in their own units; the last
two are floats, with max_value = 1. The cuts depend on nothing but the data: a run's seed never
moves an example from one split to another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gradlogp.data.columns import Columns

Progress = Callable[[str, int, int | None], None]  # (file name, bytes so far, bytes in all or None)
Kind = Literal["picture", "volume", "waveform", "row", "caption"]  # caption: a captioned picture
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: `x` uint8 (n, c, ...) or float (n, ...), `labels` int64 (n,) or None;
    `max_value` becomes 1 (a byte of this value is white). `captions` has one text per example.
    """

    x: Tensor
    labels: Tensor | None = None
    max_value: int = 255
    captions: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> "Split":
        labels = None if self.labels is None else self.labels[index]
        captions = self.captions
        if captions is not None:
            captions = tuple(captions[i] for i in torch.arange(len(self))[index].tolist())
        return Split(self.x[index], labels, self.max_value, captions)

    def scaled(self, index: Tensor | slice | None = None) -> Tensor:
        """The examples, or those at `index`, as float32 x / max_value: pictures in [0, 1]."""
        return (self.x if index is None else self.x[index]).float() / self.max_value


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits of one `kind`; `checksums` (file name -> sha256) is what a run records
    of where they came from.

    columns: what the entries of a row stand for. rate: samples a second of a waveform (Hz). notes:
    sentences on what a reader did to the files (resampled, dropped, padded), for a person.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "picture"
    columns: Columns | None = None
    rate: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of a picture, (d,) of a row, and so on."""
        return tuple(self.train.x.shape[1:])


def cut(train: Split, n: int) -> tuple[Split, Split]:
    """(train, validation): a fixed shuffle, the last `n` of which validate. For sets published with
    a test set.
    """
    order = shuffled(len(train))
    return train[order[:-n]], train[order[-n:]]


def stratified_split(whole: Split) -> tuple[Split, Split, Split]:
    """(train, validation, test), 7 : 1 : 2 and stratified, of a set published without splits (3
    examples at least).

    Stratified 10-fold assignment: the shuffled examples are sorted by class and numbered 0..9 in
    turn, so no class is off its share by more than an example or two; two folds are the test split,
    one is the validation split.
    """
    order = shuffled(len(whole))
    if whole.labels is not None:
        order = order[whole.labels[order].argsort(stable=True)]
    fold = torch.arange(len(whole)) % 10
    test = (fold == 1) | (fold == 5)
    validation = fold == 2

    def part(chosen: Tensor) -> Split:
        members = order[chosen]
        # mixed again: the first few are a fair sample of the classes
        return whole[members[shuffled(len(members))]]

    return part(~(test | validation)), part(validation), part(test)


def shuffled(n: int) -> Tensor:
    """The numbers 0..n-1 in an order that is fixed for good: numpy has frozen this stream."""
    return torch.from_numpy(np.random.RandomState(0).permutation(n))

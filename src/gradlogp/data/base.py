"""What every reader returns: examples in three splits, and how the splits are cut.

Images are kept as bytes, which become floats only when asked for, x = byte / levels in [0, 1],
shape (n, channels, height, width). Rows of tables and draws from laws, shape (n, d), are floats in
their own units, with levels = 1. The cuts depend on nothing but the data: a run's seed never moves
an image from one split to another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

Progress = Callable[[str, int, int | None], None]  # (file name, bytes so far, bytes in all or None)


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: `x` uint8 (n, c, h, w) or float (n, d), `labels` int64 (n,) or None;
    the byte `levels` is white.
    """

    x: Tensor
    labels: Tensor | None = None
    levels: int = 255

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> "Split":
        return Split(
            self.x[index], None if self.labels is None else self.labels[index], self.levels
        )

    def images(self, index: Tensor | slice | None = None) -> Tensor:
        """The images, or those at `index`, as float32 in [0, 1]."""
        return (self.x if index is None else self.x[index]).float() / self.levels


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits; `checksums` (file name -> sha256) is what a run records of where they
    came from.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of one image, (d,) of one row."""
        return tuple(self.train.x.shape[1:])


def cut(train: Split, n: int) -> tuple[Split, Split]:
    """(train, validation): a fixed shuffle, the last `n` of which validate. For sets published with
    a test set.
    """
    order = _shuffled(len(train))
    return train[order[:-n]], train[order[-n:]]


def deal(whole: Split) -> tuple[Split, Split, Split]:
    """(train, validation, test), 7 : 1 : 2 and stratified, of a set published without splits (3
    images at least).

    The shuffled images are stacked class by class and dealt like cards to ten players, so no class
    can be off its share by more than a card or two; two players hold test, one holds validation.
    """
    order = _shuffled(len(whole))
    if whole.labels is not None:
        order = order[whole.labels[order].argsort(stable=True)]
    player = torch.arange(len(whole)) % 10
    tests, validates = (player == 1) | (player == 5), player == 2

    def hand(mine: Tensor) -> Split:
        cards = order[mine]
        return whole[
            cards[_shuffled(len(cards))]
        ]  # mixed again: the first few are a fair sample of the classes

    return hand(~(tests | validates)), hand(validates), hand(tests)


def _shuffled(n: int) -> Tensor:
    return torch.from_numpy(
        np.random.RandomState(0).permutation(n)
    )  # numpy has frozen this stream for good

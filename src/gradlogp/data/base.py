"""What every reader returns: examples in three splits, and how the splits are cut.

Whole numbers stay as they were published (pictures are bytes) and become floats only when asked
for, x / max_value in [0, 1]. Shapes: pictures (n, channels, height, width), volumes (n, 1, depth,
height, width), waveforms (n, channels, length) in [-1, 1], rows (n, d) in their own units; the last
two are floats, with max_value = 1. The cuts depend on nothing but the data: a run's seed never
moves an example from one split to another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.columns import Columns, numeric_columns
from gradlogp.data.items import stack

Progress = Callable[[str, int, int | None], None]  # (file name, bytes so far, bytes in all or None)
Kind: TypeAlias = str  # picture, volume, waveform, row, caption (a captioned picture), or your own


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

    @classmethod
    def of(
        cls,
        name: str,
        items: Any,
        *,
        test: Any = None,
        kind: Kind | None = None,
        classes: Sequence[str] = (),
        rate: int | None = None,
    ) -> "Dataset":
        """A data set of examples that you have: arrays, a PyTorch or Hugging Face data set, a
        generator.

        items: tensors or arrays (n, ...), a pair of them (x, labels), a mapping of them, or
        anything that yields items: tensors, arrays, PIL pictures, pairs (x, label) or (picture,
        caption), or dictionaries with keys such as image and label. Pictures are bytes or floats in
        [0, 1], waveforms floats in [-1, 1], volumes 0 and 1, rows any numbers. test: more of the
        same, else two tenths of `items`; a tenth validates. Both cuts are stratified by the labels.
        kind: what the examples are, where their shape does not say. classes: the labels' names.
        rate: of waveforms, in Hz. Raises UserError for what does not fit together.
        """
        whole, found = _stacked(name, items, kind)
        if test is None:
            if len(whole) < 3:
                raise UserError(f"{name}: expected at least 3 examples, got {len(whole)}.")
            splits = stratified_split(whole)
        else:
            held, _ = _stacked(f"{name}, test", test, found)
            if held.x.shape[1:] != whole.x.shape[1:] or held.max_value != whole.max_value:
                raise UserError(
                    f"{name}: the test examples are {held.x.dtype} {list(held.x.shape[1:])}, the"
                    f" others {whole.x.dtype} {list(whole.x.shape[1:])}; bring them to one form."
                )
            splits = (*stratified_cut(whole), mixed(held))
        named = _class_names(name, classes, splits)
        require_classes(name, named, *splits)
        columns = numeric_columns(splits[0].x) if found == "row" else None
        return cls(name, *splits, named, {}, found, columns, rate)


def _stacked(name: str, items: Any, kind: Kind | None) -> tuple[Split, Kind]:
    found = stack(name, items, kind)
    split = Split(found.x, found.labels, found.max_value, found.captions)
    return split, found.kind


def _class_names(name: str, classes: Sequence[str], splits: Sequence[Split]) -> tuple[str, ...]:
    labels = [split.labels for split in splits if split.labels is not None]
    if not labels:
        return ()
    top = int(torch.cat(labels).max())
    if classes and top >= len(classes):
        raise UserError(f"{name}: there are {len(classes)} classes, but a label is {top}.")
    return tuple(classes) or tuple(str(i) for i in range(top + 1))


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
    order, fold = _folds(whole)
    test = (fold == 1) | (fold == 5)
    validation = fold == 2
    return (
        _part(whole, order[~(test | validation)]),
        _part(whole, order[validation]),
        _part(whole, order[test]),
    )


def stratified_cut(train: Split) -> tuple[Split, Split]:
    """(train, validation), 9 : 1 and stratified, of a set that has a test set (3 examples at
    least).
    """
    order, fold = _folds(train)
    return _part(train, order[fold != 2]), _part(train, order[fold == 2])


def require_classes(source: object, classes: Sequence[str], train: Split, *others: Split) -> None:
    """Raises UserError for a class that is validated or tested but never learned from."""
    seen = set() if train.labels is None else set(train.labels.tolist())
    for split in others:
        labels = () if split.labels is None else split.labels.unique().tolist()
        for label in labels:
            if label not in seen:
                raise UserError(
                    f"{source}: the class {classes[label]} has no example to learn from; each needs"
                    " 3 or more, or take it away."
                )


def _folds(whole: Split) -> tuple[Tensor, Tensor]:
    """The shuffled examples sorted by class, and the fold 0..9 of each."""
    order = shuffled(len(whole))
    if whole.labels is not None:
        order = order[whole.labels[order].argsort(stable=True)]
    return order, torch.arange(len(whole)) % 10


def _part(whole: Split, members: Tensor) -> Split:
    return mixed(whole[members])


def mixed(split: Split) -> Split:
    """The split in a fixed order that is not its files': its first examples are a fair sample."""
    return split[shuffled(len(split))]


def shuffled(n: int) -> Tensor:
    """The numbers 0..n-1 in an order that is fixed for good: numpy has frozen this stream."""
    return torch.from_numpy(np.random.RandomState(0).permutation(n))

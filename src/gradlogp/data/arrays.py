"""Arrays of one's own, `npz:PATH`: the examples and, if there, their labels, as people name them.

    x, X, samples, images, data or arr_0 (n, ...)      y, Y, labels or label (n,) or (n, 1)
    x_train, y_train, x_test, y_test                    published splits

The shape says the kind: rows (n, d), pictures (n, h, w), (n, c, h, w) or (n, h, w, c), waveforms
(n, 1, length), volumes (n, 1, d, h, w). Labels may be whole numbers or texts, whose order is that
of the classes.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError, printable
from gradlogp.data.base import (
    Dataset,
    Progress,
    Split,
    mixed,
    require_classes,
    stratified_cut,
    stratified_split,
)
from gradlogp.data.columns import numeric_columns
from gradlogp.data.files import sha256
from gradlogp.data.items import arranged, guessed
from gradlogp.data.npz import npz_names, read_npz

EXAMPLES = ("x", "X", "samples", "images", "data", "arr_0")
LABELS = ("y", "Y", "labels", "label")


def npz(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Arrays of your own: npz:PATH with x (or samples, images) and, if there, y (or labels).

    Cut 7 : 1 : 2 into stratified splits, unless there are x_train and x_test. Raises UserError for
    arrays that do not fit together, hold NaN, or hold texts or objects for numbers.
    """
    named = which or str(root or "")
    path = Path(named).expanduser()
    if not named or path.is_dir():
        raise UserError(f"expected npz:PATH with an .npz file, got {named or 'no path'}.")
    pairs = _pairs(path, npz_names(path))
    arrays = read_npz(path, [name for pair in pairs for name in pair if name])
    classes = _classes(path, [arrays[label] for _, label in pairs if label])
    kind = guessed(str(path), arrays[pairs[0][0]].shape)
    parts = [_part(path, arrays, pair, kind, classes) for pair in pairs]
    if len({part.x.shape[1:] for part in parts}) > 1:
        raise UserError(f"{path}: training and test examples are of unlike shapes.")
    splits = stratified_split(parts[0])
    if len(parts) == 2:
        splits = (*stratified_cut(parts[0]), mixed(parts[1]))
    if min(map(len, splits)) == 0:
        raise UserError(f"{path}: expected at least 3 examples, found {sum(map(len, parts))}.")
    require_classes(path, classes, *splits)
    return Dataset(
        f"npz:{named}",
        *splits,
        classes,
        {path.name: sha256(path)},
        kind=kind,
        columns=numeric_columns(splits[0].x) if kind == "row" else None,
    )


def _pairs(path: Path, names: list[str]) -> list[tuple[str, str]]:
    """The names of examples and labels ("" for none): one pair, or train and test."""
    for x, y in (("x", "y"), ("X", "y"), ("X", "Y")):
        if {f"{x}_train", f"{x}_test"} <= set(names):
            has_labels = {f"{y}_train", f"{y}_test"} <= set(names)
            return [(f"{x}_{p}", f"{y}_{p}" if has_labels else "") for p in ("train", "test")]
    found = [name for name in EXAMPLES if name in names]
    label = next((name for name in LABELS if name in names), "")
    if not found and len(names) == 1:
        found = names
    if not found:
        raise UserError(
            f"{path}: expected an array {' or '.join(EXAMPLES)}, found"
            f" {', '.join(names) or 'none'}; save it with np.savez(path, x=examples, y=labels)."
        )
    return [(found[0], label)]


def _part(
    path: Path,
    arrays: dict[str, np.ndarray],
    names: tuple[str, str],
    kind: str,
    classes: tuple[str, ...],
) -> Split:
    x = arrays[names[0]]
    if x.dtype.kind not in "fiub" or x.ndim < 2:
        raise UserError(
            f"{path}: expected numbers (n, ...) in {names[0]}, got {x.dtype} {list(x.shape)}."
        )
    scaled, max_value = arranged(str(path), torch.from_numpy(_signed(x)), kind)
    labels = _labels(path, arrays[names[1]], len(x), classes) if names[1] else None
    return Split(scaled, labels, max_value)


def _classes(path: Path, labels: list[np.ndarray]) -> tuple[str, ...]:
    if not labels:
        return ()
    values = np.concatenate([label.reshape(-1) for label in labels])
    if values.dtype.kind in "US":
        return tuple(sorted({printable(str(text)) for text in values.tolist()}))
    whole = values.dtype.kind in "iub" or bool((values == np.round(values)).all())
    if values.dtype.kind not in "fiub" or not whole or not len(values):
        raise UserError(f"{path}: expected labels of whole numbers or texts, got {values.dtype}.")
    return tuple(str(int(v)) for v in np.unique(values))


def _labels(path: Path, labels: np.ndarray, n: int, classes: tuple[str, ...]) -> Tensor:
    if labels.shape not in ((n,), (n, 1)):
        raise UserError(
            f"{path}: expected a label for each of {n} examples, got {list(labels.shape)}."
        )
    flat = labels.reshape(-1).tolist()
    text = labels.dtype.kind in "US"
    place = {name: i for i, name in enumerate(classes)}
    return torch.tensor([place[printable(str(v)) if text else str(int(v))] for v in flat])


def _signed(x: np.ndarray) -> np.ndarray:
    """In types that torch computes with: no unsigned numbers of many bytes, no floats of 16."""
    if x.dtype.kind == "u" and x.itemsize > 1:
        return x.astype(np.int64)
    native = x.dtype.newbyteorder("=")
    return x.astype(np.float64 if x.dtype.kind == "f" and x.itemsize > 8 else native)

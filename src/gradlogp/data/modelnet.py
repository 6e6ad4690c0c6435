"""ModelNet10 as voxels: 4,899 pieces of furniture, solid, 30x30x30, in ten classes.

Read from modelnet10_vox30.npz in DIR/modelnet10/ or DIR itself: `train_vox` and `test_vox` hold a
grid a row, eight voxels a byte (np.packbits), the last axis up. A grid becomes 32x32x32 by a margin
of one, and 16x16x16 by taking the fullest of each 2x2x2. What is in the files more than once would
make copies look like novelties, so at the size asked for empty grids are dropped, repetitions of an
earlier training grid too, and test grids that are in the training part.

Reference: Wu et al. (2015), 3D ShapeNets: A Deep Representation for Volumetric Shapes, arXiv
1406.5670.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, mixed, stratified_cut
from gradlogp.data.files import cache_folder, data_folder, joined, sha256, split_option
from gradlogp.data.npz import read_npz
from gradlogp.data.voxels import resized, size_of

FILE = "modelnet10_vox30.npz"
SIDE = 30
ARRAYS = ("train_vox", "train_labels", "test_vox", "test_labels", "class_names")


def modelnet10(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Furniture as voxels, 32x32x32 or @16; modelnet10:chair@16 takes one of its ten classes.

    Test is as published but for what training has too; a tenth of train, stratified, validates.
    """
    category, option = split_option(which, r"\d+")
    size = size_of("modelnet10", option)
    path = _find(data_folder(root) or cache_folder())
    arrays = read_npz(path, ARRAYS)
    names = arrays["class_names"]
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UserError(f"{path}: expected names of classes, got {names.dtype} {names.shape}.")
    classes = tuple(names.tolist())
    if category and category not in classes:
        raise UserError(f"modelnet10: no class {category!r}; there are {', '.join(classes)}.")
    parts = [_part(path, arrays, part, len(classes), size) for part in ("train", "test")]
    if category:
        parts = [_of_class(part, classes.index(category)) for part in parts]
        classes = ()
    (whole, test), said = _distinct(*parts)
    train, validation = stratified_cut(whole)
    return Dataset(
        joined("modelnet10", category, str(size)),
        train,
        validation,
        mixed(test),
        classes,
        {path.name: sha256(path)},
        kind="volume",
        notes=(said,),
    )


def _find(root: Path) -> Path:
    for place in (root / "modelnet10", root):
        if (place / FILE).is_file():
            return place / FILE
    raise UserError(
        f"modelnet10: {FILE} not found in {root / 'modelnet10'} or {root}; put it there, or read"
        " the published meshes with voxels:PATH."
    )


def _part(path: Path, arrays: dict[str, np.ndarray], part: str, classes: int, size: int) -> Split:
    packed, labels = arrays[f"{part}_vox"], arrays[f"{part}_labels"]
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != -(-(SIDE**3) // 8):
        raise UserError(
            f"{path}: expected {part}_vox of bytes (n, {-(-(SIDE**3) // 8)}), got {packed.dtype}"
            f" {packed.shape}; fetch it anew."
        )
    if labels.shape != packed.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: expected a whole label for each of {len(packed)} {part}_vox.")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"{path}: expected {part}_labels 0..{classes - 1}; fetch it anew.")
    grids = np.unpackbits(packed, axis=1)[:, : SIDE**3].reshape(-1, SIDE, SIDE, SIDE)
    x = resized(torch.from_numpy(grids)[:, None], size)
    return Split(x, torch.from_numpy(labels.astype(np.int64)), max_value=1)


def _of_class(part: Split, label: int) -> Split:
    """The grids of one class, without labels: there is nothing left to tell apart."""
    assert part.labels is not None  # every grid has one
    return Split(part.x[part.labels == label], max_value=1)


def _distinct(train: Split, test: Split) -> tuple[tuple[Split, Split], str]:
    """Both parts without empty grids and repetitions, and what was dropped."""
    seen: set[bytes] = set()
    train, empty, twice = _kept(train, seen.__contains__, seen.add)
    test, empty_test, known = _kept(test, seen.__contains__)
    said = (
        f"modelnet10: dropped {empty + empty_test} empty grids, {twice} training grids that repeat"
        f" an earlier one, and {known} test grids that training has."
    )
    return (train, test), said


def _kept(
    part: Split, known: Callable[[bytes], bool], note: Callable[[bytes], None] | None = None
) -> tuple[Split, int, int]:
    """The part without empty and known grids, and how many of each there were."""
    full = (part.x != 0).flatten(1).any(1)
    new = torch.ones(len(part), dtype=torch.bool)
    for i, grid in enumerate(np.packbits(part.x.flatten(1).numpy(), axis=1)):
        if full[i]:
            new[i] = not known(grid.tobytes())
            if note:
                note(grid.tobytes())
    return part[full & new], int((~full).sum()), int((~new).sum())

"""Kuzushiji-MNIST's test part, out of distribution for models of digits: 10,000 cursive Japanese
characters, grey, 28x28.

Read as published, from t10k-*-idx?-ubyte(.gz) or from kmnist-test-{imgs,labels}.npz, in
DIR/kmnist/, DIR/KMNIST/raw/ (torchvision) or in DIR itself. There is no train part: it is never
learned from.

Reference: Clanuwat et al. (2018), Deep Learning for Classical Japanese Literature, arXiv
1812.01718.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split
from gradlogp.data.files import cache_folder, data_folder, sha256
from gradlogp.data.idx import TEST_IMAGES, TEST_LABELS, read_idx, spellings
from gradlogp.data.npz import read_npz

CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
NPZ = ("kmnist-test-imgs.npz", "kmnist-test-labels.npz")
PAIRS = (*zip(spellings(TEST_IMAGES), spellings(TEST_LABELS), strict=True), NPZ)  # images, labels


def kmnist(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """10,000 cursive Japanese characters, grey, 28x28: a test part only, out of distribution for
    digits.
    """
    folder = data_folder(which or root) or cache_folder()
    paths = _find(folder)
    x, labels = (
        _npz(p, d) if p.suffix == ".npz" else read_idx(p, d)
        for p, d in zip(paths, (3, 1), strict=True)
    )
    if x.shape[1:] != (28, 28) or len(x) != len(labels) or not len(x):
        raise UserError(
            f"{paths[0]}: expected images of 28x28 and a label each, got {list(x.shape)} and"
            f" {len(labels)} labels; fetch both files anew."
        )
    none = Split(x[:0, None], labels[:0].long())
    return Dataset(
        "kmnist",
        none,
        none,
        Split(x[:, None], labels.long()),
        CLASSES,
        {p.name: sha256(p) for p in paths},
    )


def _find(folder: Path) -> tuple[Path, Path]:
    """Not beside the idx files of another set: in a folder of its own name, or where the npz names
    say whose they are.
    """
    for place, pairs in (
        (folder / "kmnist", PAIRS),
        (folder / "KMNIST" / "raw", PAIRS),
        (folder, PAIRS if folder.name == "kmnist" else (NPZ,)),
    ):
        for images, labels in pairs:
            if (place / images).is_file() and (place / labels).is_file():
                return place / images, place / labels
    raise UserError(
        f"kmnist: {NPZ[0]} and {NPZ[1]} not found in {folder / 'kmnist'}; put the published test"
        " files there (codh.rois.ac.jp/kmnist)."
    )


def _npz(path: Path, dims: int) -> Tensor:
    array = read_npz(path, ["arr_0"])["arr_0"]
    if array.dtype != np.uint8 or array.ndim != dims:
        raise UserError(
            f"{path}: expected uint8 of {dims} dimensions, got {array.dtype} of {array.ndim}; is"
            " this KMNIST?"
        )
    return torch.from_numpy(array)

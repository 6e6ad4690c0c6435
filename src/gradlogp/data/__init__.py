"""Data: readers of published file formats. `load(name)` is the way in; a new set is one file and
one line here.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

from gradlogp.core.errors import UserError
from gradlogp.data.adbench import adbench, table
from gradlogp.data.base import Dataset, Progress, Split
from gradlogp.data.columns import Column, Columns
from gradlogp.data.digits import digits
from gradlogp.data.folder import folder
from gradlogp.data.idx import FASHION_MNIST, MNIST
from gradlogp.data.kmnist import kmnist
from gradlogp.data.laws import laws
from gradlogp.data.picture import fit, read_picture, save_grid, save_picture

__all__ = [
    "DATASETS",
    "Column",
    "Columns",
    "Dataset",
    "Progress",
    "Split",
    "download",
    "fit",
    "load",
    "read_picture",
    "save_grid",
    "save_picture",
]

Reader = Callable[[str | Path | None, Progress | None], Dataset]  # (folder, progress) -> data set

DATASETS: dict[str, Reader] = {
    "digits": digits,
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "kmnist": kmnist,
    "adbench": adbench,
    "folder": folder,
    "laws": laws,
}


def load(name: str, root: str | Path | None = None, progress: Progress | None = None) -> Dataset:
    """The data set `name`; in "NAME:PATH", as in "folder:photos@32", PATH stands for `root`; in
    "adbench:TABLE" it is a table.

    root: the folder that holds the data, else GRADLOGP_DATA, else the user's cache (downloaded
    there once). Raises UserError for an unknown name, and for files that are missing or not what
    they should be.
    """
    reader, path = _resolve(name)
    return table(path, root) if reader is adbench and path else reader(path or root, progress)


def download(name: str, root: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Fetch the published files of `name` into the folder it returns: <name> in `root`,
    GRADLOGP_DATA or the cache.
    """
    reader, path = _resolve(name)
    fetch = getattr(reader, "download", None)
    if fetch is None:
        raise UserError(f"{name} needs no download: it is there as it is.")
    return fetch(path or root, progress)


def _resolve(name: str) -> tuple[Reader, str]:
    kind, _, path = name.partition(":")
    if kind not in DATASETS:
        nearest = difflib.get_close_matches(kind, DATASETS, n=1, cutoff=0)[0]
        raise UserError(
            f"unknown data set {kind!r}; did you mean {nearest!r}? There are {', '.join(DATASETS)}."
        )
    return DATASETS[kind], path

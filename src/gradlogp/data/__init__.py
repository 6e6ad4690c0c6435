"""Data: readers of published file formats, and of files of one's own. `load(name)` is the way in,
`Dataset.of` takes what is in memory; a new set is one file and one line here.

A name is NAME, NAME:WHICH or either with @OPTION: mnist, adbench:32_shuttle, modelnet10@16,
folder:photos@32.
"""

import re
from collections.abc import Callable
from pathlib import Path

from gradlogp.core.errors import UserError, nearest
from gradlogp.data.adbench import adbench
from gradlogp.data.arrays import npz
from gradlogp.data.base import Dataset, Kind, Progress, Split
from gradlogp.data.captioned_digits import captioned_digits
from gradlogp.data.celeba import celeba
from gradlogp.data.cifar10 import CIFAR10
from gradlogp.data.columns import Column, Columns
from gradlogp.data.digits import digits
from gradlogp.data.emoji import emoji
from gradlogp.data.folder import ENDINGS as PICTURES, folder
from gradlogp.data.fsdd import fsdd
from gradlogp.data.idx import FASHION_MNIST, MNIST
from gradlogp.data.kmnist import kmnist
from gradlogp.data.line import densities
from gradlogp.data.modelnet import modelnet10
from gradlogp.data.picture import fit, read_picture, save_grid, save_picture
from gradlogp.data.table import csv, write_table
from gradlogp.data.voxels import ENDINGS as VOLUMES, voxels
from gradlogp.data.waves import ENDINGS as RECORDINGS, waves

__all__ = [
    "DATASETS",
    "Column",
    "Columns",
    "Dataset",
    "Kind",
    "Progress",
    "Split",
    "download",
    "fit",
    "load",
    "read_picture",
    "require_known",
    "save_grid",
    "save_picture",
    "write_table",
]

Reader = Callable[[str, str | Path | None, Progress | None], Dataset]  # (WHICH@OPTION, folder, ..)

DATASETS: dict[str, Reader] = {
    "digits": digits,
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "kmnist": kmnist,
    "cifar10": CIFAR10,
    "celeba": celeba,
    "folder": folder,
    "modelnet10": modelnet10,
    "voxels": voxels,
    "fsdd": fsdd,
    "waves": waves,
    "emoji": emoji,
    "captioned_digits": captioned_digits,
    "adbench": adbench,
    "csv": csv,
    "npz": npz,
    "laws": densities,
}


def load(name: str, root: str | Path | None = None, progress: Progress | None = None) -> Dataset:
    """The data set `name`; in "NAME:PATH", as in "folder:photos@32", PATH stands for `root`; in
    "adbench:TABLE" it is a table.

    root: the folder that holds the data, else GRADLOGP_DATA, else the user's cache (downloaded
    there once). Raises UserError for an unknown name, for files that are missing or not what they
    should be, and for examples that are all one constant.
    """
    reader, which = _resolve(name)
    try:
        data = reader(which, root, progress)
    except OSError as error:
        raise UserError(
            f"{name}: cannot read {error.filename or 'its files'}: {error.strerror or error}."
        ) from error
    except MemoryError as error:
        raise UserError(
            f"{name}: it does not fit in memory; take fewer or smaller ones."
        ) from error
    if len(data.train) and not _varies(data.train):
        raise UserError(
            f"{name}: every value of every example is {float(data.train.x.flatten()[0]):g} (all"
            " black, empty or constant): there is nothing to learn."
        )
    return data


def download(name: str, root: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Fetch the published files of `name` into the folder it returns: <name> in `root`,
    GRADLOGP_DATA or the cache.
    """
    reader, which = _resolve(name)
    fetch = getattr(reader, "download", None)
    if fetch is None:
        raise UserError(
            f"{name} is not downloaded: it is embedded, or its files are your own or brought by"
            " hand."
        )
    return fetch(which or root, progress)


def require_known(name: str) -> None:
    """Raises UserError, with the nearest name, unless `name` begins with that of a data set."""
    _resolve(name)


def _resolve(name: str) -> tuple[Reader, str]:
    kind = re.split("[:@]", name, maxsplit=1)[0]
    if "/" in kind and not Path(name).expanduser().exists():
        raise UserError(
            f"{name} does not exist; pass a file or folder that does, as in folder:PATH."
        )
    if kind not in DATASETS:
        near = _of_path(name) or nearest(kind, DATASETS)
        hint = f"; did you mean {near!r}?" if near else "."
        raise UserError(f"unknown data set {kind!r}{hint} There are {', '.join(DATASETS)}.")
    return DATASETS[kind], name[len(kind) :].removeprefix(":")


def _of_path(name: str) -> str | None:
    """The name that reads the file or folder `name`, if there is one of a kind that is read."""
    path = Path(name).expanduser()
    if path.is_file():
        ending = Path(path.name.lower().removesuffix(".gz")).suffix
        tables = {".csv": "csv", ".tsv": "csv", ".parquet": "csv", ".npz": "npz"}
        return f"{tables[ending]}:{name}" if ending in tables else None
    endings = {f.suffix.lower() for f in path.rglob("*")} if name and path.is_dir() else set()
    kinds = {"folder": PICTURES, "waves": RECORDINGS, "voxels": VOLUMES}
    return next((f"{kind}:{name}" for kind, known in kinds.items() if endings & known), None)


def _varies(split: Split) -> bool:
    """Whether two values differ, looking no further than to the first that does."""
    first = split.x[0].flatten()[0]
    return any(bool((x != first).any()) for x in split.x.split(1024))

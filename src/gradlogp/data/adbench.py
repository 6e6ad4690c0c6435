"""The classical tables of ADBench: rows of numbers, some of them anomalies, each an npz with X (n,
d) and y (n,), 1 = anomaly.

Looked for in DIR/adbench/ and in DIR itself, where DIR is the argument, GRADLOGP_DATA or the cache.
As one-class data: a random half of the normal rows is learned from (a fifth of it validates), the
other half and all anomalies are the test part. The half never depends on a run's seed.
`adbench:32_shuttle` names a table, also by its path.

Reference: Han et al. (2022), ADBench: Anomaly Detection Benchmark, arXiv 2206.09426; the tables go
back to ODDS and UCI.
"""

from pathlib import Path

import numpy as np
import torch

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, shuffled
from gradlogp.data.columns import numeric_columns
from gradlogp.data.download import sha256
from gradlogp.data.idx import cache_folder, data_folder

CLASSES = ("normal", "anomaly")


def tables(root: str | Path | None = None) -> list[str]:
    """The names of the tables that are there, by their number. Raises UserError where there are
    none.
    """
    found = {path.stem: path for folder in _folders(root) for path in folder.glob("[0-9]*_*.npz")}
    if not found:
        raise UserError(
            f"adbench: no table (NUMBER_NAME.npz) found in {_folders(root)[0]}; put the published"
            " tables there (github.com/Minqi824/ADBench, datasets/Classical)."
        )
    return sorted(
        found,
        key=lambda name: int(name.partition("_")[0]) if name.partition("_")[0].isdigit() else 0,
    )


def adbench(root: str | Path | None = None, progress: Progress | None = None) -> Dataset:
    """A table of ADBench, as adbench:32_shuttle: half of its normal rows to learn from, the rest
    and all anomalies to test.
    """
    there = tables(root)
    raise UserError(
        f"adbench is many tables; name one, as in adbench:{there[0]} (there are"
        f" {', '.join(there[:3])}, ...)."
    )


def table(name: str, root: str | Path | None = None) -> Dataset:
    """The table `name`, such as 32_shuttle, of the folder `root` that holds the data; or a path
    that ends in .npz.
    """
    if name.endswith(".npz"):
        return read_table(Path(name))
    for folder in _folders(root):
        if (folder / f"{name}.npz").is_file():
            return read_table(folder / f"{name}.npz")
    raise UserError(
        f"adbench: {name}.npz not found in {_folders(root)[0]}; there are"
        f" {', '.join(tables(root))}."
    )


def read_table(path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["X"], arrays["y"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(
            f"{path}: cannot be read as a table with X and y ({error}); fetch it anew."
        ) from error
    if (
        x.ndim != 2
        or y.shape != x.shape[:1]
        or not np.isin(y, (0, 1)).all()
        or not np.isfinite(x).all()
    ):
        raise UserError(
            f"{path}: expected finite rows X (n, d) and labels y (n,) of 0 and 1, got {x.shape} and"
            f" {y.shape}."
        )
    rows = torch.from_numpy(x.astype(np.float32))
    labels = torch.from_numpy(y.astype(np.int64))
    normal = (labels == 0).nonzero()[:, 0]
    anomalous = (labels == 1).nonzero()[:, 0]
    if len(normal) < 20 or len(anomalous) < 2:
        raise UserError(
            f"{path}: expected 20 normal rows and 2 anomalies at least, got {len(normal)} and"
            f" {len(anomalous)}."
        )
    normal = normal[shuffled(len(normal))]
    half, fifth = len(normal) // 2, len(normal) // 10
    parts = [normal[fifth:half], normal[:fifth], torch.cat([normal[half:], anomalous])]
    train, validation, test = (Split(rows[i], labels[i], max_value=1) for i in parts)
    return Dataset(
        f"adbench:{path.stem}",
        train,
        validation,
        test,
        CLASSES,
        {path.name: sha256(path)},
        kind="row",
        columns=numeric_columns(train.x),
    )


def _folders(root: str | Path | None) -> list[Path]:
    folder = data_folder(root) or cache_folder()
    return [folder / "adbench", folder]

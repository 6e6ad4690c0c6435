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
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, shuffled
from gradlogp.data.columns import numeric_columns
from gradlogp.data.files import cache_folder, data_folder, sha256
from gradlogp.data.npz import npz_names, read_npz

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


def adbench(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """A table of ADBench, as adbench:32_shuttle: half of its normal rows to learn from, the rest
    and all anomalies to test.
    """
    if which:
        return table(which, root)
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
        return read_table(Path(name).expanduser())
    for folder in _folders(root):
        if (folder / f"{name}.npz").is_file():
            return read_table(folder / f"{name}.npz")
    raise UserError(
        f"adbench: {name}.npz not found in {_folders(root)[0]}; there are"
        f" {', '.join(tables(root))}."
    )


def read_table(path: Path) -> Dataset:
    """The table in an .npz of X (n, d) and y (n,), 1 = anomaly; also x and y, y of (n, 1), and
    scikit-learn's y, in which -1 is the anomaly.
    """
    arrays = read_npz(path, _names(path))
    x, y = arrays.values()
    rows = _rows(path, x)
    labels, notes = _labels(path, y, len(rows))
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
        notes=notes,
    )


def _names(path: Path) -> tuple[str, str]:
    there = npz_names(path)
    for pair in (("X", "y"), ("x", "y"), ("X", "Y")):
        if set(pair) <= set(there):
            return pair
    raise UserError(
        f"{path}: expected a table with X and y, found {', '.join(there) or 'no array'}; fetch it"
        " anew, or save it with np.savez(path, X=rows, y=labels)."
    )


def _rows(path: Path, x: np.ndarray) -> Tensor:
    if x.ndim != 2 or x.dtype.kind not in "fiub":
        raise UserError(
            f"{path}: expected rows X (n, d) of numbers, got {list(x.shape)} of {x.dtype}."
        )
    with np.errstate(over="ignore"):  # what is too large is said below
        rows = x.astype(np.float32)
    if bad := np.argwhere(~np.isfinite(rows)).tolist():
        raise UserError(
            f"{path}: expected finite rows, but {len(bad):,} cells of X are missing or too large,"
            f" the first in row {bad[0][0]}, column {bad[0][1]}; leave these rows out or fill them"
            " in."
        )
    return torch.from_numpy(rows)


def _labels(path: Path, y: np.ndarray, n: int) -> tuple[Tensor, tuple[str, ...]]:
    """The labels, 1 = anomaly, and what is to be said of them."""
    flat = y[:, 0] if y.shape == (n, 1) else y
    if flat.shape != (n,) or flat.dtype.kind not in "fiub":
        raise UserError(
            f"{path}: expected labels y (n,) of 0 and 1, one for each of {n} rows, got"
            f" {list(y.shape)} of {y.dtype}."
        )
    signed = np.isin(flat, (-1, 1)).all() and (flat == -1).any()
    if signed and (flat == -1).mean() > 0.5:
        raise UserError(
            f"{path}: y is -1 and 1, and most are -1, the anomaly of scikit-learn; save y as 0 and"
            " 1, 1 = anomaly."
        )
    if not signed and not np.isin(flat, (0, 1)).all():
        raise UserError(f"{path}: expected labels y of 0 and 1, 1 = anomaly, got others.")
    labels = torch.from_numpy((flat == -1 if signed else flat).astype(np.int64))
    said = (f"{path.name}: y of -1 is taken for the anomaly, as in scikit-learn.",)
    return labels, said if signed else ()


def _folders(root: str | Path | None) -> list[Path]:
    folder = data_folder(root) or cache_folder()
    return [folder / "adbench", folder]

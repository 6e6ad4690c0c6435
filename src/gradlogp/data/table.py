"""Tables of one's own, `csv:PATH`, or `csv:PATH@COLUMN` with a column of labels; and rows written
back as such a table.

    header and cells -> a number, or one of a few texts, a column -> x (n, d) as in columns.py

CSV (separated by comma, semicolon, tab or bar; packed by gzip or not) and Parquet, read by Arrow.
Columns of text with more than a hundred different values, or of another one in most rows, dates,
and columns without a value are left out, and said. UTF-8, UTF-16 and Latin-1 are told apart, and
decimal commas from points. A constant column is no entry of x, but is written back.

Reference: Shafranovich (2005), Common Format and MIME Type for CSV Files, RFC 4180.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError, printable
from gradlogp.core.words import are, counted
from gradlogp.data.base import Dataset, Progress, Split, require_classes, stratified_split
from gradlogp.data.cells import CATEGORIES, Cells, Table, arrow_of, read_cells
from gradlogp.data.columns import MISSING, Column, Columns
from gradlogp.data.files import replacing, sha256, split_option

LARGEST = 1e100  # beyond it squares overflow
FEW = 20  # different texts may be categories in however few rows


def csv(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """A table of your own: csv:PATH of CSV or Parquet with a header; csv:PATH@COLUMN has labels.

    Rows are cut 7 : 1 : 2 into splits, stratified by the labels. Raises UserError for a file that
    cannot be read, has no header or fewer than ten rows, and for a label that is missing.
    """
    named = which or str(root or "")
    name, label = split_option(named, r"[^@/]+", Path.is_file)
    path = Path(name).expanduser()
    if not name or path.is_dir():
        raise UserError(
            "expected csv:PATH or csv:PATH@LABEL with a CSV or Parquet file, got"
            f" {named or 'no path'}."
        )
    table = read_cells(path)
    classes, labels = _labels(path, table, label) if label else ((), None)
    rows = stratified_split(Split(torch.arange(len(table)), labels))
    require_classes(path, classes, *rows)
    columns, x, left_out = _encoded(path, table, {label}, rows[0].x)
    train, validation, test = (Split(x[part.x], part.labels, max_value=1) for part in rows)
    return Dataset(
        f"csv:{named}",
        train,
        validation,
        test,
        classes,
        {path.name: sha256(path)},
        kind="row",
        columns=columns,
        notes=tuple(f"{path.name}: {note}" for note in (*left_out, *_filled(columns, x))),
    )


def _filled(columns: Columns, x: Tensor) -> list[str]:
    """How many numbers of each column are missing in x, a sentence each."""
    return [
        f"{missing_values(int(x[:, span.stop - 1].sum()), column.name)} filled with the mean, marked."
        for column, span in zip(columns.members, columns.spans, strict=True)
        if column.missing
    ]


def missing_values(n: int, name: str) -> str:
    return f"{counted(n, 'missing value')} of {name} {are(n)}"


def read_rows(
    path: str | Path, apart: Collection[str] = ()
) -> tuple[Columns, Tensor, tuple[str, ...]]:
    """All rows of a table of your own in the order of the file, without the columns set apart: the
    columns without marks, x (n, d) float64 with NaN for missing cells, and what was left out, a
    sentence each.
    """
    table = read_cells(path := Path(path))
    names = [column.name for column in table.columns]
    for name in apart:
        if name not in names and not any(f" {name}:" in note for note in table.left_out):
            raise UserError(f"{path}: no column {name!r}; there are {', '.join(names)}.")
    columns, x, left_out = _encoded(path, table, apart, torch.arange(len(table)))
    return columns.unmarked, columns.holed(x), left_out


def rows_like(path: str | Path, columns: Columns) -> tuple[Tensor, tuple[str, ...]]:
    """The rows of another table with the columns of the first, x (n, d) float64, and what is unlike
    in them, a sentence each; a category that the first does not have is none of its own.

    Raises UserError for a column that is not there, or holds text instead of numbers.
    """
    return encoded(columns, cells_like(Path(path), columns))


def encoded(columns: Columns, members: Sequence[Cells]) -> tuple[Tensor, tuple[str, ...]]:
    """The cells of each column as rows x (n, d) float64, and what is unlike in them."""
    pairs = list(zip(columns.members, members, strict=True))
    x = np.concatenate([_block(column, cells) for column, cells in pairs], 1)
    said = [line for column, cells in pairs for line in _unlike(column, cells)]
    return torch.from_numpy(x), tuple(said)


def cells_like(path: Path, columns: Columns) -> list[Cells]:
    """The cells of another table, as its columns hold them. Raises UserError as `rows_like` does."""
    table = read_cells(path, fewest=1)
    there = {cells.name: cells for cells in table.columns}
    return [
        _same_form(path, column, there.get(column.name) or _all_missing(path, column, table))
        for column in columns.members
    ]


def _all_missing(path: Path, column: Column, table: Table) -> Cells:
    """A column without a value counts as missing in every row; one that is not there is an error."""
    left = next((note for note in table.left_out if f" {column.name}:" in note), "")
    if "holds no value" not in left:
        names = ", ".join(cells.name for cells in table.columns)
        raise UserError(
            f"{path}: {f'it {left}' if left else f'no column {column.name!r}; there are {names}.'}"
        )
    if column.categories:
        return Cells(column.name, None, (MISSING,) * len(table))
    return Cells(column.name, np.full(len(table), np.nan))


def _same_form(path: Path, column: Column, cells: Cells) -> Cells:
    """Cells as the column holds them: a number may be the name of a category, and not the reverse."""
    texts = bool(column.categories) and column.categories[:1] != (MISSING,)
    if texts and cells.numbers is not None:
        spelled = (f"{int(v)}" if cells.whole and v == v else f"{v}" for v in cells.numbers)
        return Cells(cells.name, None, tuple(MISSING if t == "nan" else t for t in spelled))
    if column.constant is None and not column.categories and cells.numbers is None:
        first = next(text for text in cells.texts if text != MISSING)
        raise UserError(f"{path}: expected numbers in the column {column.name}, found {first!r}.")
    return cells


def _unlike(column: Column, cells: Cells) -> list[str]:
    """What the detector or model cannot see: other values of a constant column, new categories."""
    values = cells.texts if cells.numbers is None else cells.numbers[~cells.empty].tolist()
    found = {*values} - {MISSING}
    if column.constant is not None and found - {column.constant}:
        return [
            f"{column.name} was {column.constant} in every row that was learned from and is not"
            " here; no score sees it."
        ]
    lost = cells.missing if not (column.categories or column.missing) else 0
    if lost:
        return [f"{missing_values(lost, column.name)} taken as its mean."]
    new = sorted(found - {*column.categories, MISSING}) if column.categories else []
    if new and cells.numbers is None:
        return [f"{column.name} holds categories that were never learned: {', '.join(new[:5])}."]
    return []


def write_table(path: str | Path, x: Tensor, columns: Columns) -> None:
    """Write rows `x` (n, d) as CSV, or as Parquet if `path` ends so, with the columns they came
    with; whole or not at all.
    """
    path = Path(path)
    arrow, pacsv, parquet = arrow_of(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"cannot write {path}: expected a name that ends in .csv or .parquet.")
    table = arrow.table([arrow.array(cells) for cells in columns.cells(x)], list(columns.names))
    with replacing(path) as part:
        if path.suffix.lower() == ".parquet":
            parquet.write_table(table, part)
        else:
            pacsv.write_csv(table, part, pacsv.WriteOptions(quoting_style="needed"))


def _labels(path: Path, table: Table, label: str) -> tuple[tuple[str, ...], Tensor]:
    """The classes in order, and the class of each row."""
    column = next((c for c in table.columns if c.name == label), None)
    if column is None:
        names = ", ".join(c.name for c in table.columns)
        raise UserError(
            f"{path}: no column {label!r} for labels; there are {names}."
            + "".join(f" It {note}" for note in table.left_out if f" {label}:" in note)
        )
    values: Sequence[Any] = column.texts
    if column.numbers is not None:
        values = [MISSING if np.isnan(v) else v for v in column.numbers.tolist()]
    if MISSING in values:
        raise UserError(
            f"{path}: the label {label} is missing in {values.count(MISSING):,} rows, the first row"
            f" {values.index(MISSING) + 1}; fill it in, or leave these rows out."
        )
    classes: list[Any] = sorted(set(values))
    if not 2 <= len(classes) <= CATEGORIES or not (column.whole or column.numbers is None):
        raise UserError(
            f"{path}: expected 2 to {CATEGORIES} classes in the column {label}, found"
            f" {len(classes):,} different values."
        )
    place = {value: i for i, value in enumerate(classes)}
    spelled = tuple(str(int(c)) if column.whole else printable(c) for c in classes)
    return spelled, torch.tensor([place[value] for value in values])


def _encoded(
    path: Path, table: Table, apart: Collection[str], train: Tensor
) -> tuple[Columns, Tensor, tuple[str, ...]]:
    """The columns but those set apart, x (n, d) float64, and what was left out."""
    members, blocks, said = [], [], list(table.left_out)
    for cells in table.columns:
        if cells.name in apart:
            continue
        if names := _names_of_rows(cells):
            said.append(f"left out {cells.name}: {names}")
            continue
        column = _column(path, cells, train.numpy())
        if column is None:
            said.append(f"left out {cells.name}: it holds no value in the training rows.")
            continue
        if column.constant is not None:
            said.append(f"{column.name} is {column.constant} in every row; no model sees it.")
        members.append(column)
        blocks.append(_block(column, cells))
    columns = Columns(tuple(members))
    if not columns.width:
        raise UserError(
            f"{path}: every column is constant, left out or the label: nothing to learn."
        )
    return columns, torch.from_numpy(np.concatenate(blocks, 1)), tuple(said)


def _names_of_rows(cells: Cells) -> str:
    """Why texts are no categories, where most rows have one of their own; else nothing."""
    there = [text for text in cells.texts if text != MISSING]
    found = len(set(there))
    if found <= max(FEW, len(there) // 2):
        return ""
    return (
        f"{found:,} different texts in {len(there):,} rows, such as {printable(there[0][:40])!r}, are"
        " not categories; numbers are read without units, percent signs or separators of thousands."
    )


def _column(path: Path, cells: Cells, train: np.ndarray) -> Column | None:
    if cells.numbers is None:
        categories = tuple(sorted(set(cells.texts)))
        if len(categories) == 1:
            return Column(cells.name, constant=categories[0])
        return Column(cells.name, categories)
    if (huge := np.abs(cells.numbers) > LARGEST).any():
        row = int(huge.argmax()) + 1
        raise UserError(
            f"{path}: row {row} of {cells.name} is infinite or beyond {LARGEST:g}; correct it or leave"
            " it out."
        )
    lost = np.isnan(cells.numbers)
    there = cells.numbers[~lost]
    if (there == there[0]).all():
        return _constant(cells, there[0], bool(lost.any()))
    seen = cells.numbers[train][~lost[train]]
    if not len(seen):
        return None
    mean, std = float(seen.mean()), float(seen.std())
    return Column(cells.name, (), cells.whole, bool(lost.any()), mean, std)


def _constant(cells: Cells, value: float, lost: bool) -> Column:
    """One number everywhere is no entry; one number or nothing is a category of two."""
    number = int(value) if cells.whole else float(value)
    if lost:
        return Column(cells.name, (MISSING, str(number)))
    return Column(cells.name, constant=number)


def _block(column: Column, cells: Cells) -> np.ndarray:
    """The entries (n, width) of a column."""
    n = len(cells.texts) if cells.numbers is None else len(cells.numbers)
    if column.constant is not None:
        return np.empty((n, 0))
    if not column.categories:
        assert cells.numbers is not None  # texts have categories
        lost = np.isnan(cells.numbers)
        filled = np.where(lost, column.mean, cells.numbers)
        return np.stack([filled, lost], 1) if column.missing else filled[:, None]
    texts = cells.texts
    if cells.numbers is not None:
        texts = tuple(MISSING if np.isnan(v) else column.categories[1] for v in cells.numbers)
    place = {category: i for i, category in enumerate(column.categories)}
    known = np.vstack([np.eye(len(column.categories)), np.zeros(len(column.categories))])
    return known[[place.get(text, -1) for text in texts]]  # of no known category: zeros

"""Tables of one's own, `csv:PATH`, or `csv:PATH@COLUMN` with a column of labels; and rows written
back as such a table.

    header and cells -> a number, or one of a few texts, a column -> x (n, d) as in columns.py

CSV (separated by comma, semicolon, tab or bar; packed by gzip or not) and Parquet, read by Arrow.
Columns of text with more than a hundred different values, dates, and columns without a value are
left out, and said. A constant column is no entry of x, but is written back.

Reference: Shafranovich (2005), Common Format and MIME Type for CSV Files, RFC 4180.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError, printable
from gradlogp.data.base import Dataset, Progress, Split, require_classes, stratified_split
from gradlogp.data.columns import MISSING, Column, Columns
from gradlogp.data.files import (
    needs,
    reason,
    replacing,
    require_file,
    require_memory,
    sha256,
    split_option,
)

CATEGORIES = 100  # more different texts are names or sentences, not categories
FEWEST = 10  # rows
LARGEST = 1e100  # beyond it squares overflow
SEPARATORS = b",;\t|"
NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?"]


@dataclass(frozen=True)
class Cells:
    """One column as read: numbers float64 (n,), NaN where missing, or texts."""

    name: str
    numbers: np.ndarray | None
    texts: tuple[str, ...] = ()
    whole: bool = False

    @property
    def missing(self) -> int:
        if self.numbers is None:
            return self.texts.count(MISSING)
        return int(np.isnan(self.numbers).sum())


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
    table = _read(path)
    classes, labels = _labels(path, table, label) if label else ((), None)
    rows = stratified_split(Split(torch.arange(len(table)), labels))
    require_classes(path, classes, *rows)
    columns, x, left_out = _encoded(path, table, label, rows[0].x)
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
        notes=tuple(f"{path.name}: {note}" for note in left_out),
    )


def write_table(path: str | Path, x: Tensor, columns: Columns) -> None:
    """Write rows `x` (n, d) as CSV, or as Parquet if `path` ends so, with the columns they came
    with; whole or not at all.
    """
    path = Path(path)
    arrow, pacsv, parquet = _arrow(path)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"cannot write {path}: expected a name that ends in .csv or .parquet.")
    table = arrow.table([arrow.array(cells) for cells in columns.cells(x)], list(columns.names))
    with replacing(path) as part:
        if path.suffix.lower() == ".parquet":
            parquet.write_table(table, part)
        else:
            pacsv.write_csv(table, part, pacsv.WriteOptions(quoting_style="needed"))


def _arrow(path: Path) -> tuple[Any, Any, Any]:
    try:
        import pyarrow
        from pyarrow import csv as pacsv, parquet
    except ImportError as error:
        raise needs("tables", f"{path}: a table", error) from error
    return pyarrow, pacsv, parquet


@dataclass(frozen=True)
class Table:
    """The columns as read, the names of those left out with why, and the number of rows."""

    columns: tuple[Cells, ...]
    left_out: tuple[str, ...]
    rows: int

    def __len__(self) -> int:
        return self.rows


def _read(path: Path) -> Table:
    require_file(path)
    arrow, pacsv, parquet = _arrow(path)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            require_memory(8 * _parquet_cells(parquet, path), f"{path}: its cells", "take fewer")
            table = parquet.read_table(path, use_threads=False)
        else:
            require_memory(2 * path.stat().st_size, f"{path}: its cells", "take fewer rows")
            table = _read_csv(arrow, pacsv, path)
        columns = [
            _cells(arrow, name, table.column(i)) for i, name in enumerate(_names(path, table))
        ]
    except UserError:
        raise
    except Exception as error:  # a damaged file makes Arrow raise errors of every kind
        raise UserError(f"{path}: cannot be read as a table ({reason(error)}).") from error
    kept = tuple(column for column in columns if isinstance(column, Cells))
    if table.num_rows < FEWEST or not kept:
        raise UserError(
            f"{path}: expected {FEWEST} rows of numbers or categories at least, found"
            f" {table.num_rows} rows and {len(kept)} such columns."
        )
    return Table(kept, tuple(c for c in columns if isinstance(c, str)), table.num_rows)


def _parquet_cells(parquet: Any, path: Path) -> int:
    facts = parquet.ParquetFile(path).metadata
    return facts.num_rows * facts.num_columns


def _read_csv(arrow: Any, pacsv: Any, path: Path) -> Any:
    with arrow.input_stream(str(path)) as stream:  # unpacks .gz by its name, as read_csv does
        start = stream.read(1 << 16)
    head = start.splitlines()[0] if start.splitlines() else b""
    separator = max(SEPARATORS, key=head.count) if head else ord(",")
    try:
        start.decode()
        encoding = "utf8"
    except UnicodeDecodeError as error:
        encoding = "utf8" if error.start > len(start) - 4 else "latin-1"
    return pacsv.read_csv(
        path,
        read_options=pacsv.ReadOptions(use_threads=False, encoding=encoding),
        parse_options=pacsv.ParseOptions(delimiter=chr(separator), newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(strings_can_be_null=True, null_values=NULLS),
    )


def _names(path: Path, table: Any) -> list[str]:
    names = [printable(name.strip()) for name in table.column_names]
    if names and all(_is_number(name) for name in names):
        raise UserError(
            f"{path}: its first line holds numbers, not the names of columns; put a line of names"
            " before it."
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise UserError(f"{path}: two columns are named {twice[0]!r}; give each a name of its own.")
    return [name or f"column {i + 1}" for i, name in enumerate(names)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cells(arrow: Any, name: str, column: Any) -> Cells | str:
    """A column as numbers or texts, or why it is left out."""
    kind = column.type
    if arrow.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if column.null_count == len(column):
        return f"left out {name}: it holds no value."
    if arrow.types.is_boolean(kind):
        column = column.cast(arrow.string())
        kind = arrow.string()
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        texts = tuple(MISSING if text is None else text for text in column.to_pylist())
        found = len(set(texts))
        if found > CATEGORIES:
            return f"left out {name}: {found:,} different texts are not categories."
        return Cells(name, None, texts)
    if (
        arrow.types.is_decimal(kind)
        or arrow.types.is_floating(kind)
        or arrow.types.is_integer(kind)
    ):
        numbers = column.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
        there = numbers[~np.isnan(numbers)]
        if not len(there):
            return f"left out {name}: it holds no value."
        return Cells(name, numbers, whole=bool((there == np.round(there)).all()))
    return f"left out {name}: {kind} is neither a number nor a category."


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
    path: Path, table: Table, label: str, train: Tensor
) -> tuple[Columns, Tensor, tuple[str, ...]]:
    """The columns but the label's, x (n, d) float64, and what was left out."""
    members, blocks, said = [], [], list(table.left_out)
    for cells in table.columns:
        if cells.name == label:
            continue
        column = _column(path, cells, train.numpy())
        if column is None:
            said.append(f"left out {cells.name}: it holds no value in the training rows.")
            continue
        if column.constant is not None:
            said.append(f"{column.name} is {column.constant} in every row; no model sees it.")
        if column.missing:
            said.append(
                f"{cells.missing:,} missing values of {column.name} are filled with the mean, marked."
            )
        members.append(column)
        blocks.append(_block(column, cells))
    columns = Columns(tuple(members))
    if not columns.width:
        raise UserError(
            f"{path}: every column is constant, left out or the label: nothing to learn."
        )
    return columns, torch.from_numpy(np.concatenate(blocks, 1)), tuple(said)


def _column(path: Path, cells: Cells, train: np.ndarray) -> Column | None:
    if cells.numbers is None:
        categories = tuple(sorted(set(cells.texts)))
        if len(categories) == 1:
            return Column(cells.name, constant=categories[0])
        return Column(cells.name, categories)
    if (huge := np.abs(cells.numbers) > LARGEST).any():
        row = int(huge.argmax()) + 1
        raise UserError(
            f"{path}: row {row} of {cells.name} is infinite or beyond {LARGEST:g}; correct it or leave it out."
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
    return np.eye(len(column.categories))[[place[text] for text in texts]]

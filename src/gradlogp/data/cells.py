"""The cells of a CSV or Parquet file, column by column: numbers, or texts of which there are few.

Read by Arrow. The separator is the one that the first line has most of; text that is not UTF-8 is
taken for Latin-1. Columns of text with more than a hundred different values, of dates and without a
value are left out, each with why.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradlogp.core.errors import UserError, printable
from gradlogp.data.columns import MISSING
from gradlogp.data.files import needs, reason, require_file, require_memory

CATEGORIES = 100  # more different texts are names or sentences, not categories
FEWEST = 10  # rows
SEPARATORS = ",;\t|"
NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?"]


@dataclass(frozen=True)
class Cells:
    """One column as read: numbers float64 (n,), NaN where missing, or texts."""

    name: str
    numbers: np.ndarray | None
    texts: tuple[str, ...] = ()
    whole: bool = False

    @property
    def empty(self) -> np.ndarray:
        """True where a cell is missing, (n,)."""
        if self.numbers is None:
            return np.array([text == MISSING for text in self.texts])
        return np.isnan(self.numbers)

    @property
    def missing(self) -> int:
        return int(self.empty.sum())


@dataclass(frozen=True)
class Table:
    """The columns as read, the names of those left out with why, and the number of rows."""

    columns: tuple[Cells, ...]
    left_out: tuple[str, ...]
    rows: int

    def __len__(self) -> int:
        return self.rows


def read_cells(path: Path, fewest: int = FEWEST) -> Table:
    """Every column of a file with a header and `fewest` rows. Raises UserError naming the file."""
    require_file(path)
    arrow, pacsv, parquet = arrow_of(path)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            require_memory(8 * _parquet_cells(parquet, path), f"{path}: its cells", "take fewer")
            table = parquet.read_table(path, use_threads=False)
        else:
            require_memory(2 * path.stat().st_size, f"{path}: its cells", "take fewer rows")
            written = layout(arrow, path)
            table = read_csv(arrow, pacsv, path, written)
            _require_header(arrow, path, table, written.decimal)
        columns = [
            _cells(arrow, name, table.column(i)) for i, name in enumerate(column_names(path, table))
        ]
    except UserError:
        raise
    except Exception as error:  # a damaged file makes Arrow raise errors of every kind
        raise UserError(f"{path}: cannot be read as a table ({reason(error)}).") from error
    kept = tuple(column for column in columns if isinstance(column, Cells))
    if table.num_rows < fewest or not kept:
        raise UserError(
            f"{path}: expected {fewest} rows of numbers or categories at least, found"
            f" {table.num_rows} rows and {len(kept)} such columns."
        )
    return Table(kept, tuple(c for c in columns if isinstance(c, str)), table.num_rows)


def _parquet_cells(parquet: Any, path: Path) -> int:
    footer = parquet.ParquetFile(path).metadata
    return footer.num_rows * footer.num_columns


@dataclass(frozen=True)
class Layout:
    """How a CSV is written; `mark` is the byte order mark of UTF-8."""

    encoding: str = "utf8"
    separator: str = ","
    decimal: str = "."
    line_end: str = "\n"
    mark: bool = False


def layout(arrow: Any, path: Path) -> Layout:
    """Guessed from the first lines of the file."""
    with arrow.input_stream(str(path)) as stream:  # unpacks .gz by its name, as read_csv does
        start = stream.read(1 << 16)
    encoding = _encoding(start)
    text = start.decode(encoding, errors="ignore")
    head = next(iter(text.splitlines()), "")
    separator = max(SEPARATORS, key=head.count)
    line_end = "\r\n" if "\r\n" in text else "\n"
    mark = start.startswith(codecs.BOM_UTF8)
    return Layout(encoding, separator, _decimal(text, separator), line_end, mark)


def read_csv(arrow: Any, pacsv: Any, path: Path, written: Layout, texts: Sequence[str] = ()) -> Any:
    """An Arrow table; the columns `texts` letter by letter, with no cell missing."""
    as_texts = {"null_values": [], "column_types": {name: arrow.string() for name in texts}}
    typed = {"null_values": NULLS, "strings_can_be_null": True, "decimal_point": written.decimal}
    return pacsv.read_csv(
        path,
        read_options=pacsv.ReadOptions(use_threads=False, encoding=written.encoding),
        parse_options=pacsv.ParseOptions(delimiter=written.separator, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(**(as_texts if texts else typed)),
    )


def _require_header(arrow: Any, path: Path, table: Any, decimal: str) -> None:
    """Raises UserError for a first line whose cells are all numbers, or values of their columns."""
    told = [(i, name.strip()) for i, name in enumerate(table.column_names)]
    cells = [(i, name) for i, name in told if name not in NULLS]
    if cells and all(
        _is_number(name.replace(decimal, ".")) or _holds(arrow, table.column(i), name)
        for i, name in cells
    ):
        raise UserError(
            f"{path}: its first line holds values ({printable(cells[0][1])}, ...), not the names"
            " of columns; put a line of names before it."
        )


def _holds(arrow: Any, column: Any, text: str) -> bool:
    """Whether a text, or true or false, stands in the column."""
    if not (arrow.types.is_string(column.type) or arrow.types.is_boolean(column.type)):
        return False
    return bool(column.cast(arrow.string()).index(text).as_py() >= 0)


def _encoding(start: bytes) -> str:
    """That of a text which begins so: UTF-16 by its mark, or by a zero in every other byte; else
    UTF-8 or, where that cannot be, Latin-1.
    """
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if 2 * zeros.count(0) > len(zeros):
            return name
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return "utf8" if error.start > len(start) - 4 else "latin-1"
    return "utf8"


def _decimal(text: str, separator: str) -> str:
    """The comma where more cells are numbers with a comma than with a point, as spreadsheets write
    them in much of the world; else the point.
    """
    cells = [cell.strip(' "') for line in text.splitlines() for cell in line.split(separator)]
    commas, points = (
        sum(re.fullmatch(rf"[+-]?\d+{mark}\d+", cell) is not None for cell in cells)
        for mark in (",", r"\.")
    )
    return "," if commas > points else "."


def column_names(path: Path, table: Any) -> list[str]:
    """The names that columns are called by; UserError for a name that two have."""
    names = [printable(name.strip()) for name in table.column_names]
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


def arrow_of(path: Path) -> tuple[Any, Any, Any]:
    """Arrow, its CSV and its Parquet. Raises UserError where it is not installed."""
    try:
        import pyarrow
        from pyarrow import csv as pacsv, parquet
    except ImportError as error:
        raise needs("tables", f"{path}: a table", error) from error
    return pyarrow, pacsv, parquet

"""Tables of one's own with empty cells, and the same tables with these filled in.

    file with empty cells  ->  x (n, d), free (n, d): True in every entry of an empty cell
    x without them         ->  the file as it was, letter by letter, but for the cells that were empty

A model that has learned marks of missing cells is asked for rows where the cell is there: its mark
is known, and not set. A CSV is written with the separator, the decimal mark and the line ends that
it came with, in UTF-8, with quotes where a cell needs them; columns that the model does not know are
left as they are.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.core.files import replacing
from gradlogp.core.words import counted
from gradlogp.data.cells import Cells, Layout, arrow_of, column_names, layout, read_csv
from gradlogp.data.columns import Column, Columns
from gradlogp.data.table import cells_like, encoded

TYPED = {".parquet", ".pq"}


@final
@dataclass(frozen=True)
class Holes:
    """The rows of a file: x (n, d) float64 with NaN in the entries of empty cells, `free` True
    there, and what is unlike the table that the columns are of, a sentence each.
    """

    path: Path
    columns: Columns
    members: tuple[Cells, ...]
    x: Tensor
    notes: tuple[str, ...]

    @property
    def free(self) -> Tensor:
        return self.x.isnan()

    @property
    def empty(self) -> np.ndarray:
        """True where a cell is empty, (n, columns)."""
        return np.stack([cells.empty for cells in self.members], 1)

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of empty cells of each column that has any."""
        return {cells.name: cells.missing for cells in self.members if cells.missing}

    def write(self, path: Path, x: Tensor) -> None:
        """The file with its empty cells filled in by rows x (n, d), as CSV, or as Parquet if `path`
        ends so; whole or not at all.
        """
        arrow, _, parquet = arrow_of(path)
        typed = path.suffix.lower() in TYPED
        table, form = _as_it_is(self.path, typed)
        for i, new in self._filled(arrow, table, x, form.decimal):
            table = table.set_column(i, table.column_names[i], new)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            if typed:
                parquet.write_table(table, part)
            else:
                _write_csv(part, table.column_names, _texts(arrow, table), form)

    def _filled(self, arrow: Any, table: Any, x: Tensor, decimal: str) -> Iterator[tuple[int, Any]]:
        """The columns of the file that had empty cells, each with its place."""
        names = column_names(self.path, table)
        there = self.columns.unmarked.cells(self.columns.holed(x.float()))
        for column, cells, values in zip(self.columns.members, self.members, there, strict=True):
            if cells.missing:
                texts = [str(value) for value in values]
                if not column.categories:
                    texts = [text.replace(".", decimal) for text in texts]
                place = names.index(cells.name)
                yield place, _replaced(arrow, table.column(place), column, cells, texts)


def _texts(arrow: Any, table: Any) -> list[list[str | None]]:
    """The cells of each column of an Arrow table."""
    return [column.cast(arrow.string()).to_pylist() for column in table.columns]


def _write_csv(
    file: BinaryIO, names: list[str], columns: list[list[str | None]], form: Layout
) -> None:
    text = io.TextIOWrapper(file, "utf-8-sig" if form.mark else "utf8", newline="")
    writer = csv.writer(text, delimiter=form.separator, lineterminator=form.line_end)
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    text.detach()


def _as_it_is(path: Path, typed: bool) -> tuple[Any, Layout]:
    """The file as an Arrow table, of texts letter by letter unless `typed`, and how to write it."""
    arrow, pacsv, parquet = arrow_of(path)
    if path.suffix.lower() in TYPED:
        return parquet.read_table(path), Layout()
    written = layout(arrow, path)
    table = read_csv(arrow, pacsv, path, written)
    if typed:
        return table, replace(written, decimal=".")
    return read_csv(arrow, pacsv, path, written, texts=table.column_names), written


def _replaced(arrow: Any, written: Any, column: Column, cells: Cells, texts: list[str]) -> Any:
    """A column of the file with `texts` in its empty cells; a category is spelled as it is in
    another row, where there is one.
    """
    from pyarrow import compute

    if arrow.types.is_dictionary(written.type):
        written = written.cast(written.type.value_type)
    if arrow.types.is_null(written.type):
        written = written.cast(arrow.string() if column.categories else arrow.float64())
    if arrow.types.is_integer(written.type) and not column.whole:
        written = written.cast(arrow.float64())
    spelled: dict[str, str] = {}
    if cells.numbers is None:
        spelled = dict(zip(cells.texts, written.cast(arrow.string()).to_pylist(), strict=True))
    new = [spelled.get(texts[i]) or texts[i] for i in np.flatnonzero(cells.empty)]
    values = arrow.array(new, arrow.string()).cast(written.type)
    return compute.replace_with_mask(written.combine_chunks(), arrow.array(cells.empty), values)


def read_holes(path: str | Path, columns: Columns) -> Holes:
    """The rows of a table of your own with the columns of a model's, its empty cells as NaN.

    Raises UserError as `rows_like` does, and for a table without an empty cell.
    """
    marked = columns.marked
    members = tuple(cells_like(path := Path(path), marked))
    if not any(cells.missing for cells in members):
        raise UserError(
            f"{path}: none of its {counted(len(members[0].empty), 'row')} has an empty cell in a column"
            " that the model knows, so there is nothing to fill in."
        )
    x, notes = encoded(marked, members)
    return Holes(path, columns, members, columns.unholed(marked.holed(x)), notes)

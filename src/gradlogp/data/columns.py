"""The columns of a table, and rows as vectors: a number is one entry of x, a category is one-hot.

    row = [number or fill] [is missing] for each numeric column, [0 .. 1 .. 0] for each categorical
    column

Entries keep the units of the file; whoever trains scales them by what is said here of the training
rows. A missing number is filled with the training rows' mean and, where a column has any, marked by
an entry of its own; a missing category is a category. So rows go to vectors and back without loss.
Whoever has no use for marks takes rows with holes instead: NaN in all entries of a missing cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

MISSING = ""  # the category, and the cell of a file, that stands for a missing value


@dataclass(frozen=True)
class Column:
    """One column of a table: a category where `categories` are given, a number otherwise.

    whole: its numbers have no fraction. missing: an entry after the number says whether it was
    missing. mean, std: of the numbers that are there, over the training rows. constant: what every
    row holds; such a column has no entry, and is written back.
    """

    name: str
    categories: tuple[str, ...] = ()
    whole: bool = False
    missing: bool = False
    mean: float = 0.0
    std: float = 1.0
    constant: float | int | str | None = None

    @property
    def width(self) -> int:
        """Entries of x that it takes."""
        if self.constant is not None:
            return 0
        return len(self.categories) or 1 + self.missing

    @property
    def marked(self) -> "Column":
        """The same column with an entry for a missing cell."""
        if self.constant is not None:
            return self
        if not self.categories:
            return replace(self, missing=True)
        return replace(self, categories=(MISSING, *self._there))

    @property
    def unmarked(self) -> "Column":
        """The same column without one."""
        return replace(self, categories=self._there, missing=False)

    @property
    def _there(self) -> tuple[str, ...]:
        return tuple(category for category in self.categories if category != MISSING)

    @property
    def _mark(self) -> int | None:
        """Which of its entries says that a cell is missing."""
        if self.missing:
            return 1
        return 0 if self.categories[:1] == (MISSING,) else None

    def holed(self, entries: Tensor) -> Tensor:
        """Its entries [n, width] as those of the column without a mark, NaN where one is set."""
        mark = self._mark
        if mark is None:
            return entries
        lost = entries[:, mark] > 0.5
        kept = torch.cat([entries[:, :mark], entries[:, mark + 1 :]], 1)
        return kept.masked_fill(lost[:, None], torch.nan)

    def unholed(self, entries: Tensor) -> Tensor:
        """Entries of the column without a mark as its own, with no mark set: NaN stays NaN."""
        mark = self._mark
        if mark is None:
            return entries
        none = torch.zeros_like(entries[:, :1])
        return torch.cat([entries[:, :mark], none, entries[:, mark:]], 1)


@dataclass(frozen=True)
class Columns:
    """The columns of a table in the order of the file; `width` is the length d of a row of x."""

    members: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.members)

    @property
    def width(self) -> int:
        return sum(column.width for column in self.members)

    @property
    def spans(self) -> tuple[slice, ...]:
        """The entries of x that each column takes."""
        ends = accumulate(column.width for column in self.members)
        return tuple(
            slice(end - column.width, end) for column, end in zip(self.members, ends, strict=True)
        )

    @property
    def marked(self) -> "Columns":
        return Columns(tuple(column.marked for column in self.members))

    @property
    def unmarked(self) -> "Columns":
        return Columns(tuple(column.unmarked for column in self.members))

    def holed(self, x: Tensor) -> Tensor:
        """The rows `x` (n, width) as those of `unmarked` columns, NaN in every entry of a missing
        cell.
        """
        pairs = zip(self.members, self.spans, strict=True)
        return torch.cat([column.holed(x[:, span]) for column, span in pairs], 1)

    def unholed(self, x: Tensor) -> Tensor:
        """Rows of the `unmarked` columns as those of these, no cell marked as missing."""
        pairs = zip(self.members, self.unmarked.spans, strict=True)
        return torch.cat([column.unholed(x[:, span]) for column, span in pairs], 1)

    def cells(self, x: Tensor) -> list[list[float | int | str | None]]:
        """The rows `x` (n, d) as the columns of a file, one list of n cells each; None is missing.

        Generated rows need not be exact: the largest entry names the category, numbers of a whole
        column are rounded, and a number is missing where its mark is above one half. Raises
        ValueError for rows of another width.
        """
        if x.ndim != 2 or x.shape[1] != self.width:
            raise ValueError(
                f"expected rows (n, {self.width}) of the columns {', '.join(self.names)}, got"
                f" {list(x.shape)}."
            )
        pairs = zip(self.members, self.spans, strict=True)
        return [_cells(column, x[:, span].detach().cpu()) for column, span in pairs]


def numeric_columns(x: Tensor, names: Sequence[str] = ()) -> Columns:
    """The columns of rows of plain numbers, x (n, d) with nothing missing; names default to x1 ..
    xd.
    """
    names = names or [f"x{i + 1}" for i in range(x.shape[1])]
    mean = x.double().mean(0).tolist()
    std = x.double().std(0, correction=0).tolist()
    whole = (x == x.round()).all(0).tolist()
    described = zip(names, whole, mean, std, strict=True)
    return Columns(tuple(Column(n, whole=w, mean=m, std=s) for n, w, m, s in described))


def _cells(column: Column, entries: Tensor) -> list[float | int | str | None]:
    if column.constant is not None:
        return [column.constant] * len(entries)
    if column.categories:
        chosen = [column.categories[i] for i in entries.argmax(1).tolist()]
        return [None if category == MISSING else category for category in chosen]
    # the shortest text that is this number: .1, not .10000000149, of a float32
    numbers = [float(str(number)) for number in entries[:, 0].numpy()]
    lost = (entries[:, 1] > 0.5).tolist() if column.missing else [False] * len(numbers)
    kept = (round(number) if column.whole else number for number in numbers)
    return [None if gone else number for number, gone in zip(kept, lost, strict=True)]

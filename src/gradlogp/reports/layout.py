"""The further tables of a comparison, laid out: what their patterns find, who has it, who is best."""

from dataclasses import dataclass
from typing import NamedTuple

from gradlogp.harness.table import Table, stands_for
from gradlogp.reports import words
from gradlogp.reports.numbers import Numbers
from gradlogp.reports.read import Page

LONG = 16  # more rows are folded away


class Entry(NamedTuple):
    """One number as written; no spread is an empty one."""

    text: str
    stderr: str
    best: bool


@dataclass(frozen=True)
class Grid:
    """A table of text: `heads` above all columns but the first, `lines` of a label and an entry for
    each head, or None.
    """

    title: str
    corner: str
    heads: list[str]
    lines: list[tuple[str, list[Entry | None]]]

    @property
    def long(self) -> bool:
        return len(self.lines) > LONG


def grids(page: Page) -> list[Grid]:
    """Those of which anything was measured."""
    found = [grid(table, page.numbers, [m.name for m in page.ordered]) for table in page.tables]
    return [g for g in found if g.lines]


def grid(table: Table, numbers: Numbers, order: list[str]) -> Grid:
    """`order` is that of the methods where the table has no mean to sort them by."""
    found = _ascending(
        {
            k: _label(table, k)
            for pattern in table.metrics
            for k in numbers.metrics
            if stands_for(pattern, k)
        }
    )
    last = {k: label for k, label in table.last.items() if k in numbers.metrics} if found else {}
    methods = _methods(table, numbers, order, list(found), next(iter(last), None))
    good = {k: numbers.head(k, "") for k in (*found, *last)}
    usual = next(iter(good.values()), "")
    heads = [label + good[k] * (good[k] != usual) for k, label in (found | last).items()]
    entries = [[_entry(table, numbers, m, k) for k in (*found, *last)] for m in methods]
    title = table.title + usual
    if table.turned:
        across = [list(column) for column in zip(*entries, strict=True)] if entries else []
        return Grid(title, "", methods, list(zip(heads, across, strict=False)))
    return Grid(title, "method", heads, list(zip(methods, entries, strict=True)))


def _ascending(found: dict[str, str]) -> dict[str, str]:
    """In order of the labels, where all of them are numbers."""
    try:
        return dict(sorted(found.items(), key=lambda item: float(item[1])))
    except ValueError:
        return found


def _label(table: Table, metric: str) -> str:
    """What the * stands for; of several patterns, the metric's name before it."""
    star = next(star for pattern in table.metrics if (star := stands_for(pattern, metric)))
    return (
        star if len(table.metrics) == 1 else f"{words.metric(words.parts(metric)[0]).name}, {star}"
    )


def _methods(
    table: Table, numbers: Numbers, order: list[str], metrics: list[str], mean: str | None
) -> list[str]:
    """Those that have any of it, the best of the mean first; what was not learned comes last, and
    not across.
    """
    ranked = numbers.ranked(mean) if mean else []
    names = [
        *ranked,
        *(m for m in order if m not in ranked),
        *([] if table.turned else numbers.references),
    ]
    return [m for m in names if any(numbers.cell(m, k) for k in metrics)]


def _entry(table: Table, numbers: Numbers, method: str, metric: str) -> Entry | None:
    cell = numbers.cell(method, metric)
    if cell is None:
        return None
    best = numbers.mark(method, metric) == "best"
    if table.decimals is not None:
        return Entry(words.fixed(cell.value, table.decimals), "", best)
    return Entry(
        words.number(cell.value, cell.stderr),
        "" if cell.stderr is None else words.number(cell.stderr, cell.stderr),
        best,
    )

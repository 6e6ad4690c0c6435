"""The further tables of a comparison, laid out: what belongs to them, who has it, who is best."""

from dataclasses import dataclass
from typing import NamedTuple

from gradlogp.harness.table import Table
from gradlogp.reports import words
from gradlogp.reports.numbers import Key, Numbers
from gradlogp.reports.read import Page

LONG = 16  # more rows are folded away


class Entry(NamedTuple):
    """One number as written; no standard error is an empty one."""

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
    found = _ascending(table, [k for k in numbers.metrics if _belongs(table, k)])
    last = {Key.of(c.metric, c.axes): c.label for c in table.last} if found else {}
    last = {k: label or words.metric(k).name for k, label in last.items() if k in numbers.metrics}
    labels = {k: _label(table, k) for k in found} | last
    methods = _methods(table, numbers, order, found, next(iter(last), None))
    good = {k: numbers.head(k, "") for k in labels}
    usual = next(iter(good.values()), "")
    heads = [label + good[k] * (good[k] != usual) for k, label in labels.items()]
    entries = [[_entry(table, numbers, m, k) for k in labels] for m in methods]
    title = table.title + usual
    if table.turned:
        across = [list(column) for column in zip(*entries, strict=True)] if entries else []
        return Grid(title, "", methods, list(zip(heads, across, strict=False)))
    return Grid(title, "method", heads, list(zip(methods, entries, strict=True)))


def _belongs(table: Table, key: Key) -> bool:
    """Whether the measurement has the axes that the table fixes, the one that it goes over, and no
    other.
    """
    axes = dict(key.axes)
    fixed = {name: axes.get(name) for name in axes if name != table.over}
    return key.metric in table.metrics and table.over in axes and fixed == dict(table.where)


def _ascending(table: Table, found: list[Key]) -> list[Key]:
    """In the order of the table's metrics, and of the values where all of them are numbers."""
    values = [dict(k.axes)[table.over] for k in found]
    metrics = list(table.metrics)
    if all(isinstance(v, int | float) for v in values):
        return sorted(found, key=lambda k: (metrics.index(k.metric), dict(k.axes)[table.over]))
    return sorted(found, key=lambda k: metrics.index(k.metric))


def _label(table: Table, key: Key) -> str:
    """The value on the axis; of several metrics, with the metric's name before it."""
    value = words.axis_value(dict(key.axes)[table.over])
    if len(table.metrics) == 1:
        return value
    return f"{words.metric(Key(key.metric)).name}, {value}"


def _methods(
    table: Table, numbers: Numbers, order: list[str], metrics: list[Key], mean: Key | None
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


def _entry(table: Table, numbers: Numbers, method: str, metric: Key) -> Entry | None:
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

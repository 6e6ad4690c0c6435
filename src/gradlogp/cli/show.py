"""Tables for a person: what was measured, and at what cost."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from gradlogp.reports.leaderboard import Board
from gradlogp.reports.numbers import Cell, Key, key_of
from gradlogp.reports.read import Page
from gradlogp.reports.words import axes

QUALITY = (
    "fd",
    "precision",
    "recall",
    "coverage",
    "agreement",
)  # what a comparison's table shows of the samples


def measures(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One run's results, a line for each metric."""
    heads = ("value", "+-", "better", "reference", "trivial", "n")
    table = titled("on the test part", "metric", *heads)
    for r in rows:
        values = [number(r.get(key)) for key in ("value", "stderr", "reference", "trivial", "n")]
        table.add_row(label(key_of(r)), *values[:2], r["better"], *values[2:])
    return table


def label(key: Key) -> str:
    """A measurement's short name: fd after 20 steps."""
    return f"{key.metric} {axes(key)}".strip()


def comparison(page: Page) -> list[Table]:
    """Samples, each method between real examples above and a trivial model below; what they cost;
    restoration by noise.
    """
    return [_samples(page), _costs(page), *_restored(page)]


def _samples(page: Page) -> Table:
    numbers = page.numbers
    shown = [key for key in map(Key, QUALITY) if key in numbers.metrics]
    table = titled("fresh samples", "method", *(numbers.head(key, label(key)) for key in shown))
    for name in [*numbers.attainable, *(m.name for m in page.ordered), *numbers.trivial]:
        table.add_row(name, *(_cell(numbers.cell(name, key)) for key in shown))
    return table


def _costs(page: Page) -> Table:
    heads = ("evaluations a sample", "ms a sample", "training s", "training evaluations")
    table = titled("cost", "method", *heads, "parameters")
    for m in page.ordered:
        drawn = [m.cost("evaluations"), 1000 * (m.cost("seconds") or 0)]
        spent = map(m.fact, ("seconds", "evaluations", "parameters"))
        table.add_row(m.name, *map(number, [*drawn, *spent]))
    return table


def _restored(page: Page) -> list[Table]:
    numbers = page.numbers
    keys = [page.psnr_key(level) for level in page.levels]
    if not keys:
        return []
    heads = (f"noise {level}" for level in page.levels)
    table = titled(numbers.head(keys[0], f"restored: {keys[0].metric}"), "method", *heads)
    table.add_row("noisy", *(number(numbers.said(key, "noisy")) for key in keys))
    linear = [name for name in numbers.trivial if numbers.cell(name, keys[0])]  # Wiener's filter
    for name in [*(m.name for m in page.ordered), *linear]:
        table.add_row(name, *(_cell(numbers.cell(name, key)) for key in keys))
    return [table]


def ranking(page: Page, width: int = 4) -> list[Table]:
    """Methods sorted by the first metric, the best first, `width` metrics to a table, and at last
    what each cost.
    """
    numbers, shown = page.numbers, page.headline
    ranked = numbers.ranked(shown[0]) if shown else []
    names = dict.fromkeys([*ranked, *(m.name for m in page.methods), *numbers.references])
    tables = []
    for first in range(0, len(shown), width):
        some = shown[first : first + width]
        heads = (numbers.head(key, label(key)) for key in some)
        table = titled("on the test part", "method", *heads)
        for name in names:
            table.add_row(name, *(_cell(numbers.cell(name, key)) for key in some))
        tables.append(table)
    costs = titled("cost", "method", "parameters", "training s", "training evaluations")
    for m in page.methods:
        costs.add_row(m.name, *map(number, map(m.fact, ("parameters", "seconds", "evaluations"))))
    return [*tables, costs]


def board(found: Board, width: int = 5) -> list[Table]:
    """A table of the leaderboard, `width` columns at a time."""
    heads, lines = found.heads[1:], [found.texts(line) for line in found.ordered]
    tables = []
    for first in range(0, len(heads), width):
        says = f"{found.title}; {found.how}" if not first else ""
        table = titled(says, "method", *heads[first : first + width])
        for line in lines:
            cells = line[first + 1 : first + 1 + width]
            table.add_row(line[0], *(cell.replace("**", "") for cell in cells))
        tables.append(table)
    return tables


def titled(title: str, first: str, *heads: str) -> Table:
    return Table(
        Column(first, no_wrap=True),
        *heads,
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )


def _cell(cell: Cell | None) -> str:
    return (
        ""
        if cell is None
        else number(cell.value) + (f" +- {number(cell.stderr, 2)}" if cell.stderr else "")
    )


def number(value: float | None, digits: int = 3) -> str:
    """Few digits, and no power of ten."""
    if value is None:
        return ""
    return (
        f"{value:,.0f}"
        if isinstance(value, int) or abs(value) >= 10**digits
        else f"{value:.{digits}g}"
    )

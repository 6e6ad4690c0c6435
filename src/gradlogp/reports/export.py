"""The table for other documents: results.csv (every row), results.md and results.tex (methods by
metrics, the best in bold).

results.md has the comparison's further tables below it.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradlogp.reports import words
from gradlogp.reports.layout import Entry, Grid, grids
from gradlogp.reports.numbers import Key, Numbers
from gradlogp.reports.read import Page

COLUMNS = (
    "method",
    "metric",
    "axes",
    "value",
    "stderr",
    "n",
    "better",
    "seed",
    "seconds",
    "evaluations",
    "reference",
    "trivial",
    "protocol",
)
COSTS = {"parameters": "parameters", "seconds": "training s", "evaluations": "evaluations"}
TEX = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {
        "\u2212": "$-$",
        "\u00b1": "$\\pm$",
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
    }
)
FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
)  # what a spreadsheet takes for the beginning of a formula


def tables(page: Page) -> dict[str, str]:
    """Suffix -> text."""
    return {
        ".csv": rows(page),
        ".md": "\n\n".join([markdown(page).strip(), *further(page)]) + "\n",
        ".tex": latex(page),
    }


def rows(page: Page) -> str:
    """Every row that was measured, one for each metric, method and seed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for found in page.numbers.rows.values():
        writer.writerows(_cells({**row, "axes": _axes(row)}) for row in found)
    return text.getvalue()


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with texts that no spreadsheet runs as a formula."""
    return {key: _harmless(value) for key, value in row.items()}


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _axes(row: Mapping[str, Any]) -> str:
    """noise=0.3 steps=20"""
    return " ".join(f"{name}={value}" for name, value in (row.get("axes") or {}).items())


def markdown(page: Page) -> str:
    return piped(grid(page, emboldened)) + "\n"


def further(page: Page) -> list[str]:
    """The comparison's further tables in Markdown, each under its title; long ones are folded."""
    return [_titled(found, words.of_kind(_of(found), page.kind)) for found in grids(page)]


def _titled(found: Grid, table: str) -> str:
    if found.long:
        return f"<details><summary>{found.title}</summary>\n\n{table}\n\n</details>"
    return f"### {found.title}\n\n{table}"


def _of(table: Grid) -> str:
    return piped(
        [
            [table.corner, *table.heads],
            *([label, *map(_written, line)] for label, line in table.lines),
        ]
    )


def _written(entry: Entry | None) -> str:
    if entry is None:
        return ""
    return (emboldened(entry.text) if entry.best else entry.text) + (
        f" \u00b1 {entry.stderr}" if entry.stderr else ""
    )


def emboldened(text: str) -> str:
    return f"**{text}**"


def piped(lines: list[list[str]]) -> str:
    head, *body = [[_plain(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])


def _plain(text: str) -> str:
    """Text of a Markdown cell: no HTML, no link, no end of the cell; bold stays."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "|[]`":
        escaped = escaped.replace(character, "\\" + character)
    return " ".join(escaped.split())


def latex(page: Page) -> str:
    """A tabular, the best in bold."""
    lines = grid(page, lambda text: f"BEST{text}TSEB")
    head, *body = map(_tex_line, lines)
    columns = "l" + "r" * (len(lines[0]) - 1)
    begin = rf"\begin{{tabular}}{{{columns}}}"
    rule, end = r"\hline", r"\end{tabular}"
    return "\n".join([begin, rule, head, rule, *body, rule, end, ""])


def _tex_line(line: Sequence[str]) -> str:
    text = " & ".join(cell.translate(TEX) for cell in line)
    bold = text.replace("BEST", "\\textbf{").replace("TSEB", "}")
    return bold + r" \\"


def grid(page: Page, bold: Callable[[str], str]) -> list[list[str]]:
    """Head and rows: the methods as the page orders them, then the references."""
    costs = {m.name: [m.fact(key) for key in COSTS] for m in page.methods}
    names = [*(m.name for m in page.ordered), *page.marks(page.numbers.references)]
    lines = laid(page.numbers, page.headline, names, costs, bold)
    return [[words.of_kind(name, page.kind), *cells] for name, *cells in lines]


def laid(
    numbers: Numbers,
    columns: Sequence[Key],
    names: Sequence[str],
    costs: Mapping[str, Sequence[float | None]],
    bold: Callable[[str], str],
) -> list[list[str]]:
    """Head and rows: `names` down, the measurements `columns` across, then what each method cost."""
    measured = [numbers.head(key, words.metric(key).name) for key in columns]
    spent = {name: list(map(words.count, values)) for name, values in costs.items()}
    lines = [["method", *measured, *COSTS.values()]]
    for name in names:
        cells = [_cell(numbers, name, key, bold) for key in columns]
        lines.append([name, *cells, *spent.get(name, [""] * len(COSTS))])
    return lines


def _cell(numbers: Numbers, name: str, metric: Key, bold: Callable[[str], str]) -> str:
    cell = numbers.cell(name, metric)
    if cell is None:
        return ""
    text = words.number(cell.value, cell.stderr)
    text = bold(text) if numbers.mark(name, metric) == "best" else text
    return (
        text if cell.stderr is None else f"{text} \u00b1 {words.number(cell.stderr, cell.stderr)}"
    )

"""One table of everything: all methods of all comparisons that did one task on one data set.

    results, of pages or folders  ->  `boards`, one for each data set, task and protocol  ->  terminal, Markdown, HTML

Two numbers stand in one table only where they were measured alike: the same evaluation classifier,
by the hash of its weights, and as many examples. What was measured otherwise has a table of its own,
and each table says how it was measured, and which numbers of its further columns were not measured
so. Only what a metric's direction allows is marked as best.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jinja2

from gradlogp.harness import Kind
from gradlogp.reports import words
from gradlogp.reports.export import emboldened, piped
from gradlogp.reports.numbers import Cell, Key, Numbers, key_of
from gradlogp.reports.published import Published

HASH = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8}\b")
COUNTS = re.compile(r"\b(\d[\d/]*) (real|generated|normal|anomalous|labelled)\b")
Entry = tuple[Published, Key, str]  # whose, the leading number, the method
COSTS = {"seconds": "training s", "evaluations": "training evaluations", "parameters": "parameters"}


class Task(NamedTuple):
    """What is asked of a method, and the metrics that answer. A method takes part that has one of
    the first `leading` of them; `settings`: whether what was measured at settings counts, such as
    at a noise level.
    """

    name: str
    metrics: tuple[str, ...]
    leading: int = 1
    settings: bool = True


TASKS = (
    Task(
        "generating",
        ("fd", "kid", "precision", "recall", "coverage", "agreement", "cas", "bits_per_dim"),
        settings=False,
    ),
    Task("restoring", ("psnr", "nrmse", "ssim"), leading=2),
    Task("detecting", ("auroc",)),
    Task("representing", ("knn_accuracy", "linear_probe", "cluster_accuracy", "nmi", "ari")),
    Task("classifying", ("accuracy", "nll", "ece")),
)


@dataclass(frozen=True)
class Line:
    """One method: where it was measured, and what it cost; nothing for a reference."""

    method: str
    comparisons: tuple[str, ...]
    preset: str = ""
    seeds: str = ""
    costs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def learned(self) -> bool:
        return bool(self.costs)

    @property
    def label(self) -> str:
        """What the rows of this line are called in `Board.numbers`."""
        return "/".join((self.method, *self.comparisons))


@dataclass(frozen=True)
class Board:
    """One table. `protocol` says how its numbers were measured, all alike."""

    dataset: str
    task: str
    protocol: str
    columns: tuple[Key, ...]
    lines: tuple[Line, ...]
    rows: tuple[Mapping[str, Any], ...]
    kind: type[Kind]

    def name(self, line: Line) -> str:
        """What a line is called: a reference in the words of the data."""
        return line.method if line.learned else words.of_kind(line.method, self.kind)

    @property
    def title(self) -> str:
        return f"{self.task.capitalize()} on {self.dataset}"

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers(self.rows, [line.label for line in self.lines if line.learned])

    @property
    def ordered(self) -> list[Line]:
        """The best of the first column comes first, references last."""
        ranked = {name: i for i, name in enumerate(self.numbers.ranked(self.columns[0]))}
        return sorted(self.lines, key=lambda x: (not x.learned, ranked.get(x.label, len(ranked))))

    @property
    def heads(self) -> list[str]:
        named = (self.numbers.head(key, words.metric(key).name) for key in self.columns)
        costs = ("evaluations a sample", *COSTS.values())
        return ["method", *named, *costs, "comparison", "preset", "seeds"]

    def cell(self, line: Line, key: Key) -> Cell | None:
        return self.numbers.cell(line.label, key)

    def best(self, line: Line, key: Key) -> bool:
        return self.numbers.mark(line.label, key) == "best"

    @cached_property
    def otherwise(self) -> list[str]:
        """Numbers that were measured otherwise than the first of their column, in words."""
        found = []
        for key in self.columns:
            cells = [(line.method, self.cell(line, key)) for line in self.ordered]
            said = [(method, signature(cell.rows[0])) for method, cell in cells if cell]
            name = words.metric(key).name
            found += [f"{name} of {m}: {how}" for m, how in said if how != said[0][1]]
        return found

    @property
    def how(self) -> str:
        """How the numbers were measured, and which of them otherwise."""
        return words.of_kind("; but ".join([self.protocol, *self.otherwise]), self.kind)

    def texts(self, line: Line) -> list[str]:
        """The cells under `heads`, the best in bold."""
        cells = [_text(self.cell(line, key), self.best(line, key)) for key in self.columns]
        costs = [self.evaluations(line), *(line.costs.get(cost) for cost in COSTS)]
        source = [", ".join(line.comparisons), line.preset, line.seeds]
        return [self.name(line), *cells, *map(_count, costs), *source]

    def evaluations(self, line: Line) -> Any:
        """Of the network, for one sample, where the leading number says it."""
        cell = self.cell(line, self.columns[0])
        return cell.rows[0].get("evaluations") if cell else None

    def values(self, line: Line) -> list[Any]:
        """What the cells are sorted by: a number, or the text."""
        cells = [self.cell(line, key) for key in self.columns]
        numbers = [cell.value if cell else None for cell in cells]
        costs = [self.evaluations(line), *(line.costs.get(cost) for cost in COSTS)]
        said = [", ".join(line.comparisons), line.preset, line.seeds]
        return [self.name(line), *numbers, *costs, *said]


def _text(cell: Cell | None, best: bool) -> str:
    if cell is None:
        return ""
    text = words.number(cell.value, cell.stderr)
    error = "" if cell.stderr is None else f" \u00b1 {words.number(cell.stderr, cell.stderr)}"
    return (emboldened(text) if best else text) + error


def _count(value: Any) -> str:
    return "" if value is None else words.count(value)


def signature(row: Mapping[str, Any]) -> str:
    """What must be equal for two numbers to stand in one table, in words: the evaluation
    classifier's hash and how many examples; where the protocol says neither, its first clause and
    the number of examples.
    """
    protocol = str(row.get("protocol") or "")
    networks = [f"network {name}" for name in sorted(set(HASH.findall(protocol)))]
    counts = [f"{n} {what}" for n, what in dict.fromkeys(COUNTS.findall(protocol))]
    if networks or counts:
        return ", ".join([*networks, *counts])
    clause = re.split(r"[;,] (?:spread|stderr|standard error)|;", protocol)[0]
    n = row.get("n")
    return f"{clause}, {n:,} examples" if isinstance(n, int) else clause


def boards(
    results: Sequence[Published], dataset: str | None = None, task: str | None = None
) -> list[Board]:
    """The tables of `results`, of one data set or task where it is named: in the order of TASKS,
    then by data set, the longest first.
    """
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for each in results:
        for asked, method, key in _measured(each, task):
            place = (str(each.about["dataset"]), asked, _signature(each, method, key))
            found.setdefault(place, []).append((each, key, method))
    order = [task.name for task in TASKS]
    made = [_board(*place, rows) for place, rows in found.items() if dataset in (None, place[0])]
    kept = (board for board in made if any(line.learned for line in board.lines))
    return sorted(kept, key=lambda b: (order.index(b.task), b.dataset, -len(b.lines)))


def _measured(found: Published, only: str | None) -> Iterator[tuple[str, str, Key]]:
    """(task, method, its leading number) of each method that answers a task."""
    for task in (t for t in TASKS if only in (None, t.name)):
        keys = columns(found, task)
        for method in dict.fromkeys(name for name, _ in found.numbers.rows):
            lead = next((k for k in keys if found.numbers.cell(method, k)), None)
            if lead is not None and lead.metric in task.metrics[: task.leading]:
                yield task.name, method, lead


def columns(found: Published, task: Task) -> list[Key]:
    """What a comparison measured of a task: the columns of its first table, and what has no axes."""
    shown = found.columns if task.settings else ()
    there = (k for k in found.numbers.metrics if k.metric in task.metrics)
    keys = [k for k in there if not k.axes or k in shown]
    return sorted(keys, key=lambda k: task.metrics.index(k.metric))


def _signature(found: Published, method: str, key: Key) -> str:
    cell = found.numbers.cell(method, key)
    return signature(cell.rows[0]) if cell else ""


def _board(dataset: str, name: str, protocol: str, entries: Sequence[Entry]) -> Board:
    task = next(task for task in TASKS if task.name == name)
    merged: dict[tuple[str, float], tuple[Published, Line]] = {}
    for found, lead, method in entries:
        cell, line = found.numbers.cell(method, lead), _line(found, method)
        twin = (method, cell.value if cell else 0.0)
        first, old = merged.get(twin, (found, line))
        merged[twin] = (first, line if old is line else _joined(old, line))
    rows = [
        {**row, "method": line.label}
        for found, line in merged.values()
        for key in columns(found, task)
        for row in found.numbers.rows.get((line.method, key), ())
    ]
    keys = sorted(dict.fromkeys(map(key_of, rows)), key=lambda k: task.metrics.index(k.metric))
    lines = tuple(line for _, line in merged.values())
    kind = entries[0][0].kind
    return Board(dataset, name, protocol, tuple(keys), lines, tuple(rows), kind)


def _line(found: Published, method: str) -> Line:
    costs = next((m for m in found.methods if m["name"] == method), None)
    if costs is None:
        return Line(method, (found.name,))
    seeds = ", ".join(map(str, found.about["seeds"]))
    return Line(method, (found.name,), str(found.about["preset"]), seeds, costs)


def _joined(one: Line, other: Line) -> Line:
    """The same number of the same method, from two comparisons that share its run."""
    names = (*one.comparisons, *other.comparisons)
    return Line(one.method, names, one.preset, one.seeds, one.costs)


def markdown(found: Sequence[Board]) -> str:
    """All tables under their titles, and how each was measured."""
    parts = []
    for board in found:
        table = piped([board.heads, *(board.texts(line) for line in board.ordered)])
        parts.append(f"### {board.title}\n\nMeasured by: {board.how}.\n\n{table}")
    return "\n\n".join(parts)


def page(results: Sequence[Published]) -> str:
    """The first page of docs/results: the leaderboard, then the pages."""
    lines = [
        f"- [{found.about['question']}]({found.name}.md) ({found.about['dataset']})"
        for found in results
    ]
    return (
        "# Results\n\nAll methods that generate, restore, detect, represent or classify, in one table"
        " for each data set, task and protocol; made by `gradlogp leaderboard --out"
        " docs/results/index.md`, from the rows beside the pages. Numbers of two tables do not compare. Bold: the best of the"
        " methods, closed forms among them.\n\n## Leaderboard\n\n"
        f"{markdown(boards(results))}\n\n## Pages\n\n" + "\n".join(lines) + "\n"
    )


def html(found: Sequence[Board]) -> str:
    """The tables as one page that sorts them at a click on a head; nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradlogp.reports", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("leaderboard.html.jinja").render(boards=found) + "\n"

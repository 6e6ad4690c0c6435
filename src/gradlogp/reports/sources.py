"""What the sources of the technical report may say: placeholders that name a result, filled from rows.

    {{ value("dsm", "psnr", "dae", noise=0.5) }}        20.27 ± 0.09, from docs/results/dsm.json
    {{ row("cd-bias", "bias", rate=0.71, k=1) }}        from docs/results/bench-cd-bias.json
    {{ table("dsm") }}  {{ figure("dsm", "psnr") }}     the first table; a picture with its command
    {{ claim("dsm", "psnr", "dsm", "wiener", noise=0.5) }}    nothing, or the build fails

A number that no placeholder gave is a defect: `typed` finds those in a source.
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.files import inside
from gradlogp.reports import benches, published, words
from gradlogp.reports.benches import Measured
from gradlogp.reports.export import COSTS, emboldened, laid
from gradlogp.reports.layout import grid
from gradlogp.reports.numbers import Cell, Key
from gradlogp.reports.published import Published

Draw = Callable[[str, Sequence[Mapping[str, Any]], Path], None]

HIDDEN = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|```.*?```|`[^`\n]*`|\[[^\]]*@[^\]]*\]|@[\w:-]+|\]\([^)]*\)"
    r"|\{[#.][^}\n]*\}",
    re.S,
)
MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)
NAMES = re.compile(r"\b(?:CIFAR-10|ModelNet10|CD-\d+|NCSNv2|3D-GAN|1-NNA)\b")
NUMBER = re.compile(r"\d[\d.,]*\d|\d")
SPELLED = re.compile(r"\b(?:percent|per cent|hundreds?|thousands?|millions?|dozens?)\b", re.I)
PLACEHOLDERS = (
    *("value", "bare", "claim", "fact", "said", "has", "others", "verdict", "sources"),
    *(
        "table",
        "further",
        "figure",
        "picture",
        "row",
        "rows",
        "setting",
        "listed",
        "pivot",
        "sketch",
    ),
)
LARGEST = 10  # whole number that an equation may hold


def typed(text: str) -> list[str]:
    """Numbers of a source that were typed by hand. Names such as CIFAR-10 are none; an equation may
    hold whole numbers up to ten.
    """
    prose = NAMES.sub("", HIDDEN.sub(" ", text))
    equations = " ".join(MATH.findall(prose))
    measured = [n for n in NUMBER.findall(equations) if not n.isdigit() or int(n) > LARGEST]
    bare = MATH.sub(" ", prose)
    return [*NUMBER.findall(bare), *SPELLED.findall(bare), *measured]


@dataclass
class Sources:
    """The placeholders, over the results in `folder`. Figures that a bench draws go into `drawn`;
    `used` notes what was read.
    """

    folder: Path
    drawn: Path
    draw: Draw
    used: dict[str, Published | Measured] = field(default_factory=dict)

    def names(self) -> dict[str, Callable[..., Any]]:
        """Name in a source -> function."""
        return {name: getattr(self, name) for name in PLACEHOLDERS}

    def has(self, name: str) -> bool:
        """Whether the comparison `name` has results there."""
        return (self.folder / f"{name}.json").is_file()

    def results(self, name: str) -> Published:
        if not self.has(name):
            raise UserError(
                f"the report names the comparison {name!r}, of which {self.folder} has no"
                f" {name}.json; `gradlogp report FOLDER --results {self.folder}` writes it."
            )
        if name not in self.used:
            self.used[name] = published.read(self.folder / f"{name}.json")
        found = self.used[name]
        assert isinstance(found, Published)
        return found

    def others(self, *named: str) -> list[str]:
        """Comparisons that have results and are none of `named`."""
        there = [path.stem for path in sorted(self.folder.glob("*.json"))]
        return [n for n in there if n not in named and not n.startswith("bench-")]

    def key(self, name: str, metric: str, axes: Mapping[str, Any]) -> Key:
        """The measurement with these axes, in whatever order. Raises UserError where it is not there."""
        keys = [k for k in self.results(name).numbers.metrics if k.metric == metric]
        found = next((k for k in keys if dict(k.axes) == dict(axes)), None)
        if found is None:
            said = ", ".join(sorted({words.axes(k) or "no axes" for k in keys})[:12])
            raise UserError(
                f"{name} has no {metric} {dict(axes)}; expected one of {said or 'its metrics'}."
            )
        return found

    def cell(self, name: str, metric: str, method: str, axes: Mapping[str, Any]) -> Cell:
        key = self.key(name, metric, axes)
        found = self.results(name).numbers.cell(method, key)
        if found is None:
            raise UserError(f"{name} has no {metric} {dict(axes)} of {method!r}.")
        return found

    def value(self, name: str, metric: str, method: str, **axes: Any) -> str:
        """The value and its standard error."""
        found = self.cell(name, metric, method, axes)
        error = words.number(found.stderr, found.stderr)
        return self.bare(name, metric, method, **axes) + (
            f" ± {error}" if found.stderr is not None else ""
        )

    def bare(self, name: str, metric: str, method: str, **axes: Any) -> str:
        """The value alone."""
        found = self.cell(name, metric, method, axes)
        return words.number(found.value, found.stderr)

    def claim(self, name: str, metric: str, one: str, other: str, **axes: Any) -> str:
        """Nothing where `one` is ahead of `other` by more than two standard errors; UserError where
        it is not: the sentence beside it is no longer true.
        """
        key = self.key(name, metric, axes)
        if not self.results(name).numbers.beats(one, other, key):
            raise UserError(
                f"the report claims that {one} is better than {other} in {metric} {dict(axes)} of"
                f" {name}; the results say {self.value(name, metric, one, **axes)} and"
                f" {self.value(name, metric, other, **axes)}. Mend the sentence."
            )
        return ""

    def fact(self, name: str, method: str, cost: str) -> str:
        """Parameters, seconds or evaluations of the training of a method."""
        found = next(m for m in self.results(name).methods if m["name"] == method)
        value = found[cost]
        return words.duration(value) if cost == "seconds" else words.count(value)

    def said(self, name: str, what: str) -> str:
        """Of the comparison: question, command, dataset, preset, seeds, day, commit, seconds."""
        value = self.results(name).about[what]
        if what == "seconds":
            return words.duration(value)
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    def table(self, name: str, *metrics: str, most: int = 6) -> str:
        """The first table: of `metrics` alone, where some are named, and at most so many columns."""
        found = self.results(name)
        columns = [k for k in found.columns if not metrics or k.metric in metrics][:most]
        costs = {m["name"]: [m.get(cost) for cost in COSTS] for m in found.methods}
        numbers = found.numbers
        names = [*(m["name"] for m in found.ordered), *numbers.references]
        shown = [n for n in names if any(numbers.cell(n, k) for k in columns)]
        lines = [line[:-1] for line in laid(numbers, columns, shown, costs, emboldened)]
        return _piped(lines) + self._caption(f"{found.about['question']} {self.made(name)}")

    def further(self, name: str, title: str) -> str:
        """The further table of that title."""
        found = self.results(name)
        said = found.table(title)
        if said is None:
            raise UserError(f"{name} has no table {title!r}.")
        laid_out = grid(said, found.numbers, [m["name"] for m in found.ordered])
        lines = [
            [label, *(f"{e.text} ± {e.stderr}".removesuffix(" ± ") if e else "" for e in entries)]
            for label, entries in laid_out.lines
        ]
        return _piped([[laid_out.corner, *laid_out.heads], *lines]) + self._caption(
            f"{laid_out.title}. {self.made(name)}"
        )

    def figure(self, name: str, end: str, width: int = 100) -> str:
        """The picture images/<name>-<end>.png, with what it shows and how it was made."""
        found = self.results(name)
        file = f"{name}-{end}.png"
        if file not in found.figures:
            raise UserError(f"{name} has no picture {file}; it has {', '.join(found.figures)}.")
        caption = f"{found.figures[file]} {self.made(name)}"
        shutil.copyfile(inside(self.folder, f"images/{file}"), self.drawn / file)
        return f"![{escaped(caption)}]({file}){{width={width}%}}"

    def picture(self, name: str) -> str:
        """The first picture of a comparison; nothing where it has none."""
        first = next(iter(self.results(name).figures), None)
        end = first.removeprefix(f"{name}-").removesuffix(".png") if first else ""
        return self.figure(name, end) if first else ""

    def made(self, name: str) -> str:
        """The command, seeds, day and seconds of a comparison."""
        about = self.results(name).about
        seeds = self.said(name, "seeds")
        return (
            f"Made by {about['command']}; seed {seeds}; {about['day']};"
            f" {words.duration(about.get('seconds'))}."
        )

    def _caption(self, text: str) -> str:
        return f"\n\n: {escaped(text)}\n"

    def verdict(self, name: str) -> str:
        """For each column of the first table: who leads, who is not told apart from it, and which
        of the learned lose to the trivial method.
        """
        numbers, said = self.results(name).numbers, []
        for key in self.results(name).columns:
            order = numbers.ranked(key)
            if len(order) < 2:
                continue
            close = [m for m in order[1:] if numbers.close(order[0], m, key)]
            beaten = [m for m in order if any(numbers.beats(t, m, key) for t in numbers.trivial)]
            sentence = f"In {words.metric(key).name} `{order[0]}` leads"
            sentence += f", not told apart from {_ticked(close)}" if close else ""
            sentence += f"; the trivial method beats {_ticked(beaten)}" if beaten else ""
            said.append(sentence + ".")
        return " ".join(said)

    def bench(self, name: str) -> Measured:
        """The rows of a bench."""
        if name not in self.used:
            self.used[name] = benches.read(name, self.folder)
        found = self.used[name]
        assert isinstance(found, Measured)
        return found

    def rows(self, bench: str, **where: Any) -> list[Mapping[str, Any]]:
        """The rows of a bench that have these values."""
        found = self.bench(bench).rows
        return [r for r in found if all(r.get(key) == value for key, value in where.items())]

    def one(self, bench: str, key: str, where: Mapping[str, Any]) -> Mapping[str, Any]:
        found = [r for r in self.rows(bench, **where) if key in r]
        if len(found) != 1:
            raise UserError(
                f"expected one row {dict(where)} with {key!r} of {bench}, got {len(found)}."
            )
        return found[0]

    def row(self, bench: str, key: str, **where: Any) -> str:
        """One number of the one row of a bench with these values, with its standard error."""
        return _written(self.one(bench, key, where), key)

    def setting(self, bench: str, key: str, **where: Any) -> str:
        """What was set, not measured, in the one row of a bench with these values, to its digits."""
        return _set(self.one(bench, key, where)[key])

    def listed(self, bench: str, columns: Mapping[str, str], **where: Any) -> str:
        """The rows of a bench with these values as a table: key -> head of the column; the first
        column is what was set.
        """
        first, *rest = columns
        lines = [
            [_set(r[first]), *(_written(r, key) for key in rest)] for r in self.rows(bench, **where)
        ]
        return _piped([list(columns.values()), *lines]) + self._caption(self.measured(bench))

    def pivot(
        self,
        bench: str,
        key: str,
        down: str,
        across: str,
        values: Sequence[Any],
        corner: str,
        label: str,
        **where: Any,
    ) -> str:
        """One number of a bench for each value of `down` and for those `values` of `across`."""
        found = self.rows(bench, **where)
        names = list(dict.fromkeys(r[down] for r in found))
        lines = [
            [
                _set(name),
                *(self.row(bench, key, **where, **{down: name, across: v}) for v in values),
            ]
            for name in names
        ]
        heads = [corner, *(f"{label}{_set(v)}" for v in values)]
        return _piped([heads, *lines]) + self._caption(self.measured(bench))

    def measured(self, bench: str) -> str:
        """The command, seeds, day and seconds of a bench."""
        found = self.bench(bench)
        took = words.duration(found.seconds)
        return f"Made by {found.command}; seed {found.seeds}; {found.day}; {took}."

    def sketch(self, bench: str, caption: str, width: int = 100) -> str:
        """The figure of a bench, drawn now from its rows."""
        found = self.bench(bench)
        path = self.drawn / f"{bench}.png"
        self.draw(bench, found.rows, path)
        says = escaped(f"{caption} {self.measured(bench)}")
        return f"![{says}]({path.name}){{width={width}%}}"

    def sources(self) -> str:
        """A table of all results that were read: the command, the day, what it took."""
        lines = [["results", "command", "seed", "day", "seconds", "rows from"]]
        for name, found in sorted(self.used.items()):
            if isinstance(found, Measured):
                took = words.duration(found.seconds)
                lines.append([name, found.command, found.seeds, found.day, took, "bench"])
            else:
                said = [self.said(name, key) for key in ("command", "seeds", "day", "seconds")]
                lines.append([name, *said, found.source])
        return _piped(lines, numbers=False) + self._caption("Everything that this report reads.")


def _ticked(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def escaped(text: str) -> str:
    """Plain text as Markdown of pandoc."""
    return re.sub(r"([\\`*_{}\[\]<>#$@|^~])", r"\\\1", text)


def _set(value: Any) -> str:
    """What was set, to four digits where it is a number."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _written(row: Mapping[str, Any], key: str) -> str:
    """A number of a bench's row, with its standard error where it has one."""
    value, error = row[key], row.get(f"{key}_stderr")
    if isinstance(value, int) and not isinstance(value, bool):
        return words.count(value)
    if not isinstance(value, float):
        return str(value)
    text = words.number(value, error)
    return f"{text} ± {words.number(error, error)}" if error else text


def _piped(lines: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """A table of pandoc, to the right where it holds `numbers`, its columns as wide as what they
    hold; heads may be broken between words, and bold stays.
    """
    head, *body = [[_cell(cell) for cell in line] for line in lines]
    words_of = [max(map(len, cell.split()), default=1) for cell in head]
    wide = [max(4, n, *(len(line[i]) for line in body)) for i, n in enumerate(words_of)]
    rule = ["-" * n + ":" * (numbers and i > 0) for i, n in enumerate(wide)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body])


def _cell(text: str) -> str:
    bold = text.startswith("**")
    plain = escaped(text.replace("**", ""))
    if not bold:
        return plain
    value, _, error = plain.partition(" ± ")
    return f"**{value}**" + (f" ± {error}" if error else "")

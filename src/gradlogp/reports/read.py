"""What a page shows, read from run folders: nothing is computed here but words, and nothing is
written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gradlogp.core.errors import UserError
from gradlogp.core.files import there
from gradlogp.experiments.recipes.chains import TABLES
from gradlogp.harness.kinds import KINDS
from gradlogp.harness.kinds.base import Kind
from gradlogp.harness.table import Column, Table
from gradlogp.reports import words
from gradlogp.reports.numbers import Key, Numbers
from gradlogp.reports.picture import Picture, picture, strip
from gradlogp.reports.plot import LARGE, Line, chart
from gradlogp.reports.shown import Figure, Shown, _level, figures
from gradlogp.runs import Run, inside, read_comparison, safe_path

EVALUATORS = ("evaluator", "judge")  # the runs of the evaluation classifier, now and in version 1
STYLES = 6  # colours that the page has


@dataclass(frozen=True)
class Method:
    """The runs of one experiment, one for each seed; pictures are those of the first. `index` is 1,
    2, ... on the page.
    """

    index: int
    runs: Sequence[Shown]

    @property
    def style(self) -> int:
        """Its colour."""
        return (self.index - 1) % STYLES + 1

    @property
    def first(self) -> Shown:
        return self.runs[0]

    @property
    def name(self) -> str:
        return self.first.name

    @property
    def title(self) -> str:
        return str(self.first.run.about.get("title") or self.name)

    @property
    def story(self) -> str:
        """How it works, in plain words."""
        return str(self.first.run.about.get("story") or "")

    def fact(self, name: str) -> float | None:
        """A number of the status, averaged over seeds."""
        found = [
            run.status[name] for run in self.runs if isinstance(run.status.get(name), int | float)
        ]
        return sum(found) / len(found) if found else None

    def cost(self, name: str) -> float | None:
        """Seconds or network evaluations for one picture drawn."""
        found = [
            row[name]
            for run in self.runs
            for row in run.results
            if row.get("metric") == "fd"
            and not row.get("axes")
            and isinstance(row.get(name), int | float)
        ]
        return sum(found) / len(found) if found else None


@dataclass(frozen=True)
class Page:
    """Everything that one report shows."""

    folder: Path
    note: Mapping[str, Any]  # compare.json, or nothing
    methods: Sequence[Method]
    evaluator: Shown | None
    missing: Sequence[str]  # methods that a comparison names and that have not begun
    numbers: Numbers

    @property
    def first(self) -> Shown:
        return self.methods[0].first

    @property
    def draws(self) -> bool:
        """Whether the methods are judged by what they draw."""
        return Key("fd") in self.numbers.metrics or any(m.first.final for m in self.methods)

    @property
    def kind(self) -> type[Kind]:
        """Of the data; what names no known one is called examples."""
        return KINDS.get(str(self.first.spec.get("kind", "picture")), Kind)

    @property
    def noun(self) -> str:
        """What one example is called."""
        return self.kind.noun if self.draws else "example"

    @property
    def headline(self) -> list[Key]:
        """The metrics of the first table."""
        columns = self.note.get("headline") or [{"metric": name} for name in words.HEADLINE]
        keys = (Key.of(str(c["metric"]), c.get("axes")) for c in columns)
        return [key for key in keys if key in self.numbers.metrics]

    @property
    def explained(self) -> list[tuple[str, list[Key]]]:
        """(what it says, the metrics of the first table that say it)."""
        found: dict[str, list[Key]] = {}
        for key in self.headline:
            found.setdefault(words.metric(key).says, []).append(key)
        return list(found.items())

    def marks(self, references: Sequence[str]) -> list[str]:
        """Those of the references of which the first table says anything."""
        return [m for m in references if any(self.numbers.cell(m, k) for k in self.headline)]

    @property
    def placed(self) -> bool:
        """Whether any value of the first table lies between references on both sides."""
        return any(
            self.numbers.place(m.name, k) is not None for m in self.methods for k in self.headline
        )

    @property
    def plain(self) -> list[str]:
        """Titles of the methods that lead in no metric of the first table and lose to the trivial
        method in none.
        """
        verdicts = self.numbers.verdicts(self.headline)
        return [m.title for m in self.methods if not any(verdicts[m.name])]

    @property
    def tables(self) -> list[Table]:
        """The further tables that a comparison asks for; of a single run, those of the chains of an
        energy.
        """
        return (
            [table_of(said) for said in self.note.get("tables") or ()]
            if self.note
            else list(TABLES)
        )

    @property
    def figures(self) -> list[Figure]:
        """What the comparison drew of all its methods together."""
        return figures(self.folder) if self.note else []

    @property
    def ordered(self) -> Sequence[Method]:
        """As a table lists them: the best of the first metric comes first."""
        ranked = self.numbers.ranked(self.headline[0]) if self.headline else []
        return sorted(
            self.methods, key=lambda m: ranked.index(m.name) if m.name in ranked else len(ranked)
        )

    def about(self, method: Method) -> str:
        return str((self.note.get("about") or {}).get(method.name, ""))

    @property
    def seeds(self) -> list[Any]:
        return list(dict.fromkeys(run.seed for method in self.methods for run in method.runs))

    @property
    def day(self) -> str:
        """When the newest of the runs began."""
        return max(
            (str(run.run.about.get("date", "")) for m in self.methods for run in m.runs), default=""
        )

    @property
    def real(self) -> Picture | None:
        """A grid of real pictures, where the folder has one."""
        return picture(inside(self.folder, "samples/real.png"))

    @property
    def real_strip(self) -> Picture | None:
        """Else a row of them."""
        paths = [
            p
            for m in self.methods
            for run in m.runs
            for p in sorted((run.run.path / "samples").glob("denoise-*.png"))
        ]
        return (
            None
            if self.real or not paths
            else strip(inside(paths[0].parents[1], f"samples/{paths[0].name}"))
        )

    @property
    def trivial(self) -> Picture | None:
        """A grid of samples of the trivial method, where the folder has one."""
        return picture(inside(self.folder, "samples/gaussian.png"))

    @property
    def levels(self) -> list[str]:
        """Noise levels at which any method restored pictures."""
        return sorted(
            {r.sigma for m in self.methods for run in m.runs for r in run.restored if r.numbers},
            key=_level,
        )

    def psnr_key(self, level: str) -> Key:
        """The measurement of restored examples at a noise level."""
        metric = next((r for m in self.methods for r in m.first.restored if r.numbers), None)
        name = next(iter(metric.numbers)) if metric else "psnr"
        return Key(name, (("noise", float(level)),))

    def restored_chart(self) -> Markup | None:
        """PSNR against noise, of the noisy pictures themselves and of every method."""
        lines = [Line(m.title, m.first.restoring("value"), m.style) for m in self.methods]
        return chart(
            [Line("noisy pictures", self.first.restoring("noisy"), 0), *lines],
            "noise",
            markers=True,
            size=LARGE,
        )


def table_of(said: Mapping[str, Any]) -> Table:
    """A table as compare.json has it."""
    known = {field.name for field in fields(Table)}
    kept = {name: value for name, value in said.items() if name in known}
    return Table(**kept | {"last": tuple(Column(**column) for column in said.get("last") or ())})


def page(folder: Path) -> Page:
    """What there is in a run folder or a comparison folder. Raises UserError for any other folder."""
    folder = safe_path(folder)
    if there(folder / "compare.json"):
        return _comparison(folder)
    shown = Shown(Run.open(folder))
    rows = [{"method": shown.name, **row} for row in shown.results]
    return Page(folder, {}, [Method(1, [shown])], None, [], Numbers(rows, [shown.name]))


def _comparison(folder: Path) -> Page:
    note, rows = read_comparison(folder)
    runs = [Shown(Run.open(path.parent)) for path in sorted(folder.glob("*/config.json"))]
    evaluator = next((run for run in runs if run.name in EVALUATORS), None)
    runs = [run for run in runs if run.name not in EVALUATORS]
    if not runs:
        raise UserError(
            f"{folder} is a comparison in which no run has begun; run the comparison first."
        )
    named = [str(m) for m in note.get("methods", [])]
    order = [
        m
        for m in dict.fromkeys([*named, *(run.name for run in runs)])
        if any(run.name == m for run in runs)
    ]
    groups = [
        sorted(
            (run for run in runs if run.name == m),
            key=lambda run: (len(str(run.seed)), str(run.seed)),
        )
        for m in order
    ]
    methods = [Method(i, group) for i, group in enumerate(groups, 1)]
    return Page(
        folder,
        note,
        methods,
        evaluator,
        [m for m in named if m not in order],
        Numbers(_rows(rows, runs), order),
    )


def _rows(rows: list[dict[str, Any]], runs: Sequence[Shown]) -> list[dict[str, Any]]:
    """Of results.json; of a comparison that is under way, those of the runs that are done."""
    done = {row.get("method") for row in rows}
    return rows + [
        {"method": run.name, **row} for run in runs if run.name not in done for row in run.results
    ]

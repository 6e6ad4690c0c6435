"""Tables for a person: what there is, and what was measured at what cost."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from gradlogp.baselines import BASELINES
from gradlogp.bench import BENCHES
from gradlogp.core.noise import PROCESSES
from gradlogp.core.targets import TARGETS
from gradlogp.data import DATASETS
from gradlogp.experiments import COMPARISONS, EXPERIMENTS, PRESETS
from gradlogp.metrics import METRICS
from gradlogp.models import MODELS
from gradlogp.objectives import OBJECTIVES
from gradlogp.reports.numbers import Cell
from gradlogp.reports.read import Page
from gradlogp.samplers import SAMPLERS
from gradlogp.tasks import TASKS

TABLES: dict[str, Mapping[str, Any]] = {
    "samplers": SAMPLERS,
    "objectives": OBJECTIVES,
    "models": MODELS,
    "processes": PROCESSES,
    "targets": TARGETS,
    "baselines": BASELINES,
    "tasks": TASKS,
    "metrics": METRICS,
    "experiments": EXPERIMENTS,
    "comparisons": COMPARISONS,
    "data": DATASETS,
    "presets": PRESETS,
    "benches": BENCHES,
}
QUALITY = (
    "fd",
    "precision",
    "recall",
    "coverage",
    "agreement",
)  # what a comparison's table shows of the samples


def members(kind: str) -> dict[str, str]:
    """The members of one table, each with a line about it: its `says`, or the first line of its
    docstring.
    """

    def says(member: Any) -> str:
        text = (
            member
            if isinstance(member, str)
            else getattr(member, "says", None) or inspect.getdoc(member) or ""
        )
        return " ".join(text.partition("\n\n")[0].split())

    return {name: says(member) for name, member in TABLES[kind].items()}


def listing(kind: str) -> str:
    width = max(30, 2 + max(map(len, TABLES[kind])))
    return "\n".join([kind, *(f"  {name:<{width}}{text}" for name, text in members(kind).items())])


def measures(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One run's results, a line for each metric."""
    table = titled(
        "on the test part", "metric", "value", "+-", "better", "reference", "trivial", "n"
    )
    for r in rows:
        numbers = [number(r.get(key)) for key in ("value", "stderr", "reference", "trivial", "n")]
        table.add_row(r["metric"], *numbers[:2], r["better"], *numbers[2:])
    return table


def comparison(page: Page, rows: Iterable[Mapping[str, Any]]) -> list[Table]:
    """Samples, each method between real pictures above and a trivial model below; what they cost;
    PSNR by noise.
    """
    numbers = page.numbers
    methods = {m.name: m for m in page.ordered}
    shown = [metric for metric in QUALITY if metric in numbers.metrics]
    samples = titled("fresh samples", "method", *(numbers.head(metric, metric) for metric in shown))
    for name in [*numbers.floors, *methods, *numbers.ceilings]:
        samples.add_row(name, *(_cell(numbers.cell(name, metric)) for metric in shown))
    costs = titled(
        "cost",
        "method",
        "evaluations a sample",
        "ms a sample",
        "training s",
        "training evaluations",
        "parameters",
    )
    for name, m in methods.items():
        spent = [
            m.cost("evaluations"),
            1000 * (m.cost("seconds") or 0),
            *map(m.fact, ("seconds", "evaluations", "parameters")),
        ]
        costs.add_row(name, *map(number, spent))
    levels = [metric for metric in numbers.metrics if metric.startswith("denoise_psnr_")]
    restored = titled(
        "denoising: PSNR in dB (high)",
        "method",
        *(f"noise {level.rpartition('_')[2]}" for level in levels),
    )
    noisy = {r["metric"]: r["noisy"] for r in rows if "noisy" in r}
    restored.add_row("noisy pictures", *(number(noisy.get(level)) for level in levels))
    linear = [
        c for c in numbers.ceilings if levels and numbers.cell(c, levels[0])
    ]  # Wiener's filter
    for name in [*methods, *linear]:
        restored.add_row(name, *(_cell(numbers.cell(name, level)) for level in levels))
    return [samples, costs, *([restored] if levels else [])]


def ranking(page: Page, headline: Iterable[str], width: int = 4) -> list[Table]:
    """Methods sorted by the first metric, the best first, `width` metrics to a table, and at last
    what each cost.
    """
    numbers = page.numbers
    methods = {m.name: m for m in page.methods}
    shown = [metric for metric in headline if metric in numbers.metrics]
    names = list(
        dict.fromkeys([*(numbers.ranked(shown[0]) if shown else []), *methods, *numbers.references])
    )
    tables = []
    for first in range(0, len(shown), width):
        some = shown[first : first + width]
        table = titled("on the test part", "method", *(numbers.head(k, k) for k in some))
        for name in names:
            table.add_row(name, *(_cell(numbers.cell(name, metric)) for metric in some))
        tables.append(table)
    costs = titled("cost", "method", "parameters", "training s", "training evaluations")
    for name, m in methods.items():
        costs.add_row(
            name, *(number(m.fact(key)) for key in ("parameters", "seconds", "evaluations"))
        )
    return [*tables, costs]


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

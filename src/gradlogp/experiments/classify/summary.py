"""McNemar's test of each method against the first on every task, bars of their errors, and energies
in and out of distribution.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Items, Rows, add_captions, row
from gradlogp.harness.trial import items
from gradlogp.metrics import Measure, calibration

SHOWN = ("cnn_energy", "jem", "linear_energy")  # whose energies are drawn
Kept = Mapping[str, Items]


def summary(folder: Path, runs: Runs) -> Rows:
    """Tests and figures of the first seed."""
    kept = {name: items(paths[0]) for name, paths in runs.items()}
    samples = folder / "samples"
    captions = _errors(samples / "figure-errors.png", kept)
    captions |= _energies(samples / "figure-out-of-distribution.png", kept)
    add_captions(samples / "figures.json", captions)
    first, *others = kept
    return [
        {"method": other, **row(_mcnemar(kept, first, other, task))}
        for other in others
        for task in tasks_of(kept[first])
        if task in tasks_of(kept[other])
    ]


def tasks_of(found: Items) -> list[str]:
    return [axes["task"] for axes in found.axes("right")]


def _mcnemar(kept: Kept, first: str, other: str, task: str) -> Measure:
    right = (kept[name].at("right", {"task": task}).bool() for name in (first, other))
    mine, theirs, p = calibration.mcnemar(*right)
    says = (
        f"McNemar's exact test on the same test examples: {mine} only {first} has right, {theirs}"
        f" only {other}"
    )
    axes = {"against": first, "task": task}
    return Measure("p", p, None, mine + theirs, "higher", says, axes=axes)


def _errors(path: Path, kept: Kept) -> dict[str, str]:
    tasks = tasks_of(next(iter(kept.values())))
    errors = {name: [_error(found, task) for task in tasks] for name, found in kept.items()}
    with figures.sheet(path, width=9.0) as (axis,):
        figures.bars(axis, tasks, errors, "test errors, %", "Errors by task")
        axis.set_yscale("log")
    return {path.name: "Test errors by task; no bar where a method did not take part."}


def _error(found: Items, task: str) -> float:
    """Percent wrong; nan where the task was not taken."""
    if task not in tasks_of(found):
        return math.nan
    return 100 * (1 - float(found.at("right", {"task": task}).double().mean()))


def _energies(path: Path, kept: Kept) -> dict[str, str]:
    shown = [name for name in SHOWN if name in kept]
    with figures.sheet(path, columns=max(1, len(shown))) as axes:
        for axis, name in zip(axes, shown, strict=False):
            found = kept[name]
            series = {of["of"]: found.at("energy", of).numpy() for of in found.axes("energy")}
            title = f"{name}: energy in and out of distribution"
            figures.histograms(axis, series, "E(x)", title)
    caption = "The energy E(x) of test pictures and of pictures of other kinds: apart is good."
    return {path.name: caption}

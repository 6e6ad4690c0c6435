"""Frechet distance against evaluations along every kind of ladder, for both fields."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from gradlogp.experiments.langevin_study.settings import Family
from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Items, Rows, add_captions
from gradlogp.harness.trial import items

Points = tuple[Sequence[float], Sequence[float]]


def summary(folder: Path, runs: Runs) -> Rows:
    """The curves of the first seed."""
    kept = {
        name: items(paths[0]) for name, paths in runs.items() if (paths[0] / "items.npz").exists()
    }
    path = folder / "samples" / "figure-ladders.png"
    with figures.sheet(path, columns=max(1, len(kept)), width=4.8) as axes:
        for axis, (method, found) in zip(axes, kept.items(), strict=False):
            series = {family: points(found, family) for family in get_args(Family)}
            x, y = "evaluations a sample", "Frechet distance"
            figures.lines(axis, series, x, y, method, log="xy", markers=True)
            for line, (xs, _) in zip(axis.lines, series.values(), strict=True):
                line.set_linestyle("-" if len(set(xs)) > 1 else "")
    caption = "Frechet distance against evaluations, along different ladders."
    add_captions(path.with_name("figures.json"), {path.name: caption})
    return []


def points(found: Items, family: Family) -> Points:
    """Evaluations and Frechet distances of a family, by rising evaluations."""
    every = found.axes("fd", {"family": family})
    pairs = sorted((float(found.at("evaluations", a)), float(found.at("fd", a))) for a in every)
    return [evaluations for evaluations, _ in pairs], [fd for _, fd in pairs]

"""All representations side by side: the classes in the plane by t-SNE, and neighbours by layer."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Rows, add_captions
from gradlogp.harness.trial import items
from gradlogp.runs import Run

COLUMNS = 3


def summary(folder: Path, runs: Runs) -> Rows:
    """Figures of the first seed."""
    first = {method: paths[0] for method, paths in runs.items()}
    samples = folder / "samples"
    captions = _planes(samples / "figure-planes.png", first)
    captions |= _layers(samples / "figure-layers.png", first)
    add_captions(samples / "figures.json", captions)
    return []


def _planes(path: Path, runs: Mapping[str, Path]) -> dict[str, str]:
    rows = math.ceil(len(runs) / COLUMNS)
    with figures.sheet(path, COLUMNS, rows, 3.2, 3.0) as axes:
        for axis in axes[len(runs) :]:
            axis.set_visible(False)
        for axis, (method, run) in zip(axes, runs.items(), strict=False):
            found = items(run)
            _plane(axis, found["plane"], found["labels"], method)
    return {
        path.name: (
            "Where t-SNE puts the features of the same test examples, one colour for each class:"
            " what lies in islands of one colour, neighbours can classify."
        )
    }


def _plane(axis: Any, plane: Any, labels: Any, title: str) -> None:
    axis.scatter(*plane.T, s=5, c=labels, cmap="tab10", linewidths=0)
    axis.set(xticks=[], yticks=[], title=title)


def _layers(path: Path, runs: Mapping[str, Path]) -> dict[str, str]:
    """Accuracy on validation of each candidate, in their order."""
    with figures.sheet(path, columns=2, width=5.2, height=3.6) as axes:
        for axis, (over, title) in zip(axes, TITLES.items(), strict=True):
            series = {method: _candidates(run, over) for method, run in runs.items()}
            x, y = "candidate, as the table lists them", "accuracy of 20 neighbours"
            figures.lines(axis, series, x, y, title, markers=True)
    return {
        path.name: (
            "The vote of 20 neighbours on validation examples, for every layer and noise level"
            " that a method offers. The best of them is what the first table measures."
        )
    }


TITLES = {"layer": "Features as they are", "whitened_layer": "Whitened"}


def _candidates(run: Path, over: str) -> tuple[Sequence[float], Sequence[float]]:
    rows = [r for r in Run.open(run).results() if over in r.get("axes", {})]
    return list(range(1, len(rows) + 1)), [float(r["value"]) for r in rows]

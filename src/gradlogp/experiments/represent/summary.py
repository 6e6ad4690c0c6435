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
Curve = tuple[list[int], list[float]]  # layers, and what is measured there


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
            _plane(axis, found["plane"], found["labels"], method, classes_of(run))
        figures.one_legend(axes)
    return {
        path.name: (
            "Where t-SNE puts the features of the same test examples, one colour for each class:"
            " what lies in islands of one colour, neighbours can classify."
        )
    }


def _plane(axis: Any, plane: Any, labels: Any, title: str, classes: Sequence[str]) -> None:
    for i in range(len(classes)):
        points = plane[labels == i].T
        axis.scatter(*points, s=5, color=f"C{i % 10}", linewidths=0, label=classes[i])
    axis.set(xticks=[], yticks=[], title=title)


def classes_of(run: Path) -> list[str]:
    """The names of the classes of the data of a run, their numbers where they have none."""
    names = Run.open(run).config["data"].get("classes")
    return [str(name) for name in names or range(int(items(run)["labels"].max()) + 1)]


def _layers(path: Path, runs: Mapping[str, Path]) -> dict[str, str]:
    """Accuracy on validation by layer; a level line for what has no layers."""
    with figures.sheet(path, columns=2, width=5.2, height=3.6) as axes:
        for axis, (over, title) in zip(axes, TITLES.items(), strict=True):
            found = {method: _by_level(run, over) for method, run in runs.items()}
            series = {m: _best_level(levels) for m, levels in found.items() if "" not in levels}
            _without_layers(axis, {m: max(v[""][1]) for m, v in found.items() if "" in v})
            figures.lines(axis, series, "layer", "accuracy of 20 neighbours", title, markers=True)
            axis.xaxis.get_major_locator().set_params(integer=True)
        figures.one_legend(axes)
    return {
        path.name: (
            "The vote of 20 neighbours on validation examples by layer; where a method has features"
            " at several noise levels, at the level whose best layer is best. Grey: what has no"
            " layers. The best of all is what the first table measures."
        )
    }


def _without_layers(axis: Any, found: Mapping[str, float]) -> None:
    for (method, value), dashes in zip(found.items(), ("--", ":"), strict=False):
        axis.axhline(value, color="grey", linestyle=dashes, linewidth=1.2, label=method)


TITLES = {"layer": "Features as they are", "whitened_layer": "Whitened"}


def _by_level(run: Path, over: str) -> dict[str, Curve]:
    """Noise level -> (layers, accuracies); under "" what has no layers."""
    found: dict[str, Curve] = {}
    for row in Run.open(run).results():
        if over in row.get("axes", {}):
            level, layer = _place(row["axes"][over])
            layers, votes = found.setdefault(level, ([], []))
            layers.append(layer)
            votes.append(float(row["value"]))
    return found


def _place(name: str) -> tuple[str, int]:
    """ "noise 0.1, layer 2" -> ("noise 0.1", 2); "layer 2" -> ("clean", 2); others -> ("", 0)."""
    level, _, layer = name.rpartition("layer ")
    return (level.rstrip(", ") or "clean", int(layer)) if "layer " in name else ("", 0)


def _best_level(levels: Mapping[str, Curve]) -> Curve:
    return max(levels.values(), key=lambda curve: max(curve[1]))

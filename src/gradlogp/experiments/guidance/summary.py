"""Guidance in two figures: accuracy, distance and recall against the scale, and samples by scale
and class, all from the same noise.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Rows, add_captions
from gradlogp.harness.trial import items
from gradlogp.runs import Run

GUIDED = ("classifier_free", "by_classifier", "class_gaussians")
PANELS = {"agreement": "accuracy of the class", "fd": "Fréchet distance", "recall": "recall"}
Curve = tuple[Sequence[float], Sequence[float]]


def summary(folder: Path, runs: Runs) -> Rows:
    """Two figures; no further rows."""
    samples = folder / "samples"
    guided = {name: runs[name] for name in GUIDED if name in runs}
    captions = _curves(samples / "figure-scales.png", guided)
    captions |= _classes(samples / "figure-classes.png", guided)
    add_captions(samples / "figures.json", captions)
    return []


def curve(paths: Sequence[Path], metric: str, over: str) -> Curve:
    """The values of `metric` against the axis `over`, means over the seeds."""
    each = []
    for path in paths:
        rows = [row for row in Run.open(path).results() if row["metric"] == metric]
        found = {r["axes"][over]: r["value"] for r in rows if over in r.get("axes", {})}
        each.append(dict(sorted(found.items())))
    return list(each[0]), [float(np.mean([found[key] for found in each])) for key in each[0]]


def _curves(path: Path, guided: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    with figures.sheet(path, columns=len(PANELS), width=3.8, height=3.2) as axes:
        for axis, (metric, label) in zip(axes, PANELS.items(), strict=True):
            series = {name: curve(paths, metric, "scale") for name, paths in guided.items()}
            within = {
                f"{name}, in an interval": curve(paths, metric, "interval_scale")
                for name, paths in guided.items()
            }
            series |= {name: found for name, found in within.items() if found[0]}
            figures.lines(axis, series, "scale of guidance", label, markers=True)
        figures.one_legend(axes)
    return {
        path.name: (
            "The share of samples that the evaluation classifier takes for the class that was asked"
            " for, their Fréchet distance and recall, against the scale of guidance; 0 is none."
        )
    }


def _classes(path: Path, guided: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """A row for each scale, a column for each class."""
    with figures.sheet(path, rows=len(guided), width=5.4, height=3.2) as axes:
        for axis, (name, paths) in zip(axes, guided.items(), strict=True):
            found = items(paths[0])
            scales = sorted(known["scale"] for known in found.axes("shown"))
            _grid(axis, [found.at("shown", {"scale": s}) for s in scales], scales)
            _name_columns(axis, Run.open(paths[0]).config["data"].get("classes") or ())
            axis.set_title(name)
    return {
        path.name: (
            "One sample of each class at every scale, from the same noise: a row is a scale, a column"
            " a class."
        )
    }


def _grid(axis: Any, rows: Sequence[Tensor], labels: Sequence[float]) -> None:
    strips = [torch.cat(list(F.pad(row, (1, 1, 1, 1), value=1.0)), -1) for row in rows]
    picture = torch.cat(strips, -2).permute(1, 2, 0).expand(-1, -1, 3)
    side = picture.shape[0] / len(rows)
    axis.imshow(picture.numpy(), vmin=0, vmax=1, interpolation="nearest")
    ticks = [side * (i + 0.5) for i in range(len(rows))]
    axis.set_yticks(ticks, [f"{label:g}" for label in labels])
    axis.set(xticks=[], ylabel="scale")
    axis.grid(False)


def _name_columns(axis: Any, names: Sequence[Any]) -> None:
    """The class of each column, all of one width, under it."""
    left, right = axis.get_xlim()
    width = (right - left) / max(1, len(names))
    axis.set_xticks([left + width * (i + 0.5) for i in range(len(names))], list(map(str, names)))
    axis.tick_params(axis="x", labelsize=6)

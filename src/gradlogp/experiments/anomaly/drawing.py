"""Figures of all detectors together: AUROC by class, ROC curves, score norms, and a map of tables."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.spectrum import Spectrum
from gradlogp.experiments.anomaly.classical import BASELINES
from gradlogp.experiments.anomaly.scores import (
    Axes,
    Kept,
    asked,
    mean_auroc,
    problems_of,
    scores_of,
)
from gradlogp.harness import figures
from gradlogp.harness.record import Items
from gradlogp.metrics.detection import auroc

CLASSES = {
    "one-class": "the class that was learned",
    "held-out": "the class that was left out, the anomaly",
}
POINTS = 1000  # of a scatter plot


def figures_of(folder: Path, kept: Kept, classes: Sequence[str]) -> dict[str, str]:
    """Draws what there is into `folder`, the classes by name; name -> caption."""
    folder.mkdir(parents=True, exist_ok=True)
    captions: dict[str, str] = {}
    for protocol in CLASSES:
        if scored := asked(kept, {"protocol": protocol}):
            captions |= _bars(folder / f"figure-{protocol}.png", scored, protocol, classes)
    across = asked(kept, {"protocol": "cross"})
    for problem in _problems(across, {"protocol": "cross"}):
        captions |= _curves(folder / f"figure-cross-{problem['learned']}.png", across, problem)
    for found in kept.values():
        if drawn := found.axes("norms_normal"):
            captions |= _norms(folder / "figure-score-norms.png", found, drawn, classes)
    if scored := asked(kept, {"protocol": "tables"}):
        captions |= _map(folder / "figure-tables.png", scored)
    return captions


def _problems(kept: Kept, group: Axes) -> list[dict[str, Any]]:
    """Those of the first method."""
    return next((problems_of(found, group) for found in kept.values()), [])


def _best(kept: Kept, group: Axes, count: int) -> list[str]:
    """The best methods and the best baselines of a protocol, half and half."""
    ranked = sorted(kept, key=lambda m: -mean_auroc(kept[m], group))
    ours = [m for m in ranked if m not in BASELINES]
    theirs = [m for m in ranked if m in BASELINES]
    return ours[: count - count // 2] + theirs[: count // 2]


def _bars(path: Path, kept: Kept, protocol: str, classes: Sequence[str]) -> dict[str, str]:
    group = {"protocol": protocol}
    names = _problems(kept, group)
    series = {
        f"{m} ({mean_auroc(kept[m], group):.3f})": [
            float(auroc(*scores_of(kept[m], p))) for p in names
        ]
        for m in _best(kept, group, 5)
    }
    with figures.sheet(path, width=8.4) as [axis]:
        figures.bars(axis, [classes[p["class"]] for p in names], series, "AUROC")
        axis.set_ylim(max(0.0, min(min(v) for v in series.values()) - 0.05), 1)
        axis.tick_params(axis="x", labelsize=8)
        axis.legend(fontsize=7.5, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    caption = (
        f"AUROC for each class ({CLASSES[protocol]}) of the best three methods and the best two"
        " baselines; their means in brackets."
    )
    return {path.name: caption}


def _curves(path: Path, kept: Kept, problem: Axes) -> dict[str, str]:
    shown = _best(kept, problem, 6)
    best = kept[shown[0]]
    learned = problem["learned"]
    kinds = best.axes("anomalous", problem)
    title = f"{learned} against {kinds[0]['against']}"
    with figures.sheet(path, columns=2) as [left, right]:
        figures.roc(left, {m: scores_of(kept[m], problem) for m in shown}, title)
        figures.histograms(right, _by_rank(best, problem), f"{shown[0]}: rank of the score")
    caption = (
        f"Learned: {learned}. ROC curves of the best methods and baselines, and where the scores of"
        f" {shown[0]} lie, by rank."
    )
    return {path.name: caption}


def _by_rank(found: Items, problem: Axes) -> Mapping[str, Tensor]:
    """The ranks of the scores of each kind among all, in [0, 1]."""
    kinds = found.axes("anomalous", problem)
    scores = {"normal": found.at("normal", problem)}
    scores |= {axes["against"]: found.at("anomalous", axes) for axes in kinds}
    order = torch.cat(list(scores.values())).sort().values
    return {name: torch.searchsorted(order, x) / len(order) for name, x in scores.items()}


def _norms(
    path: Path, found: Items, drawn: list[dict[str, Any]], classes: Sequence[str]
) -> dict[str, str]:
    """Two principal components of the log norms, those of normal training examples."""
    with figures.sheet(path, columns=len(drawn)) as axes:
        for axis, problem in zip(axes, drawn, strict=True):
            plane = _plane(_log(found, "learned", problem))
            points = {
                "normal": plane(_log(found, "normal", problem)),
                "anomalies": plane(_log(found, "anomalous", problem)),
            }
            learned = problem["learned"] if "learned" in problem else classes[problem["class"]]
            title = f"learned: {learned}"
            figures.clouds(axis, points, "first component", "second component", title)
    caption = (
        "Score norms at ten noise levels (MSMA): the two principal components of their"
        " logarithms that normal training pictures vary most in, in standard deviations; normal"
        " test pictures and anomalies, 1,000 of each at most."
    )
    return {path.name: caption}


def _log(found: Items, part: str, problem: Axes) -> Tensor:
    return found.at(f"norms_{part}", problem).double().clamp(min=1e-12).log()


def _plane(x: Tensor) -> Callable[[Tensor], Any]:
    """Maps examples to the two leading components of x, in standard deviations, as an array."""
    spectrum = Spectrum.fit(x)
    scale = spectrum.variances[:2].clamp(min=1e-12).sqrt()
    return lambda y: (spectrum.coordinates(y)[:POINTS, :2] / scale).numpy()


def _map(path: Path, kept: Kept) -> dict[str, str]:
    names = _problems(kept, {"protocol": "tables"})
    grid = [[float(auroc(*scores_of(found, p))) for p in names] for found in kept.values()]
    with figures.sheet(path, width=9.2, height=4.2) as [axis]:
        image = axis.imshow(grid, cmap="viridis", vmin=0.4, vmax=1, aspect="auto")
        axis.set_yticks(range(len(kept)), list(kept), fontsize=7)
        axis.set_xticks(range(len(names)), [p["table"] for p in names], rotation=90, fontsize=6)
        axis.grid(visible=False)
        axis.figure.colorbar(image, ax=axis, label="AUROC")
    return {path.name: "AUROC of every method on every table of ADBench."}

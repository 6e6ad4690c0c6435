"""Scores over the exact one, and errors as they fell, of all methods together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gradlogp.data.line import DENSITIES
from gradlogp.experiments.score_1d.fitted import LEVELS
from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Items, Rows, add_captions
from gradlogp.harness.trial import items

Kept = Mapping[str, Items]
Series = dict[str, tuple[list[float], list[float]]]


def summary(folder: Path, runs: Runs) -> Rows:
    """Figures of the first seed; no rows."""
    kept = {name: items(paths[0]) for name, paths in runs.items()}
    path = folder / "samples" / "figure-scores.png"
    with figures.sheet(path, columns=2, rows=2) as axes:
        for axis, density in zip(axes, DENSITIES, strict=False):
            _scores(axis, kept, density)
        for axis, density in zip(axes[2:], DENSITIES, strict=True):
            series, title = _errors(kept, density), f"{density}: the error as it fell"
            figures.lines(axis, series, "updates", "RMS error, in 1 / s", title, log="xy")
    caption = (
        "Learned scores over the exact one, and how their errors fell; denoising is held against"
        " the noised density's score, which is what it learns."
    )
    levels = _by_level(path.with_name("figure-levels.png"), kept)
    add_captions(path.with_name("figures.json"), {path.name: caption} | levels)
    return []


def _scores(axis: Any, kept: Kept, density: str) -> None:
    of = {"density": density}
    first = next(iter(kept.values()))
    wide = {"color": figures.INK, "linewidth": 4, "alpha": 0.25, "label": "exact"}
    axis.plot(first.at("x", of), first.at("exact", of), **wide)
    series = {name: _line(found, of) for name, found in kept.items()}
    title = f"{density}: the learned scores over the exact one"
    figures.lines(axis, series, "x", "score", title)


def _line(found: Items, of: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    return found.at("x", of).tolist(), found.at("score", of).tolist()


def _errors(kept: Kept, density: str) -> Series:
    """By updates, of the methods that made any."""
    curves: dict[str, Tensor] = {
        name: found.at("curve", {"density": density}) for name, found in kept.items()
    }
    return {
        name: (curve[:, 1].tolist(), curve[:, 2].tolist())
        for name, curve in curves.items()
        if curve.isfinite().all()
    }


def _by_level(path: Path, kept: Kept) -> dict[str, str]:
    """The score of the network that knows noise levels, over the exact ones; nothing where no
    method does.
    """
    told = {"noise": LEVELS[0]}
    knowing = next((name for name, found in kept.items() if found.axes("score", told)), None)
    if knowing is None:
        return {}
    with figures.sheet(path, columns=2) as axes:
        for axis, density in zip(axes, DENSITIES, strict=True):
            _levels(axis, kept[knowing], density)
    caption = f"The score that {knowing} learned (thin) over the exact one (wide), at each level of noise."
    return {path.name: caption}


def _levels(axis: Any, found: Items, density: str) -> None:
    learned: Series = {}
    for i, sigma in enumerate(LEVELS):
        of = {"density": density, "noise": sigma}
        learned[f"noise {sigma:g}"] = _line(found, of)
        wide = {"color": figures.colour(i)["color"], "linewidth": 5, "alpha": 0.25}
        axis.plot(found.at("x", of), found.at("exact", of), **wide)
    title = f"{density}: one network, {len(LEVELS)} levels of noise"
    figures.lines(axis, learned, "x", "score", title)

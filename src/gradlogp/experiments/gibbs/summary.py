"""Likelihood brackets, Frechet distances along walks and chains side by side; and by how much CD-10
is above CD-1, seed by seed, at equal updates and at equal evaluations.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradlogp.data.picture import label_rows
from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.kinds import Picture
from gradlogp.harness.record import Rows, add_captions
from gradlogp.harness.trial import items
from gradlogp.runs import Run

OVER = {"cd1": "equal updates", "cd1_long": "equal evaluations"}
Curve = tuple[Sequence[float], Sequence[float]]


def summary(folder: Path, runs: Runs) -> Rows:
    """Figures, and the gains of CD-10."""
    samples = folder / "samples"
    finite = {m: [p for p in paths if rows_of(p, "weight_norm")] for m, paths in runs.items()}
    finite = {method: paths for method, paths in finite.items() if paths}
    if finite:
        captions = _curves(samples / "figure-walks.png", finite)
        captions |= _strips(samples / "figure-chains.png", finite)
        add_captions(samples / "figures.json", captions)
    return [gain(runs["cd10"], runs[name], name) for name in OVER if paired(runs, name)]


def paired(runs: Runs, name: str) -> bool:
    """Whether every seed of CD-10 and of the other was weighed."""
    both = [*runs.get("cd10", ()), *runs.get(name, ())]
    return name in runs and all(rows_of(path, "log_likelihood") for path in both)


def rows_of(path: Path, metric: str, **axes: Any) -> list[dict[str, Any]]:
    """The rows of `metric` in the run folder `path`, with these axes among theirs."""
    rows = [row for row in Run.open(path).results() if row["metric"] == metric]
    return [row for row in rows if axes.items() <= row.get("axes", {}).items()]


def gain(ours: Sequence[Path], theirs: Sequence[Path], name: str) -> dict[str, Any]:
    """By how much the log-likelihood of CD-10 is above the other's, the lower end of its bracket
    against the higher end of theirs, seed by seed.
    """
    worst = [min(ends(path)) for path in ours]  # the ends may have crossed
    gains = np.subtract(worst, [max(ends(path)) for path in theirs])
    stderr = float(gains.std(ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else None
    each = ", ".join(f"{value:.3g}" for value in gains)
    return {
        "method": "cd10",
        "metric": "likelihood_gain",
        "axes": {"over": name},
        "value": float(gains.mean()),
        "stderr": stderr,
        "n": len(gains),
        "better": "higher",
        "unit": "nats",
        "protocol": (
            f"the lower end of its bracket minus the higher end of that of {name}, at {OVER[name]};"
            f" standard error over seeds; seed by seed: {each}"
        ),
    }


def curve(paths: Sequence[Path], start: str) -> Curve:
    """The Frechet distance against the steps from that start, means over the seeds."""
    each = [
        {row["axes"]["steps"]: float(row["value"]) for row in rows_of(path, "fd", start=start)}
        for path in paths
    ]
    return list(each[0]), [float(np.mean([found[key] for found in each])) for key in each[0]]


def _curves(path: Path, runs: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    with figures.sheet(path, columns=3, width=4.4, height=3.6) as (bracket, *walks):
        _brackets(bracket, runs)
        for axis, start in zip(walks, ("noise", "data"), strict=True):
            series = {method: curve(paths, start) for method, paths in runs.items()}
            title = {"noise": "From noise", "data": "From test pictures"}[start]
            figures.lines(axis, series, "steps", "Fréchet distance", title, log="y", markers=True)
            axis.set_xscale("symlog", linthresh=1)
            axis.set_xlim(left=-0.2)
    return {
        path.name: (
            "Left: log-likelihood of noisy test pictures, a dot for each end of the bracket of each"
            " seed. Middle and right: Fréchet distance of chains against their steps, from noise,"
            " and from test pictures, which a good model leaves as they are; means over the seeds."
        )
    }


def _brackets(axis: Any, runs: Mapping[str, Sequence[Path]]) -> None:
    """A stroke from the low end to the high end for each seed of each method that was weighed."""
    weighed = [method for method, paths in runs.items() if ends(paths[0])]
    for place, method in enumerate(weighed):
        shade = figures.colour(list(runs).index(method))["color"]
        for i, path in enumerate(runs[method]):
            at = place + 0.12 * (i - (len(runs[method]) - 1) / 2)
            axis.plot([at, at], ends(path), "o-", markersize=3, color=shade)
    axis.set_xticks(range(len(weighed)), weighed, rotation=25)
    axis.set(ylabel="nats", title="Log-likelihood, both ends of the bracket")


def ends(path: Path) -> list[float]:
    """The low and the high end of the log-likelihood; nothing where there is no bracket."""
    found = [rows_of(path, "log_likelihood", end=end) for end in ("low", "high")]
    return [float(rows[0]["value"]) for rows in found if rows]


def _strips(path: Path, runs: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Two chains of each method from noise, a column for each number of steps."""
    kept = {method: items(paths[0]) for method, paths in runs.items()}
    start = {"start": "noise"}
    counted = {method: found.at("steps", start).tolist() for method, found in kept.items()}
    steps = sorted(set.intersection(*map(set, counted.values())))
    rows = []
    for method, found in kept.items():
        places = [counted[method].index(count) for count in steps]
        rows.append(found.at("strip", start)[places, :2].transpose(0, 1).flatten(0, 1))
    Picture().preview(path, torch.cat(rows), columns=len(steps))
    label_rows(path, list(kept))
    said = ", ".join(map(str, steps))
    return {
        path.name: f"Two chains of each from noise, after {said} steps; from the top: {', '.join(kept)}."
    }

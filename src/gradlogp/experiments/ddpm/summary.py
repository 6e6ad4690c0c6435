"""All diffusion models together: likelihood against pictures, both along the training, Frechet
distance against the evaluations of DDIM, and samples side by side; and in how many seeds the two
orders hold.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradlogp.data.picture import label_rows
from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.fit import spec_of
from gradlogp.harness.record import Rows, add_captions
from gradlogp.runs import Run

SHOWN = 10  # samples in a row
CLOSED = ("pixel_gaussian", "pixel_histogram")
HEADROOM = 1.1  # of the charts of bits, over the worse of the two closed forms
Series = dict[str, tuple[Sequence[float], Sequence[float]]]


def summary(folder: Path, runs: Runs) -> Rows:
    """Figures of the means over the seeds, and what the bound buys and costs, seed by seed."""
    drawn = {m: paths for m, paths in runs.items() if (paths[0] / "samples/final.npz").exists()}
    captions = _figures(folder / "samples" / "figure-walks.png", runs, drawn)
    captions |= _side_by_side(folder, drawn)
    add_captions(folder / "samples" / "figures.json", captions)
    if not {"ddpm", "ddpm_vlb"} <= drawn.keys():
        return []
    return [_gain(drawn, metric) for metric in ("bits_per_dim", "fd")]


def values(path: Path, metric: str, over: str) -> dict[Any, float]:
    """The values of `metric` in the run folder `path` by the axis `over`."""
    rows = [row for row in Run.open(path).results() if row["metric"] == metric]
    return {row["axes"][over]: float(row["value"]) for row in rows if over in row.get("axes", {})}


def value(path: Path, metric: str) -> float:
    """The value of `metric` without axes; NaN where it was not measured."""
    rows = [row for row in Run.open(path).results() if row["metric"] == metric]
    return next((float(row["value"]) for row in rows if not row.get("axes")), math.nan)


def mean(paths: Sequence[Path], metric: str) -> float:
    """The same, the mean over the seeds."""
    return float(np.mean([value(path, metric) for path in paths]))


def _curve(
    paths: Sequence[Path], metric: str, over: str
) -> tuple[Sequence[float], Sequence[float]]:
    each = [values(path, metric, over) for path in paths]
    return list(each[0]), [float(np.mean([found[key] for found in each])) for key in each[0]]


def top_of_bits(runs: Runs) -> float:
    """The end of the charts of bits: whatever is worse than both closed forms is off them."""
    return HEADROOM * max(mean(runs[m], "bits_per_dim") for m in CLOSED)


def _figures(path: Path, runs: Runs, drawn: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    highest = top_of_bits(runs)
    with figures.sheet(path, columns=2, rows=2, width=5.0, height=3.6) as (plane, ddim, bits, fd):
        _plane(plane, runs, drawn, highest)
        by_steps = {m: _curve(paths, "fd", "ddim") for m, paths in drawn.items()}
        x, y = "evaluations of DDIM", "Fréchet distance"
        figures.lines(ddim, by_steps, x, y, "Few steps", log="xy", markers=True)
        share = "share of the training"
        for axis, metric, label in ((bits, "bits_per_dim", "bits per dimension"), (fd, "fd", y)):
            found = {m: _curve(paths, metric, "share") for m, paths in drawn.items()}
            title = f"Along the training: {label}"
            log = "y" if axis is fd else ""
            figures.lines(axis, found, share, label, title, log=log, markers=True)
        bits.set_ylim(0, highest)
        figures.one_legend((plane, ddim, bits, fd))
    above = {m: mean(paths, "bits_per_dim") for m, paths in drawn.items()}
    off = ", ".join(f"{m} with {value:.0f} bits" for m, value in above.items() if value > highest)
    return {
        path.name: (
            "Bits per dimension of test pictures against the Fréchet distance of samples, the line a"
            " histogram for each pixel; the distance against the number of DDIM's evaluations; and"
            f" both along the training. Off the charts of bits: {off or 'none'}."
        )
    }


def _plane(axis: Any, runs: Runs, drawn: Mapping[str, Sequence[Path]], highest: float) -> None:
    for i, (method, paths) in enumerate(drawn.items()):
        at = mean(paths, "fd"), mean(paths, "bits_per_dim")
        axis.plot(*at, "o", color=figures.colour(i)["color"], label=method)
    trivial = mean(runs["pixel_histogram"], "bits_per_dim")
    axis.axhline(trivial, color=figures.INK, linewidth=0.8, label="pixel histogram")
    title = "Likelihood against pictures"
    axis.set(xlabel="Fréchet distance", ylabel="bits per dimension", title=title)
    axis.set_xscale("log")
    axis.set_ylim(0, highest)


def _side_by_side(folder: Path, drawn: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Two rows of samples of each method, as they come."""
    kind = spec_of(Run.open(next(iter(drawn.values()))[0])).coordinates
    rows = [np.load(paths[0] / "samples" / "final.npz")["samples"] for paths in drawn.values()]
    shown = torch.from_numpy(np.concatenate([row[: 2 * SHOWN] for row in rows]))
    path = folder / "samples" / "figure-samples.png"
    kind.preview(path, kind.expanded(shown), columns=SHOWN)
    label_rows(path, list(drawn))
    return {path.name: f"Two rows of each, not chosen, from the top: {', '.join(drawn)}."}


def _gain(drawn: Mapping[str, Sequence[Path]], metric: str) -> dict[str, Any]:
    """By how much the bound's `metric` is below that of the simple loss, seed by seed."""
    pairs = zip(drawn["ddpm"], drawn["ddpm_vlb"], strict=True)
    falls = np.array([value(a, metric) - value(b, metric) for a, b in pairs])
    each = ", ".join(f"{fall:.3g}" for fall in falls)
    stderr = float(falls.std(ddof=1) / len(falls) ** 0.5) if len(falls) > 1 else None
    return {
        "method": "ddpm_vlb",
        "metric": {"fd": "fd_gain", "bits_per_dim": "bits_gain"}[metric],
        "axes": {"over": "ddpm"},
        "value": float(falls.mean()),
        "stderr": stderr,
        "n": len(falls),
        "better": "higher",
        "protocol": f"{metric} of ddpm minus that of ddpm_vlb; seed by seed: {each}",
    }

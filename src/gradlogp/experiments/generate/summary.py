"""All methods together: an energy with a replay buffer, the same without one, a variational
autoencoder, adversarial networks.

All share the energy's trunk: as the energy itself, as the encoder, as the critic. Each is trained
on the same examples, may choose among equally many snapshots of its averaged weights on the
validation part, and is measured once on the test part. An energy pays for its samples in network
evaluations, so its Frechet distance stands against the number of steps, beside that of the others'
one pass.

Reference: Nijkamp et al. (2019), arXiv 1904.09770 (short-run models: right at the steps they were
trained with, and nowhere else).
"""

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
from gradlogp.harness.trial import items
from gradlogp.runs import Run

SHOWN = 10  # samples in a row
WITH = ("ebm_from_noise", "ebm")  # a buffer, and chains that begin where those without one do
WITHOUT = ("ebm_no_buffer", "ebm_long_chains")  # ways to do without a buffer
Series = dict[str, tuple[Sequence[float], Sequence[float]]]


def summary(folder: Path, runs: Runs) -> Rows:
    """Frechet distance and mean energy against sampling steps, samples side by side, and what the
    buffer buys seed by seed.
    """
    captions = _curves(folder, runs) | _side_by_side(folder, runs)
    add_captions(folder / "samples" / "figures.json", captions)
    buffered = next((name for name in WITH if name in runs), None)
    without = [rival for rival in WITHOUT if buffered is not None and rival in runs]
    return [_gain(buffered, rival, runs) for rival in without if buffered is not None]


def scores_and_rivals(folder: Path, runs: Runs) -> Rows:
    """Frechet distance against evaluations for each sampler of the first method, whose rivals have
    one, and samples side by side.
    """
    first, *rivals = runs
    captions = _by_sampler(folder / "samples" / "figure-evaluations.png", runs, first)
    if rivals:  # a rival's folder knows the kind of data
        captions |= _side_by_side(folder, {m: runs[m] for m in (*rivals, first)})
    add_captions(folder / "samples" / "figures.json", captions)
    return []


def _by_sampler(path: Path, runs: Runs, method: str) -> dict[str, str]:
    every = [r for p in runs[method] for r in Run.open(p).results() if r["metric"] == "fd"]
    rows = [r for r in every if "sampler" in r.get("axes", {})]
    series: Series = {}
    for name in dict.fromkeys(r["axes"]["sampler"] for r in rows):
        mine = [r for r in rows if r["axes"]["sampler"] == name]
        spent = sorted({int(r["evaluations"]) for r in mine})
        series[name] = (spent, [_mean_fd(mine, evaluations) for evaluations in spent])
    for rival in [m for m in runs if m != method]:
        series[rival] = ([1.0], [float(np.mean([fd(p) for p in runs[rival]]))])
    with figures.sheet(path, width=6.5, height=4.2) as (axis,):
        x, y = "network evaluations a sample", "Fréchet distance"
        figures.lines(axis, series, x, y, log="xy", markers=True)
    return {
        path.name: (
            "Fréchet distance to test pictures against the network evaluations of a sample: the"
            f" network of {method} under every sampler, and rivals that draw in one pass."
        )
    }


def _mean_fd(rows: Rows, evaluations: int) -> float:
    return float(np.mean([r["value"] for r in rows if r["evaluations"] == evaluations]))


def fd(path: Path) -> float:
    """The Frechet distance of the run folder `path`."""
    rows = Run.open(path).results()
    return next(float(r["value"]) for r in rows if r["metric"] == "fd" and not r.get("axes"))


def _curves(folder: Path, runs: Runs) -> dict[str, str]:
    """Means over the seeds; of those that draw in one pass, one point."""
    kept = {
        method: [items(path) for path in paths]
        for method, paths in runs.items()
        if all((path / "items.npz").exists() for path in paths)
    }
    if not kept:
        return {}
    trained = {m: int(Run.open(runs[m][0]).config["recipe"]["chain_steps"]) for m in kept}
    path = folder / "samples" / "figure-steps.png"
    with figures.sheet(path, columns=2) as (left, right):
        x = "network evaluations a sample"
        distance = _distances(runs, kept)
        figures.lines(left, distance, x, "Frechet distance", "From noise", log="xy", markers=True)
        gap = {m: (found[0]["steps"][1:].tolist(), _gaps(found)) for m, found in kept.items()}
        figures.lines(
            right, gap, x, "mean energy above test data", "Energy of the chains", "x", True
        )
        for axis in (left, right):
            for steps in set(trained.values()):
                axis.axvline(steps, color="#9ba7b4", linewidth=0.8, zorder=0)
    marks = ", ".join(f"{steps} of {method}" for method, steps in trained.items())
    return {
        path.name: (
            "Fréchet distance, and mean energy above that of test examples, against sampling steps"
            f" from noise; the lines mark the steps of training, {marks}. A chain that is right"
            " only there is a short-run model."
        )
    }


def _distances(runs: Runs, kept: Mapping[str, Sequence[Mapping[str, torch.Tensor]]]) -> Series:
    series: Series = {}
    for method, found in kept.items():
        mean = torch.stack([f["fd"] for f in found]).mean(0)
        series[method] = (found[0]["steps"][1:].tolist(), mean[1:].tolist())
    for method, paths in runs.items():
        if method not in kept:
            series[method] = ([1.0], [float(np.mean([fd(path) for path in paths]))])
    return series


def _gaps(found: Sequence[Mapping[str, torch.Tensor]]) -> list[float]:
    gaps = torch.stack([f["energy"] - f["energy_data"].mean() for f in found])
    return gaps.mean(0)[1:].tolist()


def _side_by_side(folder: Path, runs: Runs) -> dict[str, str]:
    """Two rows of samples of each method, as they come."""
    kind = spec_of(Run.open(next(iter(runs.values()))[0])).coordinates
    rows = [np.load(paths[0] / "samples" / "final.npz")["samples"] for paths in runs.values()]
    shown = torch.from_numpy(np.concatenate([row[: 2 * SHOWN] for row in rows]))
    path = folder / "samples" / "figure-samples.png"
    kind.preview(path, kind.expanded(shown), columns=SHOWN)
    label_rows(path, list(runs))
    return {path.name: f"Two rows of each, not chosen, from the top: {', '.join(runs)}."}


def _gain(method: str, rival: str, runs: Runs) -> dict[str, Any]:
    """How far the Frechet distance falls with the buffer, against one way to do without, seed by
    seed.
    """
    buffered, rivals = runs[method], runs[rival]
    pairs = zip(buffered, rivals, strict=True)
    falls = np.array([fd(without) - fd(buffer) for buffer, without in pairs])
    spent = [Run.open(path).status().get("evaluations", 0) for path in (buffered[0], rivals[0])]
    protocol = (
        f"Frechet distance of {rival} minus that of {method}, at equal evaluations in sampling, and"
        f" {spent[1]:,} against {spent[0]:,} in training; seed by seed:"
        f" {', '.join(f'{fall:.3g}' for fall in falls)}; standard error over seeds"
    )
    stderr = float(falls.std(ddof=1) / len(falls) ** 0.5) if len(falls) > 1 else None
    return {
        "method": method,
        "metric": "fd_gain",
        "axes": {"over": rival},
        "value": float(falls.mean()),
        "stderr": stderr,
        "n": len(falls),
        "better": "higher",
        "protocol": protocol,
    }

"""Who draws best: an energy with a replay buffer, the same without one, a variational autoencoder,
two adversarial networks.

All share the energy's trunk: as the energy itself, as the encoder, as the critic. Each is trained
on the same pictures, may choose among equally many snapshots of its averaged weights on the
validation part, and is judged once on the test part. An energy pays for its samples in network
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

from gradlogp.data.picture import save_grid
from gradlogp.experiments import figures
from gradlogp.experiments.desk import Rows
from gradlogp.runs import Run, read_json, write_json

METHODS = ("ebm", "ebm_no_buffer", "vae", "gan", "wgan_gp")
HEADLINE = ("fd", "precision", "recall", "coverage", "rarest_class", "cas")
_ENERGIES = {"quick": "90000", "full": "400000"}
BUDGET = {
    preset: (
        *(f"{m}:training.images={images}" for m in METHODS[:2]),
        "ebm:evaluation.sigmas=0.3,",
        "ebm_no_buffer:evaluation.sigmas=0.3,",
        *(
            ("evaluation.samples=1000", "evaluation.snapshots=3")
            if preset == "quick"
            else ("evaluation.snapshots=5", "evaluation.trial=500")
        ),
    )
    for preset, images in _ENERGIES.items()
}
SHOWN = 10  # samples in a row
RIVALS = {
    "ebm_no_buffer": "fd_gain of the buffer",
    "ebm_long_chains": "fd_gain of the buffer over long chains",
}


def buffer_budget(images: int) -> dict[str, tuple[str, ...]]:
    """Where it is asked what a buffer is worth: `images` for chains of 20 steps, 22 / 102 of them
    for those of 100.
    """
    shares = {"ebm": images, "ebm_no_buffer": images, "ebm_long_chains": images * 22 // 102}
    changes = (f"{method}:training.images={n}" for method, n in shares.items())
    return {"quick": (*changes, "evaluation.samples=1000", "evaluation.sigmas=0.3,")}


def summary(folder: Path, runs: Mapping[str, Sequence[Path]]) -> Rows:
    """Frechet distance and mean energy against sampling steps, samples side by side, and what the
    buffer buys seed by seed.
    """
    index = folder / "samples" / "figures.json"
    write_json(
        index,
        {
            **(read_json(index) if index.exists() else {}),
            **_curves(folder, runs),
            **_side_by_side(folder, runs),
        },
    )
    return _seed_by_seed(runs)


def value(path: Path, metric: str) -> float:
    """The metric of the run folder `path`."""
    return next(float(row["value"]) for row in Run.open(path).results() if row["metric"] == metric)


def _curves(folder: Path, runs: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Means over the seeds; of those that draw in one pass, one point."""
    kept = {
        method: [np.load(path / "items.npz") for path in paths]
        for method, paths in runs.items()
        if all((path / "items.npz").exists() for path in paths)
    }
    if not kept:
        return {}
    fd: dict[str, Any] = {
        m: (found[0]["steps"][1:], np.mean([f["fd"] for f in found], 0)[1:])
        for m, found in kept.items()
    }
    fd |= {
        m: ([1.0], [float(np.mean([value(path, "fd") for path in paths]))])
        for m, paths in runs.items()
        if m not in kept
    }
    gap = {
        m: (
            found[0]["steps"][1:],
            np.mean([f["energy"] - f["energy_data"].mean() for f in found], 0)[1:],
        )
        for m, found in kept.items()
    }
    trained = {m: int(Run.open(runs[m][0]).config["recipe"]["chain_steps"]) for m in kept}
    path = folder / "samples" / "figure-steps.png"
    with figures.sheet(path, columns=2) as (left, right):
        figures.lines(
            left,
            fd,
            "network evaluations a sample",
            "Frechet distance",
            "From noise",
            log="xy",
            markers=True,
        )
        figures.lines(
            right,
            gap,
            "network evaluations a sample",
            "mean energy above test pictures",
            "Energy of the chains",
            "x",
            True,
        )
        for axis in (left, right):
            for steps in set(trained.values()):
                axis.axvline(steps, color="#9ba7b4", linewidth=0.8, zorder=0)
    marks = ", ".join(f"{steps} of {method}" for method, steps in trained.items())
    return {
        path.name: (
            "Fréchet distance, and mean energy above that of test pictures, against sampling steps"
            f" from noise; the lines mark the steps of training, {marks}. A chain that is right"
            " only there is a short-run model."
        )
    }


def _side_by_side(folder: Path, runs: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Two rows of samples of each method, as they come."""
    rows = [
        np.load(paths[0] / "samples" / "final.npz")["samples"][: 2 * SHOWN]
        for paths in runs.values()
    ]
    path = folder / "samples" / "figure-samples.png"
    save_grid(path, torch.from_numpy(np.concatenate(rows)).float() / 255, columns=SHOWN)
    return {path.name: f"Two rows of each, not chosen, from the top: {', '.join(runs)}."}


def _seed_by_seed(runs: Mapping[str, Sequence[Path]]) -> Rows:
    """How far the Frechet distance falls with the buffer, against each way to do without, for each
    seed.
    """
    return [
        _gain(runs["ebm"], runs[rival], rival, name)
        for rival, name in RIVALS.items()
        if {"ebm", rival} <= runs.keys()
    ]


def _gain(
    buffered: Sequence[Path], rivals: Sequence[Path], rival: str, name: str
) -> dict[str, Any]:
    falls = np.array(
        [
            value(without, "fd") - value(buffer, "fd")
            for buffer, without in zip(buffered, rivals, strict=True)
        ]
    )
    spent = [Run.open(path).status().get("evaluations", 0) for path in (buffered[0], rivals[0])]
    says = (
        f"Frechet distance of {rival} minus that of ebm, at equal evaluations in sampling, and"
        f" {spent[1]:,} against {spent[0]:,} in training; seed by seed:"
        f" {', '.join(f'{fall:.3g}' for fall in falls)}; standard error over seeds"
    )
    spread = float(falls.std(ddof=1) / len(falls) ** 0.5) if len(falls) > 1 else None
    return {
        "method": "ebm",
        "metric": name,
        "value": float(falls.mean()),
        "stderr": spread,
        "n": len(falls),
        "better": "higher",
        "protocol": says,
    }

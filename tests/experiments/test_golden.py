"""Every comparison, in miniature, gives the numbers that it gave: a change that is meant to move
none moves none.

The committed numbers are those of one processor; on another the last digits differ, and an example
on the fence may change sides, so one row in thirty may. Where a change is meant to move numbers,
`python -m tests.experiments.test_golden [NAME ...]` writes them anew, and its commit says why; so
does a new comparison come in.
"""

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from gradlogp import data
from gradlogp.experiments import COMPARISONS
from gradlogp.harness import Target, leaves, prepare, run_comparison
from gradlogp.training import Training

PATH = Path(__file__).parent / "golden.json"
GOLDEN: dict[str, dict[str, float | None]] = json.loads(PATH.read_text())
KEPT = 40  # rows of each comparison, spread evenly
TINY = {  # setting -> what it is in miniature, in every method that has it
    "training.images": "320",
    "training.batch": "32",
    "net.channels": "4,8",
    "net.width": "8",
    "chain_steps": "3",
    "generate_steps": "6",
    "buffer.capacity": "128",
    "posterior.steps": "4",
    "posterior.samples": "1",
    "posterior.weights": "300.,",
    "sampler.levels": "6",
    "decoder": "8,4",
    "evaluation.samples": "40",
    "evaluation.trial": "20",
    "evaluation.denoise": "6",
    "evaluation.sigmas": "0.3,",
    "evaluation.steps": "0,4",
    "tasks": "'3v5',",
    "ood_examples": "60",
    "epochs": "0.2",
    "rank": "10",
    "decays": "0.01,",
    "pictures": "8",
    "sigmas": "0.3,",
    "calibration": "8",
    "choice": "4",
    "weights": "100.,",
    "images": "320",
    "examples": "100",
    "chains": "200",
    "draws": "200",
    "scope.one_class": "0,",
    "scope.held_out": "8,",
    "scope.test": "200",
    "scope.train": "120",
    "budget.one_class": "320",
    "budget.held_out": "320",
    "budget.width": "16",
    "budget.clusters": "10",
    "channels": "4,8",
    "passes": "1",
    "pretrain": "320",
    "likelihoods": "10",
    "detector.trees": "10",
}
OF_ONE = {  # words that mean something else in one comparison
    "score_1d": {"steps": "10", "batch": "64", "hidden": "8,8", "bandwidths": "0.1,"},
    "langevin_study": {"samples": "10"},
    "score_anomaly": {"draws": "1", "steps": "2", "likelihoods": "180"},
    "ebm_denoise": {"steps": "3", "samples": "2", "levels": "4"},
    "dsm": {"levels": "4"},
    "cd_gibbs": {
        "hidden": "6",
        "ladder": "20",
        "ais_chains": "10",
        "settle": "5",
        "stops": "0,1,3",
        "rungs": "3",
        "samples": "40",
        "weighed": "50",
    },
}


def changes(name: str, target: Target) -> list[str]:
    """The settings in miniature, each for the methods that have it."""
    made = prepare(COMPARISONS[name], target, "quick", Path())
    wanted = TINY | OF_ONE.get(name, {})
    found = []
    for entry in made:
        known = leaves(entry.settings)
        for key in known.keys() & wanted.keys():
            empty = key == "evaluation.sigmas" and not known[key]  # what cannot restore
            if not empty and known[key] != 0:
                found.append(f"{entry.method}:{key}={wanted[key]}")
    return sorted(found)


def numbers(name: str, folder: Path) -> dict[str, float]:
    """Rows of one comparison, by what they are of."""
    usual = COMPARISONS[name].dataset
    given = data.load("digits" if usual == "mnist" else usual)
    target = Target.of(given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradlogp.harness.cas.IMAGES", 64)
        patch.setattr("gradlogp.harness.evaluator.budget", lambda *_: Training(3840, 128))
        some = changes(name, target)
        entries = prepare(COMPARISONS[name], target, "quick", folder, (0,), some)
        rows = run_comparison(name, COMPARISONS[name], given, entries, folder, some)
    return dict(map(_named, rows))


def _named(row: dict[str, Any]) -> tuple[str, float]:
    axes = ", ".join(f"{key} {value}" for key, value in row.get("axes", {}).items())
    value = float("nan") if row["value"] is None else row["value"]
    return f"{row['method']}: {row['metric']} {axes}".strip(), value


def differs(found: float, golden: float | None) -> bool:
    if golden is None:
        return math.isfinite(found)
    return not math.isclose(found, golden, rel_tol=1e-3, abs_tol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_the_numbers_are_those_that_they_were(name: str, tmp_path: Path) -> None:
    golden = GOLDEN[name]
    found = numbers(name, tmp_path / "c")
    assert golden.keys() <= found.keys(), golden.keys() - found.keys()
    moved = {k: (found[k], v) for k, v in golden.items() if differs(found[k], v)}
    assert len(moved) <= len(golden) // 30, moved


def write(names: Sequence[str]) -> None:
    """The numbers of these comparisons, anew; those of the others stay."""
    torch.set_num_threads(1)
    golden = {**GOLDEN}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found = numbers(name, Path(folder) / "c")
        some = list(found.items())[:: len(found) // KEPT + 1]
        rounded = {k: float(f"{v:.6g}") if math.isfinite(v) else None for k, v in some}
        golden[name] = rounded
        PATH.write_text(json.dumps(golden, indent=0) + "\n")


if __name__ == "__main__":
    write(sys.argv[1:] or list(GOLDEN))

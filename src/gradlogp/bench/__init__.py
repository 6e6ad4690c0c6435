"""Benches: what is promised of speed and accuracy, measured by one command each, `gradlogp bench
NAME`.

A bench is a module here with `rows(...)` -> a list of dicts, `page(rows)` -> Markdown and, where it
has a picture, `figure(rows, path)`; and one line in BENCHES.
"""

import importlib
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True)
class Bench:
    """What it measures, its module, and the page of the docs that it makes."""

    says: str
    module: str
    page: str

    def load(self) -> Any:
        return importlib.import_module(f"gradlogp.bench.{self.module}")


BENCHES: dict[str, Bench] = {
    "ablation": Bench(
        "What each setting of an energy's training is worth, at equal evaluations.",
        "ablation",
        "ablation.md",
    ),
    "accuracy": Bench(
        "Each sampler's bias and error at equal evaluations of an exact field.",
        "accuracy",
        "sampler-table.md",
    ),
    "contamination": Bench(
        "What detectors are worth whose training rows hold unmarked outliers, on ADBench.",
        "contamination",
        "contamination.md",
    ),
    "objectives": Bench(
        "What each objective reaches in equal seconds.", "objectives", "objective-table.md"
    ),
    "cd-bias": Bench(
        "How wrong the gradient of CD-k is, on an enumerated RBM.", "cd_bias", "cd-bias.md"
    ),
    "noise-geometry": Bench(
        "The largest distance in each data set of pictures, and how many noise levels it asks for.",
        "noise_geometry",
        "noise-geometry.md",
    ),
    "noise-scales": Bench(
        "The choice of noise on a data set: distances, overlap, loss and length of the score.",
        "noise_scales",
        "noise-scales.md",
    ),
    "race": Bench(
        "How near to real pictures each recipe draws, against its seconds of training.",
        "race",
        "race.md",
    ),
    "energies": Bench(
        "How an energy is trained: losses and starts, at equal seconds.", "energies", "energies.md"
    ),
    "guard": Bench(
        "How trainings end that are made to diverge, in every kind of generative model.",
        "guard",
        "guard.md",
    ),
    "growth": Bench(
        "What becomes of seconds and memory as batch, dimension, length or n are doubled.",
        "growth",
        "growth.md",
    ),
    "peers": Bench(
        "What the same steps cost in the libraries that one would take instead.",
        "peers",
        "peers.md",
    ),
    "scale": Bench(
        "What two processes are worth beside one, kills and all, and a plan for 8 and 64 cards.",
        "scale",
        "scale-measured.md",
    ),
    "overhead": Bench(
        "What a sampler's step costs beside its field and beside a loop by hand.",
        "overhead",
        "overhead.md",
    ),
}

"""Where a method puts what it found: rows of results.json, figures with captions, and arrays for
tests across methods.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gradlogp.core.progress import Listener
from gradlogp.metrics import Measure
from gradlogp.runs import Run, read_json, write_json
from gradlogp.runs.files import replacing

Rows = list[dict[str, Any]]


def row(measure: Measure, **more: Any) -> dict[str, Any]:
    return {**measure.as_dict(), **more}


@dataclass
class Cost:
    """What learning cost: seconds (filled in by `Recorder.training`), parameters, training examples,
    network evaluations.
    """

    parameters: int = 0
    images: int = 0
    evaluations: int = 0
    seconds: float = 0.0


@dataclass
class Recorder:
    """Rows, figures with captions, and arrays for paired tests, of one run."""

    run: Run
    seed: int
    listener: Listener
    rows: Rows = field(default_factory=list)
    arrays: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def training(self) -> Iterator[Cost]:
        """Times what happens inside, and marks the run as trained with its cost."""
        cost = Cost()
        began = time.perf_counter()
        yield cost
        cost.seconds = time.perf_counter() - began
        self.run.mark("trained", **vars(cost))

    def add(self, *measures: Measure, axes: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Rows for results.json; `axes` say of what: {"noise": 0.3}, {"class": 3}."""
        found = (m.at(**axes) if axes else m for m in measures)
        self.rows += [row(m, **{"seed": self.seed, **more}) for m in found]

    def figure(self, name: str, caption: str) -> Path:
        """Where to save the picture samples/figure-NAME.png; its caption is kept for the report."""
        path = self.run.picture(f"figure-{name}")
        add_captions(path.with_name("figures.json"), {path.name: caption})
        return path

    def save(self, **arrays: Tensor) -> None:
        """Adds to items.npz: one entry per test example, for paired tests between methods."""
        self.arrays |= {name: x.detach().cpu().numpy() for name, x in arrays.items()}
        with replacing(self.run.path / "items.npz") as file:
            np.savez_compressed(file, **self.arrays)


def add_captions(index: Path, captions: Mapping[str, str]) -> None:
    """Adds name -> caption to the figures.json at `index`."""
    write_json(index, {**(read_json(index) if index.exists() else {}), **captions})

"""Where what was found is put down: rows of results.json, figures with captions, arrays for tests
across contenders.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gradlogp.core.files import replacing
from gradlogp.core.progress import Listener
from gradlogp.metrics import Measure
from gradlogp.runs import Run, read_checked, write_json

Rows = list[dict[str, Any]]


def row(measure: Measure, **more: Any) -> dict[str, Any]:
    return {**measure.as_dict(), **more}


@dataclass
class Cost:
    """What learning cost: seconds (filled in by `Desk.learning`), parameters, training examples,
    network evaluations.
    """

    parameters: int = 0
    images: int = 0
    evaluations: int = 0
    seconds: float = 0.0


@dataclass
class Desk:
    """Where an experiment puts what it found: rows, figures with captions, and arrays for paired
    tests.
    """

    run: Run
    seed: int
    listener: Listener
    rows: Rows = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def learning(self) -> Iterator[Cost]:
        """Times what happens inside, and marks the run as trained with its cost."""
        cost, began = Cost(), time.perf_counter()
        yield cost
        cost.seconds = time.perf_counter() - began
        self.run.mark("trained", **vars(cost))

    def note(self, *measures: Measure, name: str = "", **more: Any) -> None:
        """Rows for results.json; `name` goes after the metric's own, as in "auroc digit 3"."""
        self.rows += [
            row(m, **{"seed": self.seed, **more}) | {"metric": f"{m.metric} {name}".strip()}
            for m in measures
        ]

    def figure(self, name: str, caption: str) -> Path:
        """Where to save the picture samples/figure-NAME.png; its caption is kept for the report."""
        path = self.run.picture(f"figure-{name}")
        index = path.with_name("figures.json")
        write_json(
            index,
            {
                **(read_checked(self.run.path, f"samples/{index.name}") if index.exists() else {}),
                path.name: caption,
            },
        )
        return path

    def keep(self, **arrays: Tensor) -> None:
        """Adds to items.npz: one entry per test item, for paired tests between contenders."""
        self.kept |= {name: x.detach().cpu().numpy() for name, x in arrays.items()}
        with replacing(self.run.path / "items.npz") as file:
            np.savez_compressed(file, **self.kept)

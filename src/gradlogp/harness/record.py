"""Where a method puts what it found: rows of results.json, figures with captions, and arrays for
tests across methods.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlogp.core.files import replacing
from gradlogp.core.progress import Listener
from gradlogp.metrics import Measure
from gradlogp.runs import Run, read_checked, write_json

Rows = list[dict[str, Any]]


def row(measure: Measure, **more: Any) -> dict[str, Any]:
    return {**measure.as_dict(), **more}


@dataclass
class Cost:
    """What learning cost: seconds (`Recorder.training` adds what passed), parameters, training
    examples, network evaluations.
    """

    parameters: int = 0
    images: int = 0
    evaluations: int = 0
    seconds: float = 0.0

    def add(self, model: nn.Module, images: int, each: float = 1) -> None:
        """Counts a network that learned from so many examples, at `each` evaluations an example."""
        self.parameters += sum(p.numel() for p in model.parameters())
        self.images += images
        self.evaluations += round(images * each)

    def add_run(self, run: Run) -> None:
        """Counts what a trained run says that it cost, but for its seconds."""
        spent = run.status()
        self.parameters += spent["parameters"]
        self.images += spent["images"]
        self.evaluations += spent["evaluations"]


@dataclass
class Recorder:
    """Rows, figures with captions, and arrays for paired tests, of one run. `earlier`: the seconds
    that its networks learned before it was stopped.
    """

    run: Run
    seed: int
    listener: Listener
    rows: Rows = field(default_factory=list)
    arrays: dict[str, Any] = field(default_factory=dict)
    earlier: float = 0.0

    @contextmanager
    def training(self) -> Iterator[Cost]:
        """Times what happens inside, and before the run was stopped; marks it as trained with its
        cost.
        """
        cost = Cost()
        began = time.perf_counter() + self.earlier
        yield cost
        cost.seconds += time.perf_counter() + self.earlier - began
        self.trained(cost)

    def trained(self, cost: Cost) -> None:
        """Marks the run as trained, at this cost."""
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

    def keep(self, axes: Mapping[str, Any] | None = None, /, **arrays: Tensor) -> None:
        """What the next `save` writes too."""
        self.arrays |= {entry(n, axes or {}): x.detach().cpu().numpy() for n, x in arrays.items()}

    def save(self, axes: Mapping[str, Any] | None = None, /, **arrays: Tensor) -> None:
        """Adds to items.npz: one entry per test example, for paired tests between methods; `axes`
        say of what, as they do for rows, and `Items.at` finds the arrays again by them.
        """
        self.keep(axes, **arrays)
        with replacing(self.run.path / "items.npz") as file:
            np.savez_compressed(file, **self.arrays)


def entry(name: str, axes: Mapping[str, Any]) -> str:
    """What an array is called in items.npz: its name; where it has axes, both as JSON."""
    return json.dumps([name, dict(axes)], sort_keys=True) if axes else name


@dataclass(frozen=True)
class Items(Mapping[str, Tensor]):
    """The arrays that a run has kept: items["steps"], and items.at("score", {"class": 3}) of those
    with axes.
    """

    arrays: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> "Items":
        with np.load(path) as arrays:
            return cls({name: torch.from_numpy(arrays[name]) for name in arrays.files})

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def at(self, name: str, axes: Mapping[str, Any]) -> Tensor:
        return self.arrays[entry(name, axes)]

    def axes(self, name: str, where: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The axes of every array of that name, as saved, where they agree with `where`."""
        pairs = [json.loads(key) for key in self.arrays if key.startswith("[")]
        asked = (where or {}).items()
        return [axes for known, axes in pairs if known == name and asked <= axes.items()]


def add_captions(index: Path, captions: Mapping[str, str]) -> None:
    """Adds name -> caption to the figures.json at `index`."""
    folder = index.parent.parent
    old = read_checked(folder, f"samples/{index.name}") if index.exists() else {}
    write_json(index, {**old, **captions})

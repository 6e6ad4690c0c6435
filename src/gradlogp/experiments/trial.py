"""A trial: a contender that is not a generative recipe. It learns and measures in one function, and leaves rows and figures.

A comparison knows two kinds of contender: recipes (see `base`), which are trained by the one loop and can be drawn from afterwards,
and trials: classifiers, detectors, restorers, closed forms. Both are frozen settings with a seed; both leave a run folder whose
results.json has the same rows. A trial that is done is not done again.
"""

import abc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.progress import Listener
from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.experiments.evaluate import Rows, row
from gradlogp.experiments.fit import surroundings
from gradlogp.experiments.settings import to_dict
from gradlogp.metrics import Measure
from gradlogp.objectives import Objective
from gradlogp.runs import Run, read_json, write_json
from gradlogp.runs.files import replacing
from gradlogp.training import Learner, Training, shuffled, train


@dataclass(frozen=True)
class Context:
    """What all contenders of a comparison share: the data, the folder that holds more of them, and the judge where there is one."""

    data: Dataset
    root: Path | None = None
    judge: Any = None


@dataclass
class Cost:
    """What learning cost: seconds (filled in by `Desk.learning`), parameters, training examples, network evaluations."""

    parameters: int = 0
    images: int = 0
    evaluations: int = 0
    seconds: float = 0.0


@dataclass
class Desk:
    """Where a trial puts what it found: rows, figures with captions, and arrays for paired tests."""

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
        self.rows += [row(m, seed=self.seed, **more) | {"metric": f"{m.metric} {name}".strip()} for m in measures]

    def figure(self, name: str, caption: str) -> Path:
        """Where to save the picture samples/figure-NAME.png; its caption is kept for the report."""
        path = self.run.picture(f"figure-{name}")
        index = path.with_name("figures.json")
        write_json(index, {**(read_json(index) if index.exists() else {}), path.name: caption})
        return path

    def keep(self, **arrays: Tensor) -> None:
        """Adds to items.npz: one entry per test item, for paired tests between contenders."""
        self.kept |= {name: x.detach().cpu().numpy() for name, x in arrays.items()}
        with replacing(self.run.path / "items.npz") as file:
            np.savez_compressed(file, **self.kept)


@dataclass(frozen=True)
class Trial(abc.ABC):
    """Settings of a contender; a subclass is a frozen dataclass that says in `perform` what it learns and how it is measured."""

    experiment: str
    dataset: str
    preset: str
    seed: int

    @abc.abstractmethod
    def perform(self, context: Context, desk: Desk) -> None: ...

    def into(self, path: Path, context: Context, listener: Listener) -> Run:
        """Perform into the run folder `path`, unless that is done."""
        data = context.data
        origin = {"name": data.name, "classes": list(data.classes), "checksums": dict(data.checksums)}
        run = Run.create(path, {"recipe": to_dict(self), "data": origin}, surroundings("cpu"))
        with run, torch.random.fork_rng(devices=[]):
            if run.status()["state"] != "evaluated":
                desk = Desk(run, self.seed, listener)
                self.perform(context, desk)
                run.write_results(desk.rows)
                run.mark("evaluated")
        return run


def learn(desk: Desk, name: str, model: nn.Module, objective: Objective, x: Tensor, cond: Tensor | None, training: Training) -> Any:
    """Train on x [n, *shape] by the house's loop, in the folder `name` inside the trial's; returns the averaged model, at rest.

    A trial that was stopped goes on from its last checkpoint.
    """
    generator, order = seeded(desk.seed, "noise", name), shuffled(len(x), training.batch, desk.seed)
    with Run.create(desk.run.path / name, {"part": name, **desk.run.config}, desk.run.about) as run:
        learner = Learner(model, objective, training, generator)
        train(learner, lambda step: Batch(x[order(step)], None if cond is None else cond[order(step)]), run, desk.listener)
    return learner.ema.module.eval().requires_grad_(False)


def items(path: Path) -> Mapping[str, Tensor]:
    """What `Desk.keep` kept in the run folder `path`."""
    with np.load(path / "items.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

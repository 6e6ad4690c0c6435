"""A trial: a contender that is not a generative recipe. It learns and measures in one function, and
leaves rows and figures.

A comparison knows two kinds of contender: recipes (see `base`), which are trained by the one loop
and can be drawn from afterwards, and trials: classifiers, detectors, restorers, closed forms. Both
are frozen settings with a seed; both leave a run folder whose results.json has the same rows. A
trial that is done is not done again.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.progress import Listener
from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.experiments.desk import Cost as Cost, Desk
from gradlogp.experiments.fit import surroundings
from gradlogp.experiments.settings import to_dict
from gradlogp.objectives import Objective
from gradlogp.runs import Run
from gradlogp.training import Learner, Training, shuffled, train


@dataclass(frozen=True)
class Context:
    """What all contenders of a comparison share: the data, the folder that holds more of them, and
    the judge where there is one.
    """

    data: Dataset
    root: Path | None = None
    judge: Any = None


@dataclass(frozen=True)
class Trial(abc.ABC):
    """Settings of a contender; a subclass is a frozen dataclass that says in `perform` what it
    learns and how it is measured.
    """

    experiment: str
    dataset: str
    preset: str
    seed: int

    def __post_init__(self) -> None:
        """No setting of a trial is below 0, and no count, size or rate that the work needs is 0."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        numbers = {
            name: value for name, value in settings.items() if isinstance(value, int | float)
        }
        at_least(0, **numbers)
        for name in (
            "steps",
            "batch",
            "epochs",
            "learning_rate",
            "samples",
            "chains",
            "images",
            "draws",
        ):
            if numbers.get(name, 1) == 0:
                raise UserError(f"{name} must be more than 0, got {numbers[name]!r}.")

    @abc.abstractmethod
    def perform(self, context: Context, desk: Desk) -> None: ...

    def into(self, path: Path, context: Context, listener: Listener) -> Run:
        """Perform into the run folder `path`, unless that is done."""
        data = context.data
        origin = {
            "name": data.name,
            "classes": list(data.classes),
            "checksums": dict(data.checksums),
        }
        run = Run.create(path, {"recipe": to_dict(self), "data": origin}, surroundings("cpu"))
        with run, torch.random.fork_rng(devices=[]):
            if run.status()["state"] != "evaluated":
                desk = Desk(run, self.seed, listener)
                self.perform(context, desk)
                run.write_results(desk.rows)
                run.mark("evaluated")
        return run


def learn(
    desk: Desk,
    name: str,
    model: nn.Module,
    objective: Objective,
    x: Tensor,
    cond: Tensor | None,
    training: Training,
) -> Any:
    """Train on x [n, *shape] by the house's loop, in the folder `name` inside the trial's; returns
    the averaged model, at rest.

    A trial that was stopped goes on from its last checkpoint.
    """
    generator = seeded(desk.seed, "noise", name)
    order = shuffled(len(x), training.batch, desk.seed)
    with Run.create(desk.run.path / name, {"part": name, **desk.run.config}, desk.run.about) as run:
        learner = Learner(model, objective, training, generator)
        train(
            learner,
            lambda step: Batch(x[order(step)], None if cond is None else cond[order(step)]),
            run,
            desk.listener,
        )
    return learner.ema.module.eval().requires_grad_(False)


def items(path: Path) -> Mapping[str, Tensor]:
    """What `Desk.keep` kept in the run folder `path`."""
    with np.load(path / "items.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

"""A trial: a method that is not a generative recipe. It learns and measures in one function, and
leaves rows and figures.

A comparison knows two kinds of method: recipes (see `recipe`), which are trained by the one loop
and can be drawn from afterwards, and trials: classifiers, detectors, restorations, closed forms.
Both are frozen settings with a seed; both leave a run folder whose results.json has the same rows.
A trial that is done is not done again.
"""

import abc
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.progress import Listener
from gradlogp.core.random import seeded
from gradlogp.data import Dataset
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.fit import Fitted, fit, load
from gradlogp.harness.provenance import environment, in_its_words
from gradlogp.harness.recipe import Generative
from gradlogp.harness.record import Cost as Cost, Items as Items, Recorder
from gradlogp.harness.settings import Settings, to_dict
from gradlogp.objectives import Objective
from gradlogp.runs import Run
from gradlogp.training import Guard, Learner, Training, shuffled, train

POSITIVE = ("steps", "batch", "epochs", "learning_rate", "samples", "chains", "images", "draws")


@dataclass(frozen=True)
class Context:
    """What all methods of a comparison share: the data, the folder that holds more of them, and the
    evaluation classifier where there is one.
    """

    data: Dataset
    root: Path | None = None
    evaluator: Evaluator | None = None


@dataclass(frozen=True)
class Trial(Settings, abc.ABC):
    """Settings of a method; a subclass is a frozen dataclass that says in `perform` what it learns
    and how it is measured.
    """

    experiment: str
    dataset: str
    preset: str
    seed: int

    def __post_init__(self) -> None:
        """No setting of a trial is below 0, and no count, size or rate that the work needs is 0."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        numbers = {name: x for name, x in settings.items() if isinstance(x, int | float)}
        at_least(0, **numbers)
        for name in POSITIVE:
            if numbers.get(name, 1) == 0:
                raise UserError(f"{name} must be more than 0, got {numbers[name]!r}.")

    @abc.abstractmethod
    def perform(self, context: Context, recorder: Recorder) -> None: ...

    def into(self, path: Path, context: Context, listener: Listener) -> Run:
        """Perform into the run folder `path`, unless that is done."""
        data = context.data
        checksums = dict(data.checksums)
        origin = {"name": data.name, "classes": list(data.classes), "checksums": checksums}
        config = {"recipe": to_dict(self), "data": origin}
        config = in_its_words(path, config, self)
        run = Run.create(path, config, environment("cpu"))
        with run, torch.random.fork_rng(devices=[]):
            if run.status()["state"] != "evaluated":
                recorder = Recorder(run, self.seed, listener)
                self.perform(context, recorder)
                run.write_results(recorder.rows)
                run.mark("evaluated")
        return run


def trained(
    recorder: Recorder,
    name: str,
    model: nn.Module,
    objective: Objective,
    x: Tensor,
    cond: Tensor | None,
    training: Training,
    guard: Guard | None = None,
) -> Any:
    """The exponential moving average, in evaluation mode, of `model` trained on x [n, *shape], with
    conditions cond [n, ...], in the folder `name` inside the trial's. A trial that was stopped goes
    on from its last checkpoint.
    """
    generator = seeded(recorder.seed, "noise", name)
    order = shuffled(len(x), training.batch, recorder.seed)
    config = {"part": name, **recorder.run.config}

    def batch(step: int) -> Batch:
        i = order(step)
        return Batch(x[i], None if cond is None else cond[i])

    with Run.create(recorder.run.path / name, config, recorder.run.about) as run:
        learner = Learner(model, objective, training, generator, guard or Guard())
        began = time.perf_counter()
        train(learner, batch, run, recorder.listener)
        recorder.earlier += max(0.0, learner.seconds - (time.perf_counter() - began))
    return learner.ema.module.eval().requires_grad_(False)


def fitted_inside(
    recorder: Recorder, recipe: Generative, data: Dataset, cost: Cost, images: int | None = None
) -> Fitted:
    """The model of a recipe, on the CPU, trained on `data` in the folder `network` inside the
    trial's, from so many examples where `images` says; what it cost is added to `cost`, with the
    seconds before the trial was stopped, where it was.
    """
    if images is not None:
        training = replace(recipe.training, images=images)
        recipe = replace(recipe, training=training)  # type: ignore[type-var]
    path = recorder.run.path / "network"
    began = time.perf_counter()
    fit(recipe, data, path, recorder.listener).close()
    fitted = load(path, "cpu")
    cost.add_run(fitted.run)
    now = time.perf_counter() - began
    cost.seconds += max(0.0, fitted.run.status()["seconds"] - now)
    return fitted


def items(path: Path) -> Items:
    """What `Recorder.save` kept in the run folder `path`."""
    return Items.read(path / "items.npz")

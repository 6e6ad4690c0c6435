"""What work will take before it is begun: parameters counted on a model without memory, seconds by
a few steps of training and of drawing on the data itself.

    seconds = until now + each step x steps + previews and a last look at samples
    memory = 4 bytes x (weights, gradients, two moments, average) + the buffer of chains
"""

import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.kernel import NotFinite
from gradlogp.data import Dataset
from gradlogp.data.files import require_memory
from gradlogp.harness.fit import PROGRESS, batches, build, shown, snapshots
from gradlogp.harness.place import accepted
from gradlogp.harness.recipe import DataSpec, Generative, Recipe, classes_asked, specify
from gradlogp.tasks.generate import Sampling, film
from gradlogp.training import Learner
from gradlogp.training.health import SAMPLES

COPIES = 5  # of every weight while it is learned
WARM = 2  # steps before the clock runs
STEPS, FEW, SECONDS = 30, 5, 4.0  # of training that are measured, at most
DRAWN = 5  # steps of drawing that are measured


@dataclass(frozen=True)
class Estimate:
    """Seconds of a machine that does nothing else: until now (imports, reading), of training, of its
    previews and the last look at samples, of drawing what an evaluation measures; megabytes of
    memory at its height, and the model's parameters.
    """

    before: float
    training: float
    looking: float
    evaluation: float
    megabytes: float
    parameters: int


def parameters_of(recipe: Recipe, spec: DataSpec) -> int:
    """The number of parameters, without making them. Raises UserError where they cannot be counted."""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return sum(p.numel() for p in recipe.model(spec).parameters())
    except UserError:
        raise
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise UserError(
            f"{recipe.experiment}: its network has more numbers than can be counted"
            f" ({str(error).splitlines()[0][:80]}); make it smaller."
        ) from error


def require_room(recipe: Recipe, data: Dataset) -> None:
    """Raises UserError where `recipe` cannot learn from `data`, or its learner does not fit into the
    memory that is free.
    """
    found = parameters_of(recipe, accepted(recipe, data))
    require_memory(
        4 * COPIES * found,
        f"{recipe.experiment}: the training of {found:,} parameters would",
        "make the network smaller",
    )
    capacity = getattr(getattr(recipe, "buffer", None), "capacity", 0) or 0
    require_memory(
        4 * capacity * math.prod(data.shape),
        f"{recipe.experiment}: a buffer of {capacity:,} chains would",
        "set a smaller buffer.capacity",
    )


def estimated(recipe: Generative, data: Dataset, device: str) -> Estimate:
    """By what is fitted first, up to STEPS steps of a learner that is thrown away, and a few steps
    of drawing from it.
    """
    clock = _clock(device)
    before, spec = time.thread_time(), specify(data)
    began = clock()
    learner = build(recipe, spec, device, data.train)
    fitting = clock() - began
    source = batches(data.train, recipe, spec, device)
    training = fitting + _step(learner, source, clock, STEPS) * recipe.training.steps
    how = recipe.sampling(learner.ema.module, spec, device)
    previews = len(shown(recipe)) * _drawing(how, PROGRESS, recipe, spec, clock)
    last = _drawing(how, SAMPLES, recipe, spec, clock)
    evaluation = last / SAMPLES * _measured(recipe)
    parameters = sum(p.numel() for p in learner.model.parameters())
    return Estimate(before, training, previews + last, evaluation, peak(device), parameters)


def seconds_of_training(recipe: Recipe, data: Dataset, device: str) -> float:
    """By a few steps of a learner that is thrown away."""
    spec = specify(data)
    learner = build(recipe, spec, device, data.train)
    source = batches(data.train, recipe, spec, device)
    return _step(learner, source, _clock(device), FEW) * recipe.training.steps


def _step(
    learner: Learner, source: Callable[[int], Batch], clock: Callable[[], float], most: int
) -> float:
    """Seconds of a step of training, by `most` at most, or SECONDS of them."""
    for step in range(min(WARM, learner.settings.steps)):
        learner.update(source(step))
    began, taken = clock(), 0
    while taken < most and clock() - began < SECONDS:
        _, info = learner.update(source(learner.step))
        taken += 1
    _wait(info)
    return (clock() - began) / taken


def _measured(recipe: Generative) -> int:
    """Samples that an evaluation draws."""
    asked = recipe.evaluation
    return asked.samples + (asked.trial * len(snapshots(recipe)) if asked.choose else 0)


def _clock(device: str) -> Callable[[], float]:
    """On a CPU the time of this thread, which has its share in all that others do: what other
    programs take does not count.
    """
    return time.perf_counter if device.startswith("cuda") else time.thread_time


def _drawing(
    how: Sampling[Any], n: int, recipe: Generative, spec: DataSpec, clock: Callable[[], float]
) -> float:
    """Seconds of drawing n samples, by its first steps; none of a model that draws no numbers yet."""
    cond = classes_asked(spec, n) if recipe.conditional else None
    steps, began = min(DRAWN, how.steps), clock()
    try:
        film(how, None, n, recipe.seed, [steps], cond)
    except NotFinite:
        return 0.0
    return (clock() - began) * how.steps / steps


def _wait(info: dict[str, Tensor]) -> Any:
    """Until a GPU has done what it was asked."""
    return [float(value.sum()) for value in info.values()]


def peak(device: str) -> float:
    """The most memory that this process, or its GPU, has held, in megabytes."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

"""What work will take before it is begun: parameters counted on a model without memory, seconds by
a few steps on the data itself.

    memory = 4 bytes x (weights, gradients, two moments, average) + the buffer of chains
"""

import math
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data import Dataset
from gradlogp.data.files import require_memory
from gradlogp.harness.fit import batches, build
from gradlogp.harness.recipe import DataSpec, Recipe, specify

COPIES = 5  # of every weight while it is learned
WARM = 2  # steps before the clock runs
STEPS, SECONDS = 30, 4.0  # what is measured, at most


@dataclass(frozen=True)
class Estimate:
    """Seconds of training, megabytes of memory at its height, and the model's parameters."""

    seconds: float
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
    """Raises UserError where the learner of `recipe` does not fit into the memory that is free."""
    found = parameters_of(recipe, specify(data))
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


def estimated(recipe: Recipe, data: Dataset, device: str) -> Estimate:
    """By what is fitted first, and up to STEPS steps of a learner that is thrown away."""
    spec = specify(data)
    learner = build(recipe, spec, device, data.train)
    fitting = learner.seconds
    source = batches(data.train, recipe, spec, device)
    for step in range(min(WARM, recipe.training.steps)):
        learner.update(source(step))
    began, taken = time.perf_counter(), 0
    while taken < STEPS and time.perf_counter() - began < SECONDS:
        _, info = learner.update(source(learner.step))
        taken += 1
    _wait(info)
    each = (time.perf_counter() - began) / taken
    parameters = sum(p.numel() for p in learner.model.parameters())
    return Estimate(fitting + each * recipe.training.steps, peak(device), parameters)


def _wait(info: dict[str, Tensor]) -> Any:
    """Until a GPU has done what it was asked."""
    return [float(value.sum()) for value in info.values()]


def peak(device: str) -> float:
    """The most memory that this process, or its GPU, has held, in megabytes."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

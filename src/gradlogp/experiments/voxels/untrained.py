"""Ways to fill in hidden voxels that learn nothing: none is full, the neighbours' majority, and the
nearest training shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final

from gradlogp.data import Dataset
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.recovery import Fill, by_copy, by_majority, recovered
from gradlogp.harness.trial import Context, Trial

FILLS: Mapping[str, Callable[[Dataset], Fill]] = {
    "nothing": lambda data: lambda x, hidden: x,
    "majority": lambda data: by_majority,
    "copy": lambda data: by_copy(data.train.scaled()),
}


@final
@dataclass(frozen=True)
class Filled(Trial):
    """examples: of the test part."""

    by: Literal["nothing", "majority", "copy"] = "nothing"
    examples: int = 100

    def perform(self, context: Context, recorder: Recorder) -> None:
        data = context.data
        with recorder.training() as cost:
            cost.images = len(data.train) if self.by == "copy" else 0
        kind, n = specify(data).coordinates, min(self.examples, len(data.test))
        recovered(FILLS[self.by](data), data, n, kind, recorder)


def empty(target: Target, preset: str = "quick", seed: int = 0) -> Filled:
    """Hidden voxels are taken to be empty."""
    return Filled("empty", target.name, preset, seed)


def majority(target: Target, preset: str = "quick", seed: int = 0) -> Filled:
    """A hidden voxel is what most of the shown among the 3^3 around it are."""
    return Filled("majority", target.name, preset, seed, "majority")


def copy(target: Target, preset: str = "quick", seed: int = 0) -> Filled:
    """Hidden voxels are copied from the training shape that is nearest in the shown ones."""
    return Filled("copy", target.name, preset, seed, "copy")


UNTRAINED: Mapping[str, Maker] = {"empty": empty, "majority": majority, "copy": copy}

"""What it is to be an objective: a model and a batch in, one loss value per example out."""

import abc
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import NoisyEnergy, recorded
from gradlogp.core.inputs import check_numbers

# How a loss asks its network: for its values, at the ends of chains that ask many times, or for
# slopes whose own gradient is taken.
Asks = Literal["once", "chains", "twice"]


class Loss(NamedTuple):
    """value [B], one per example: the caller averages. info: 0-d tensors for the log, detached, on
    the device.
    """

    value: Tensor
    info: dict[str, Tensor]


class Objective(abc.ABC):
    """An objective may carry memory (a replay buffer): `state` and `load` save it and bring it back
    exactly.
    """

    @abc.abstractmethod
    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss: ...

    @property
    def by_example(self) -> bool:
        """Whether the loss of an example hangs on it, on the weights and on draws of `core.random`
        alone: then a batch may be split over processes.
        """
        return False

    def asks(self, model: Any) -> Asks:
        """How the network of `model` is asked; "twice" holds for every loss, at the highest price."""
        return "twice"

    def parameters(self) -> Iterator[nn.Parameter]:
        """Numbers of its own that are learned beside the model's (how uncertain each noise level
        is, say).
        """
        return iter(())

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        if state:
            raise ValueError(
                f"{type(self).__name__} has no memory, but was given {sorted(state)}; "
                "the checkpoint belongs to another objective."
            )


def of_scores(model: Any) -> Asks:
    """How a loss asks that is made of the scores of `model` and nothing else."""
    field = model.field() if hasattr(model, "field") else model
    slopes = isinstance(field, NoisyEnergy) or getattr(field, "has_energy", False)
    return "twice" if slopes or not hasattr(model, "field") else "once"


def mean(x: Tensor) -> Tensor:
    return x.detach().mean()


def check_batch(batch: Batch) -> Batch:
    """The batch as it is; ValueError where it is none. NaN in x is not looked for: it stays in its
    example, and training leaves that out.
    """
    if not isinstance(batch, Batch):
        raise ValueError(
            f"a loss takes a Batch, got {type(batch).__name__}; pass Batch(x), or Batch(x, cond)."
        )
    check_numbers(batch.x)
    if batch.x.ndim < 2 or len(batch.x) == 0:
        raise ValueError(
            f"a batch has shape [B, *shape] with B > 0, got {list(batch.x.shape)}; "
            "for scalars use shape [B, 1]."
        )
    if batch.cond is not None and batch.cond.shape[:1] != batch.x.shape[:1]:
        raise ValueError(
            f"`cond` needs one entry per example, shape [{len(batch.x)}, ...], got"
            f" {list(batch.cond.shape)}."
        )
    return Batch(recorded(batch.x), None if batch.cond is None else recorded(batch.cond))

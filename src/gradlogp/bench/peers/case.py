"""A task that several libraries do, and what each of them makes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

OURS = "gradlogp"
COMPILED = "gradlogp, compiled"  # by `gradlogp.core.compiled`: ours as well, and no peer
Work = Callable[[], Any]  # does the task once
Maker = Callable[[], Work]  # imports its library, and makes ready


@final
@dataclass(frozen=True)
class Case:
    """The same mathematics for all `makers`, by the name of their library.

    A work does `steps` of what `unit` counts. `kind` says how their results are compared: states
    that end at the same place from the same seed ("end"), numbers that are equal ("value"), traces
    [chains, steps, quantities] of one density ("traces"), or nothing that can be compared (""),
    where each draws its chance in an order of its own.
    """

    group: str
    name: str
    unit: str
    steps: int
    kind: str
    makers: Mapping[str, Maker]


def global_seed(seed: int = 0) -> None:
    """For libraries that draw from torch's global generator, and from nothing else."""
    torch.manual_seed(seed)


def distance(a: Any, b: Any) -> float:
    """The largest difference, relative to the size of b."""
    a, b = (torch.as_tensor(x).double() for x in (a, b))
    return float((a - b).abs().max() / b.abs().max())


def traces(draws: list[Tensor]) -> Tensor:
    """States [B, *shape] of each step as traces [B, steps, *shape]."""
    return torch.stack(draws, 1)

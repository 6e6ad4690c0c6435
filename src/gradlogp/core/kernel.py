"""A sampler is one step; the loop is written once.

`init(field, x) -> state` and `step(field, state, generator) -> (state, info)`: the state feeds the next step, the info feeds
the reader. Samplers are frozen settings and take the field with every call, because the field of an energy-based model
changes under the sampler while it is learned.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from gradlogp.core.random import Randomness

State = TypeVar("State", bound="HasX")
FieldT = TypeVar("FieldT", contravariant=True)


class HasX(Protocol):
    @property
    def x(self) -> Tensor: ...


class Sampler(Protocol[FieldT, State]):
    def init(self, field: FieldT, x: Tensor) -> State: ...

    def step(self, field: FieldT, state: State, generator: Randomness) -> tuple[State, Any]: ...


def run(sampler: Sampler[FieldT, State], field: FieldT, x: Tensor, steps: int, generator: Randomness,
        watch: Callable[[int, State, Any], None] | None = None) -> Tensor:
    """Take `steps` steps from x [B, *shape] and return where they end, [B, *shape]; x itself is left alone.

    `watch(step, state, info)` is called after each step, with steps counted from 1. The state may be updated in place by
    the next step: a watcher that keeps `state.x` keeps a clone.
    """
    if steps < 0:
        raise ValueError(f"`steps` counts sampler steps, so it is 0 or more, got {steps}.")
    with torch.no_grad():
        state = sampler.init(field, x)
        for i in range(1, steps + 1):
            state, info = sampler.step(field, state, generator)
            if watch is not None:
                watch(i, state, info)
    return state.x

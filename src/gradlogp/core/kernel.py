"""A sampler is one step; the loop is written once.

`init(field, x) -> state` and `step(field, state, generator) -> (state, info)`: the state feeds the
next step, the info feeds the reader. Samplers are frozen settings and take the field with every
call, because the field of an energy-based model changes under the sampler while it is learned.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from gradlogp.core.fields import Field
from gradlogp.core.inputs import check_numbers
from gradlogp.core.random import Randomness

State = TypeVar("State", bound="HasX")
FieldT = TypeVar("FieldT", contravariant=True)


class NotFinite(ValueError):
    """A chain began or ended at NaN or infinity."""


class HasX(Protocol):
    @property
    def x(self) -> Tensor: ...


class Sampler(Protocol[FieldT, State]):
    def init(self, field: FieldT, x: Tensor) -> State: ...

    def step(self, field: FieldT, state: State, generator: Randomness) -> tuple[State, Any]: ...


def check_state(x: Tensor, when: str = "at the start", remedy: str = "leave them out") -> Tensor:
    """x as it is; ValueError where it is not [B, *shape], in float32 or float64; NotFinite where it
    is not finite. Looking costs one host sync.
    """
    if check_numbers(x).ndim < 2:
        raise ValueError(
            f"expected a state of shape [B, *shape], got {list(x.shape)}; one number per example is"
            " x[:, None]."
        )
    if math.isfinite(
        float(x.detach().sum())
    ):  # the cheap look; a finite state too large to sum gets the dear one
        return x
    if bad := int(x.isfinite().flatten(1).all(1).logical_not().sum()):
        raise NotFinite(
            f"expected finite states, but {bad} of {len(x)} examples are NaN or infinite {when};"
            f" {remedy}."
        )
    return x


def check_field(sampler: Any, field: Any) -> None:
    """ValueError for a model or a function, and for a field of one law where `sampler` walks down a
    `ladder` of levels.
    """
    wanted, name = ("denoise", "NoisyField") if hasattr(sampler, "ladder") else ("score", "Field")
    if (callable(field) or isinstance(field, Field)) and not hasattr(field, wanted):
        raise ValueError(
            f"{type(sampler).__name__} follows a {name}, got {type(field).__name__}; a model's is"
            " model.field(cond), and"
            f" {'as_noisy(denoiser)' if name == 'NoisyField' else 'Energy(function)'} makes one of"
            " a function."
        )


def run(
    sampler: Sampler[FieldT, State],
    field: FieldT,
    x: Tensor,
    steps: int,
    generator: Randomness,
    watch: Callable[[int, State, Any], None] | None = None,
    check: bool = True,
) -> Tensor:
    """Take `steps` steps from x [B, *shape] and return where they end, [B, *shape]; x itself is
    left alone.

    `check` refuses a start or an end that is not finite, at one host sync each; training leaves
    that to its guard.

    `watch(step, state, info)` is called after each step, with steps counted from 1. The state may
    be updated in place by the next step: a watcher that keeps `state.x` keeps a clone.
    """
    if steps < 0:
        raise ValueError(f"`steps` counts sampler steps, so it is 0 or more, got {steps}.")
    if steps > (most := getattr(sampler, "steps", steps)):
        raise ValueError(
            f"this {type(sampler).__name__} ends after {most} steps, got {steps}; give it more"
            " levels."
        )
    check_field(sampler, field)
    check_state(x) if check else check_numbers(x)
    with torch.inference_mode(False), torch.no_grad():
        state = sampler.init(field, x)
        for i in range(1, steps + 1):
            state, info = sampler.step(field, state, generator)
            if watch is not None:
                watch(i, state, info)
    if check:
        check_state(
            state.x,
            f"after {steps} steps",
            "take a smaller step_size, clip the score, or look at the model",
        )
    return state.x

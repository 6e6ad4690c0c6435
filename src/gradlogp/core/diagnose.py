"""Watchers of a run: what `kernel.run` calls after every step. They keep tensors where they are and
wait for no device.

watch = Diagnostics(x);  run(sampler, field, x, steps, generator, watch);  watch.traces()["accept"]    # [B, steps]
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.arrays import double

Functions = Callable[[Tensor], Tensor]


def coordinates(count: int = 4) -> Functions:
    """Up to `count` coordinates of x [B, *shape], evenly spread over it, [B, count]."""

    def pick(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        at = (
            torch.linspace(0, flat.shape[1] - 1, min(count, flat.shape[1]), device=x.device)
            .round()
            .long()
        )
        return flat[:, at]

    return pick


class Diagnostics:
    """Keeps, of every step from `burn_in` on: acceptance, exchanges, energy, displacement, and
    `functions` of x.

    The acceptance is kept where the info has one, [B], and that of exchanges, [B, R - 1], the
    energy where the state has one, [B]; the displacement is the distance |x' - x| that the step
    moved each chain. `functions` maps x [B, *shape] to [B, Q]; None keeps four coordinates.
    """

    def __init__(self, x: Tensor, functions: Functions | None = None, burn_in: int = 0) -> None:
        self.last = x.clone()
        self.functions = functions or coordinates()
        self.burn_in = burn_in
        self.kept: dict[str, list[Tensor]] = {}

    def __call__(self, step: int, state: Any, info: Any) -> None:
        if step > self.burn_in:
            found = {
                "accept": getattr(info, "accept", None),
                "swap": getattr(info, "swap", None),
                "energy": getattr(state, "energy", None),
                "displacement": (double(state.x) - double(self.last)).flatten(1).norm(dim=1),
                "functions": self.functions(state.x),
            }
            for name, value in found.items():
                if value is not None:
                    self.kept.setdefault(name, []).append(value.detach().clone())
        self.last.copy_(state.x)

    def traces(self) -> dict[str, Tensor]:
        """accept, energy, displacement [B, steps], swap [B, steps, R - 1] and functions [B, steps,
        Q], as far as there were any.
        """
        return {name: torch.stack(values, 1) for name, values in self.kept.items()}


class Trajectory:
    """Keeps a clone of x after every `every` steps."""

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise ValueError(
                f"`every` counts steps between two frames, so it is 1 or more, got {every}."
            )
        self.every = every
        self.frames: list[Tensor] = []

    def __call__(self, step: int, state: Any, info: Any) -> None:
        if step % self.every == 0:
            self.frames.append(state.x.detach().clone())

    @property
    def x(self) -> Tensor:
        """[B, frames, *shape]."""
        return torch.stack(self.frames, 1)


def both(*watchers: Callable[[int, Any, Any], None]) -> Callable[[int, Any, Any], None]:
    """One watcher that calls all of `watchers` in turn."""

    def watch(step: int, state: Any, info: Any) -> None:
        for watcher in watchers:
            watcher(step, state, info)

    return watch

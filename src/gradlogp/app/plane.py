"""The view of the field: a density of the plane, its score as arrows, and particles that samplers
move and a hand may drag.

The distributions are those of `core.targets`, whose energy and score are known at every noise
level; a person's own points are the `Empirical` one, the blur of a few points.
"""

import base64
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradlogp.app.asks import Density, Particles
from gradlogp.app.chains import finite
from gradlogp.app.session import Frame, Session
from gradlogp.app.walk import Walk
from gradlogp.core.errors import UserError
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import Randomness, normal_, seeded
from gradlogp.core.targets import TARGETS, Empirical, Target
from gradlogp.samplers import LADDER_SAMPLERS, SAMPLERS, STEP_SAMPLERS, ReverseSDE
from gradlogp.tasks import Sampling, tempered

OWN = "points"
CELLS, ARROWS = 96, 15  # of the shading and of the arrows, a side
FINEST = 0.05  # the last level of a walk down the noise, and the least blur of points
BEYOND = 1.35  # the picture's half side, over the furthest of nearly all examples
DRAWN = 2000
ADAPT = 200  # steps in which a preconditioner is learned
RANGE = 9.0  # nats from the likeliest place that are told apart by shade


def densities() -> dict[str, str]:
    """Name -> the first sentence on it, of the distributions that lie in a plane."""
    flat = [name for name, make in TARGETS.items() if tuple(make().shape) == (2,)]
    return {n: first_sentence(TARGETS[n]) for n in flat} | {OWN: "Your own points, blurred."}


def first_sentence(thing: Any) -> str:
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return text.split(": ")[0].rstrip(".") + "."


def density(ask: Density) -> Target:
    if ask.density == OWN:
        if not ask.points:
            raise UserError("there are no points yet; click into the picture to set some.")
        return Empirical(torch.tensor(ask.points))
    if ask.density not in densities():
        raise UserError(
            f"there is no distribution {ask.density!r}; there are {', '.join(densities())}."
        )
    target = TARGETS[ask.density]()
    assert isinstance(target, Target)
    return target


def sigma(ask: Density) -> float:
    """The level that was asked for; points without blur have no density."""
    return max(ask.sigma, FINEST) if ask.density == OWN else ask.sigma


def half_side(ask: Density, target: Target) -> float:
    """Half the side of the square that is shown, around 0."""
    if ask.density == OWN:
        return 4.0
    x = target.sample(DRAWN, seeded(0, "square"))
    return float(x.abs().flatten().quantile(0.995)) * BEYOND


def picture(ask: Density) -> dict[str, Any]:
    """Shades of the log-density, [CELLS, CELLS] bytes from the top row on (255 = likeliest), and the
    score at ARROWS x ARROWS places.
    """
    target, level = density(ask), sigma(ask)
    half = half_side(ask, target)
    field = target.at(level)
    energy = field.energy(grid(half, CELLS))
    shade = (1 - (energy - energy.min()) / RANGE).clamp(0, 1)
    places = grid(half, ARROWS)
    return {
        "half": half,
        "sigma": level,
        "cells": CELLS,
        "shade": base64.b64encode((shade * 255).round().byte().numpy().tobytes()).decode(),
        "range": RANGE,
        "places": finite(places.flatten()),
        "score": finite(field.score(places).flatten()),
    }


def grid(half: float, count: int) -> Tensor:
    """The middles of count x count cells, row by row from the top, [count^2, 2]."""
    at = (torch.arange(count) + 0.5) / count * 2 * half - half
    y, x = torch.meshgrid(-at, at, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


@dataclass
class Swarm:
    """Particles [n, 2] that walk without an end, or down the noise levels to one."""

    walk: Walk
    walks_down: bool

    @property
    def done(self) -> bool:
        return self.walk.last is not None and self.walk.taken >= self.walk.last

    def advance(self, steps: int) -> Frame:
        self.walk.advance(steps)
        return self.frame()

    def move(self, index: int, x: float, y: float) -> Frame:
        """One particle put where a hand wants it."""
        if index >= len(self.walk.x):
            raise UserError(f"there are {len(self.walk.x)} particles, got number {index}.")
        place = self.walk.x.new_tensor([x, y])
        if self.walks_down:  # its state counts the levels, and goes on from there
            self.walk.x[index] = place
        else:  # what a state remembers of a place is no longer true
            moved = self.walk.x.clone()
            moved[index] = place
            self.walk.begin(moved)
        return self.frame()

    def frame(self) -> Frame:
        walk = self.walk
        energy = walk.energy()
        header = {
            "step": walk.taken,
            "of": walk.last,
            "n": len(walk.x),
            "form": "places",
            "energy": None if energy is None else float(energy.mean()),
            "moved": float(walk.moved.mean()),
            "level": walk.level,
            "accept": walk.accept,
            "done": self.done,
        }
        return Frame(header, walk.x.float().contiguous().numpy().tobytes())


def swarm(ask: Particles, former: Session | None) -> Swarm:
    """Particles of the distribution that was asked for, begun anew or where those before stand."""
    target, level = density(ask), sigma(ask)
    half = half_side(ask, target)
    walks_down = ask.sampler in LADDER_SAMPLERS
    start = former.walk.x.clone() if ask.keep and isinstance(former, Swarm) else None
    if start is not None and len(start) != ask.n:
        start = None

    def begin(x: Tensor, generator: Randomness) -> Tensor:
        return normal_(x, generator).mul_(half if walks_down else half / 2)

    field = target if walks_down else target.at(level)
    sampler = _down(ask, half) if walks_down else _stepping(ask)
    how: Sampling[Any] = Sampling(lambda cond: field, sampler, begin, ask.levels, (2,))
    return Swarm(Walk(tempered(how, ask.temperature), ask.n, ask.seed, start=start), walks_down)


def _stepping(ask: Particles) -> Any:
    if ask.sampler not in STEP_SAMPLERS:
        known = ", ".join((*STEP_SAMPLERS, *LADDER_SAMPLERS))
        raise UserError(f"there is no sampler {ask.sampler!r} here; there are {known}.")
    make: Any = STEP_SAMPLERS[ask.sampler]
    learns = "preconditioner" in inspect.signature(make).parameters
    return make(step_size=ask.step_size, **({"adapt": ADAPT} if learns else {}))


def _down(ask: Particles, half: float) -> Any:
    """A sampler of the table from noise as wide as the picture to hardly any."""
    process = VarianceExploding(FINEST, half)
    make: Any = SAMPLERS[ask.sampler]
    takes = inspect.signature(make).parameters
    if "predictor" in takes:
        return make(ReverseSDE(process, ask.levels))
    return make(process=process, **({"levels": ask.levels} if "levels" in takes else {}))

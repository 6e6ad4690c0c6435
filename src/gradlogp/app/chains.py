"""The view of chains: from noise, from a drawing, or filling in what of it was rubbed out."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp.app.asks import Begin
from gradlogp.app.library import Library, drawing
from gradlogp.app.session import Frame, Session
from gradlogp.app.walk import Walk
from gradlogp.core.errors import UserError
from gradlogp.harness import Fitted
from gradlogp.harness.recipe import classes_asked
from gradlogp.tasks import Sampling, completing, tempered


@dataclass
class Chains:
    """Chains of a model of examples, and the step at which they are done."""

    walk: Walk
    fitted: Fitted
    steps: int

    @property
    def done(self) -> bool:
        return self.walk.taken >= self.steps

    def advance(self, steps: int) -> Frame:
        self.walk.advance(max(0, min(steps, self.steps - self.walk.taken)))
        return self.frame()

    def move(self, index: int, x: float, y: float) -> Frame:
        raise UserError("these chains are pictures; only particles of a plane are moved by hand.")

    def frame(self) -> Frame:
        """Pictures as bytes, [n, channels, height, width]; any other kind as its own preview, PNG."""
        walk, shape = self.walk, self.fitted.spec.shape
        energy = walk.energy()
        header: dict[str, Any] = {
            "step": walk.taken,
            "of": self.steps,
            "n": len(walk.x),
            "energy": None if energy is None else finite(energy),
            "moved": finite(walk.moved),
            "level": walk.level,
            "accept": walk.accept,
            "done": self.done,
        }
        if tuple(walk.x.shape[1:]) != tuple(shape):  # a code that is not decoded yet
            return Frame(header | {"form": "none"})
        x = walk.how.finish(walk.x).cpu()
        if self.fitted.spec.kind == "picture":
            pixels = (x * 255).round().byte().contiguous().numpy().tobytes()
            return Frame(header | {"form": "pixels", "shape": list(shape)}, pixels)
        return Frame(header | {"form": "png"}, preview(self.fitted, x))


def finite(x: Tensor) -> list[float | None]:
    """Numbers that JSON can hold, five digits of each."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in x.tolist()]


def preview(fitted: Fitted, x: Tensor) -> bytes:
    """The picture that the kind of data makes of examples, as the file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preview.png"
        fitted.spec.coordinates.preview(path, x, max(1, round(math.sqrt(len(x)))))
        return path.read_bytes()


def chains(library: Library, ask: Begin, former: Session | None) -> Chains:
    """The chains that were asked for; they begin at once and wait."""
    fitted = library.fitted(ask.run).following(ask.sampler, ask.steps)
    how = _tempered(fitted, ask.temperature)
    cond = _condition(fitted, ask)
    start = None
    if ask.pixels is None and ask.free is not None:
        raise UserError("expected the picture whose missing part is filled in, got none of it.")
    if ask.pixels is not None:
        seen = fitted.spec.coordinates.to_model(drawing(fitted, ask.pixels))
        if ask.free is None:
            start = seen.expand(ask.n, *fitted.spec.shape).clone()
        else:
            how = _completing(fitted, how, seen[0], ask.free, cond)
    return Chains(Walk(how, ask.n, ask.seed, cond, start), fitted, how.steps)


def _tempered(fitted: Fitted, temperature: float) -> Sampling[Any]:
    if temperature != 1 and not fitted.recipe.sampler_field:
        raise UserError(
            f"{fitted.recipe.experiment} draws in one pass and has no temperature; set it to 1."
        )
    return tempered(fitted.sampling(), temperature)


def _condition(fitted: Fitted, ask: Begin) -> Tensor | None:
    if not fitted.recipe.conditional:
        if ask.cls is not None:
            raise UserError(f"{ask.run} knows no classes, so none can be asked of it.")
        return None
    if ask.cls is not None and ask.cls >= fitted.spec.classes:
        raise UserError(f"the classes are 0 to {fitted.spec.classes - 1}, got {ask.cls}.")
    return classes_asked(fitted.spec, ask.n, ask.cls)


def _completing(
    fitted: Fitted, how: Sampling[Any], y: Tensor, free: list[bool], cond: Tensor | None
) -> Sampling[Any]:
    """Completions of y where `free`, one truth for each pixel, says that it is missing."""
    if not fitted.recipe.sampler_field:
        raise UserError(f"{fitted.recipe.experiment} draws in one pass and cannot fill in.")
    height, width = fitted.spec.shape[1:]
    if len(free) != height * width:
        raise UserError(f"expected one truth for each of {height}x{width} pixels, got {len(free)}.")
    missing = torch.tensor(free).view(1, height, width)
    if not missing.any():
        raise UserError("nothing is rubbed out, so there is nothing to fill in; rub out a part.")
    return completing(how, y, missing, cond)

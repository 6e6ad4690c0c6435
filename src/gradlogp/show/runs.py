r"""Trained models at work: films of their chains, and what a score sees at each noise level.

A score of many levels is shown by its one primitive, the posterior mean :math:`D(x + \sigma
\varepsilon, \sigma)`: with little noise it takes the noise away, with much it can but guess.

Reference: Song & Ermon (2019), Generative Modeling by Estimating Gradients, arXiv 1907.05600.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField
from gradlogp.core.random import seeded
from gradlogp.data.picture import tiled
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness import Fitted, load
from gradlogp.harness.kinds import Kind, Picture as Pictures
from gradlogp.harness.recipe import classes_asked
from gradlogp.show.picture import Film, Picture

FRAMES, FRAME = 40, 120  # of a film, and milliseconds of each
LARGE = 112  # about so many pixels a side is an example shown with
EACH = 3  # examples of a ladder, where none are given


def film(
    model: Any,
    n: int = 25,
    seed: int = 0,
    cls: int | None = None,
    frames: int = FRAMES,
) -> Film:
    """The first n chains of a seed, from where they begin to where they end.

    They are those that `gradlogp sample` draws. cls: of this class, of a conditional model.
    """
    fitted = _fitted(model)
    how, kind = fitted.sampling(), fitted.spec.coordinates
    cond = classes_asked(fitted.spec, n, cls) if fitted.recipe.conditional else None
    at = tasks.milestones(how.steps, frames)
    path = tasks.film(how, None, n, seed, at, cond)
    scale = max(1, LARGE // max(how.shape[-2:])) if isinstance(kind, Pictures) else 1
    says = f"{n} chains of {fitted.recipe.experiment}, {how.steps} steps"
    sheets = [_sheet(kind, x, math.ceil(n**0.5)) for x in path]
    return Film(sheets, says, FRAME, scale)


def ladder(model: Any, x: Tensor | None = None, levels: int = 8, seed: int = 0) -> Picture:
    """For each example a row with noise of every level, and a row of what the model makes of it.

    x [n, *shape] in the data's own range; by default the model's own samples. The levels are those
    of its sampler, evenly taken, from little noise to much.
    """
    fitted = _fitted(model)
    kind, how = fitted.spec.coordinates, fitted.sampling()
    x = fitted.draw(EACH, seed)[0] if x is None else x
    if tuple(x.shape[1:]) != tuple(how.shape):
        raise UserError(f"expected examples {list(how.shape)}, got {list(x.shape[1:])}.")
    sigmas = _levels(fitted, how, levels)
    clean = kind.to_model(x).to(fitted.device)
    field = how.field(classes_asked(fitted.spec, len(x)) if fitted.recipe.conditional else None)
    eps = torch.randn(clean.shape, generator=seeded(seed, "ladder")).to(fitted.device)
    rows = []
    with torch.no_grad():
        for sigma in sigmas:
            noised = clean + sigma * eps
            rows.append(torch.stack([noised, field.denoise(noised, sigma)], 1))
    cells = kind.from_model(torch.stack(rows, 2).flatten(0, 2)).cpu()
    says = "noise " + ", ".join(f"{sigma / kind.gain:.2g}" for sigma in sigmas)
    return Picture(_sheet(kind, cells, len(sigmas), 2), f"{says}: as seen, and as restored")


def _fitted(model: Any) -> Fitted:
    return model if isinstance(model, Fitted) else load(model)


def _levels(fitted: Fitted, how: Any, levels: int) -> list[float]:
    """Levels in model coordinates, from little noise to much."""
    there = [s for s in getattr(how.sampler, "ladder", ()) if s > 0]
    if not there or not isinstance(how.field(None), NoisyField):
        raise UserError(
            f"{fitted.recipe.experiment} has no noise levels, so it has no ladder; take a run of a"
            " score such as ncsn, or film(...)."
        )
    at = torch.linspace(0, len(there) - 1, min(levels, len(there))).round().long()
    return sorted(float(there[i]) for i in at)


def _sheet(kind: Kind, x: Tensor, columns: int, scale: int = 1) -> Image.Image:
    """Examples x [n, *shape] in the data's own range, row by row, as a picture in memory."""
    if isinstance(kind, Pictures):
        return tiled(x, columns, scale, gap=scale)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        kind.preview(path, x, columns)
        with Image.open(path) as found:
            return found.convert("RGB")

r"""Fields and chains on the plane.

The density is drawn as :math:`\exp(-(E - E_{\min}))`, dark where it is high, the score as arrows,
and the walkers of a chain as dots with a tail that shows their last stretch.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gradlogp.core.errors import UserError, unknown
from gradlogp.core.fields import Field
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.harness import figures
from gradlogp.harness.settings import override
from gradlogp.samplers import LADDER_SAMPLERS, SAMPLERS, STEP_SAMPLERS
from gradlogp.show.densities import Density, density
from gradlogp.show.picture import Film, Picture
from gradlogp.tasks import milestones

SIZE, RADIUS = 320, 3  # pixels: a side of a film, and a walker
GRID, ARROWS = 128, 21
COLOURS = 96  # of a picture: few, so that a notebook stays small
PAPER, DENSE, TAIL, DOT = (255, 255, 255), (0, 92, 158), (240, 160, 100), (200, 76, 0)
SHADES = 24  # from paper to dense; the palette of a film goes on with the tail and the dot
PALETTE = [
    *(
        round(a + (b - a) * i / (SHADES - 1))
        for i in range(SHADES)
        for a, b in zip(PAPER, DENSE, strict=True)
    ),
    *TAIL,
    *DOT,
]
FRAMES = 32


def field(what: Any, sigma: float = 0.0) -> Picture:
    """A density as colour, with contours of its energy, and its score as arrows.

    A field with a score alone has arrows alone. sigma: with so much noise added. Raises UserError
    where there is nothing on the plane, or no field at that level.
    """
    shown = density(what, sigma)
    at = shown.at(sigma)
    caption = f"{shown.name}{f', noise {sigma:g}' if sigma else ''}"
    with figures.drawn(1, 1, 4.4, 4.4) as (figure, (axis,)):
        _contours(axis, at, shown)
        _arrows(axis, at, shown)
        axis.set(title=caption, aspect="equal", xlim=_side(shown, 0), ylim=_side(shown, 1))
        axis.grid(visible=False)
        return Picture(_image(figure), caption)


def chains(
    what: Any,
    sampler: Any = "langevin",
    n: int = 150,
    steps: int = 200,
    seed: int = 0,
    changes: Sequence[str] = (),
    frames: int = FRAMES,
) -> Film:
    """Walkers of a sampler on a density, from anywhere on the square, as a film.

    sampler: a name of `gradlogp list samplers` that needs a step size or a ladder alone, or a
    sampler. changes: of its settings, as in "step_size=0.05". The same seed gives the same film.
    """
    shown = density(what)
    made = override(_sampler(sampler, shown, steps), changes)
    ladder = getattr(made, "ladder", None)
    steps = min(steps, getattr(made, "steps", steps))
    followed: Any = shown.field if ladder is None else shown.noisy
    if followed is None:
        raise UserError(f"{shown.name} has no noise levels, so {sampler} has none to go down.")
    x = shown.begin(n, seed)
    if ladder is not None:
        x = torch.randn(n, 2, generator=seeded(seed, "begin")) * ladder[0] + shown.probes.mean(0)
    path = _path(made, followed, x, steps, seed, milestones(steps, frames))
    name = sampler if isinstance(sampler, str) else type(sampler).__name__
    return Film(_drawn(shown, path), f"{n} walkers of {name} on {shown.name}, {steps} steps")


def _sampler(sampler: Any, shown: Density, steps: int) -> Any:
    if not isinstance(sampler, str):
        return sampler
    if sampler in STEP_SAMPLERS:
        return STEP_SAMPLERS[sampler](step_size=shown.step_size)
    if sampler in LADDER_SAMPLERS:
        process = VarianceExploding(0.05 * shown.std, 5 * shown.std)
        made: Any = LADDER_SAMPLERS[sampler]
        return made(process=process, levels=max(2, min(steps, 60)))
    known = [name for name in SAMPLERS if name in {**STEP_SAMPLERS, **LADDER_SAMPLERS}]
    said = f"there is no sampler {sampler!r} that needs nothing but a step size or noise levels"
    raise unknown(said, sampler, known)


def _path(
    sampler: Any, followed: Any, x: Tensor, steps: int, seed: int, at: Sequence[int]
) -> list[Tensor]:
    """Where the walkers are after each number of steps in `at`, [n, 2] each."""
    found = [x]

    def keep(step: int, state: Any, info: Any) -> None:
        if step in at:
            found.append(state.x.detach().clone())

    run(sampler, followed, x, steps, seeded(seed, "chains"), watch=keep)
    return found


def _drawn(shown: Density, path: Sequence[Tensor]) -> list[Image.Image]:
    paper = _paper(shown)
    before = [path[0], *path[:-1]]
    return [
        _walkers(paper, _pixels(shown, a), _pixels(shown, b))
        for a, b in zip(before, path, strict=True)
    ]


def _paper(shown: Density) -> Image.Image:
    """The density in shades of the palette; white where there is none to show."""
    share = torch.zeros(GRID, GRID)
    if shown.field.has_energy:
        energy = _energies(shown.field, shown, GRID)[2]
        share = (-(energy - energy.min())).exp().flip(0)
    smooth = Image.fromarray(share.float().numpy()).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    shades = (torch.tensor(np.asarray(smooth)).clamp(0, 1) * (SHADES - 1)).round().byte()
    paper = Image.fromarray(shades.numpy(), "L")
    paper.putpalette(PALETTE)
    return paper


def _pixels(shown: Density, x: Tensor) -> list[tuple[float, float]]:
    low, high = torch.tensor(shown.low), torch.tensor(shown.high)
    share = ((x - low) / (high - low)).clamp(-1, 2)
    return [(SIZE * a, SIZE * (1 - b)) for a, b in share.tolist()]


def _walkers(paper: Image.Image, before: Any, now: Any) -> Image.Image:
    frame = paper.copy()
    draw = ImageDraw.Draw(frame)
    for start, end in zip(before, now, strict=True):
        draw.line([start, end], SHADES)
    for x, y in now:
        r = RADIUS
        draw.ellipse([x - r, y - r, x + r, y + r], SHADES + 1, 0)
    return frame


def _energies(at: Field, shown: Density, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """x [count, count], y and the energy on a grid of the square."""
    x, y = _grid(shown, count)
    with torch.no_grad():
        return x, y, at.energy(torch.stack([x, y], -1).flatten(0, 1)).reshape(count, count)


def _grid(shown: Density, count: int) -> tuple[Tensor, Tensor]:
    sides = [torch.linspace(*_side(shown, i), count) for i in (0, 1)]
    x, y = torch.meshgrid(*sides, indexing="xy")
    return x, y


def _side(shown: Density, axis: int) -> tuple[float, float]:
    return shown.low[axis], shown.high[axis]


def _contours(axis: Any, at: Field, shown: Density) -> None:
    if not at.has_energy:
        return
    x, y, energy = _energies(at, shown, GRID)
    level = (energy - energy.min()).numpy()
    corners = (*_side(shown, 0), *_side(shown, 1))
    axis.imshow(-level, extent=corners, origin="lower", cmap="Blues", vmin=-8, vmax=3)
    axis.contour(x, y, level, levels=[0.5, 1, 2, 4, 8], colors="#586271", linewidths=0.5)


def _arrows(axis: Any, at: Field, shown: Density) -> None:
    """The directions of the score; the length of an arrow grows with its logarithm."""
    x, y = _grid(shown, ARROWS)
    with torch.no_grad():
        score = at.score(torch.stack([x, y], -1).flatten(0, 1))
    size = score.norm(dim=1, keepdim=True)
    arrow = score / size.clamp(min=1e-9) * size.mul(shown.std).log1p()
    u, v = arrow.reshape(ARROWS, ARROWS, 2).unbind(-1)
    axis.quiver(x, y, u, v, color=figures.INK, width=0.0028, headwidth=4)


def _image(figure: Any) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return Image.open(file).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)

r"""Views of volumes: each cell an opaque cube, seen in parallel projection from a little above.

A ray through every pixel passes through cells in an order that depends on the view alone; it ends
in the first that is more than half full, and the face by which it came in is lit by

.. math:: I = (1 - \tfrac12 a) \, (\kappa + (1 - \kappa) \max(0, n \cdot l)),

with n the normal of the face, l the light, which goes with the eye, kappa the ambient share, and a
how full the 3 x 3 x 3 cells around the last empty one are: corners are dark.

References: Amanatides & Woo (1987), A Fast Voxel Traversal Algorithm for Ray Tracing; Phong (1975),
Illumination for Computer Generated Pictures (ambient and diffuse light).
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.film import save_film

SIDE, TURNED = 96, 72  # pixels of a view, and of one on a turntable
ZOOM = 0.94  # what a full grid needs of the grid's half diagonal
FINE = 3  # steps of a ray for each cell
TILT = math.atan(math.sqrt(0.5))  # above the horizon: isometric
AZIMUTH = math.radians(30)
AMBIENT = 0.35
INK = (0.36, 0.68, 0.92)
PAPER = 0.1
FRAMES = 12


def shaded(x: Tensor, azimuth: float = AZIMUTH, side: int = SIDE) -> Tensor:
    """Volumes x [n, 1, D, H, W] in [0, 1] -> views [n, 3, side, side] in [0, 1]; the last axis
    points up.

    azimuth: of the eye, in radians. Light comes over the eye's left shoulder.
    """
    full = x[:, 0].float() > 0.5
    at, cells = _rays(tuple(full.shape[1:]), azimuth, side)
    forward, light = _axes(azimuth)[2].float(), _light(azimuth)
    views = [_view(grid, at, cells, forward, light) for grid in full]
    return torch.stack(views).reshape(len(x), 1, side, side) * torch.tensor(INK)[:, None, None]


def turntable(path: Path, x: Tensor, columns: int = 8) -> None:
    """A GIF of volumes x [n, 1, D, H, W], `columns` to a row, turning once around; whole or not at
    all.
    """
    if path.suffix.lower() != ".gif":
        raise UserError(f"cannot write {path}: expected a name that ends in .gif.")
    angles = [AZIMUTH + 2 * math.pi * i / FRAMES for i in range(FRAMES)]
    frames = [_sheet(shaded(x, angle, TURNED), columns) for angle in angles]
    save_film(path, frames, milliseconds=160)


def _sheet(views: Tensor, columns: int) -> Image.Image:
    """Views [n, 3, s, s] side by side, the last row filled up."""
    short = -len(views) % columns if len(views) > columns else 0
    views = F.pad(views, (0, 0, 0, 0, 0, 0, 0, short), value=PAPER)
    rows = views.split(min(columns, len(views)))
    sheet = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    return Image.fromarray((sheet * 255).round().byte().permute(1, 2, 0).numpy()).quantize(64)


def _axes(azimuth: float) -> Tensor:
    """Right, up and forward of the eye, [3, 3], in the axes (D, H, W) of the grid."""
    across, along = math.cos(azimuth), math.sin(azimuth)
    low, high = math.cos(TILT), math.sin(TILT)
    right = (-along, across, 0.0)
    forward = (-across * low, -along * low, -high)
    up = (-across * high, -along * high, low)
    return torch.tensor([right, up, forward], dtype=torch.float64)


def _light(azimuth: float) -> Tensor:
    """How much light falls on the faces of each axis that look at the eye, [3]."""
    axes = _axes(azimuth)
    towards = torch.tensor([-0.35, 0.55, -0.76], dtype=torch.float64) @ axes
    return (towards * -axes[2].sign()).clamp(min=0).float()


def _rays(shape: tuple[int, ...], azimuth: float, side: int) -> tuple[Tensor, Tensor]:
    """Where the ray of every pixel is after each step, [pixels, steps, 3], in cells, and the number
    of the cell that it is in, [pixels, steps]: outside, one more than the last.
    """
    size = torch.tensor(shape, dtype=torch.float64)
    reach = float(size.norm()) / 2
    right, up, forward = _axes(azimuth)
    place = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1
    steps = torch.linspace(-reach, reach, math.ceil(2 * reach * FINE), dtype=torch.float64)
    eye = ZOOM * reach * (place[:, None] * right - place[:, None, None] * up)
    at = eye.reshape(-1, 1, 3) + steps[:, None] * forward + size / 2
    index = at.floor().long()
    outside = ((index < 0) | (index >= size.long())).any(2)
    cells = (index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2]
    return at.float(), cells.masked_fill(outside, math.prod(shape))


def _view(full: Tensor, at: Tensor, cells: Tensor, forward: Tensor, light: Tensor) -> Tensor:
    """The light of every pixel of one volume, [pixels]."""
    met, first = F.pad(full.flatten(), (0, 1))[cells].max(1)
    at = at[torch.arange(len(at)), first]
    index = at.floor().long()
    behind = (at - index).where(forward > 0, index + 1 - at) / forward.abs().clamp(min=1e-9)
    crowd = F.avg_pool3d(F.pad(full, (2,) * 6)[None].float(), 3, 1)[0]  # one cell more each side
    full = F.pad(full, (1,) * 6)
    size = torch.tensor(full.shape)
    before = index[:, None] - torch.diag(forward.sign().long()) + 1  # through each of three faces
    doors = before.minimum(size - 1).clamp(min=0).unbind(2)
    axis = behind.masked_fill(full[doors], math.inf).argmin(1, keepdim=True)
    shade = 1 - crowd[doors].gather(1, axis)[:, 0] / 2
    return torch.where(met, shade * (AMBIENT + (1 - AMBIENT) * light[axis[:, 0]]), PAPER)

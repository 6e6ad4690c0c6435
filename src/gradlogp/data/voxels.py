"""Volumes of one's own, `voxels:PATH` or `voxels:PATH@32`: grids of full (1) and empty (0) cells.

    mesh -> cells its surface touches -> cells enclosed by them -> 1 x size x size x size

Below PATH lie binvox files, .npz files of one grid (d, h, w) or many (n, d, h, w), and meshes
(.off, .stl, .obj, .ply), which are scaled until the longest side fits. Subfolders are classes. A
grid of another size is padded evenly, or shrunk by taking the fullest cell of each block. A mesh
that is not closed is filled as far as its cells enclose anything, and counted aloud.

References: Min (2004), binvox: 3D mesh voxelizer (the run-length format); Nooruddin and Turk
(2003), Simplification and Repair of Polygonal Models Using Volumetric Techniques.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gradlogp.core.errors import UserError, printable
from gradlogp.core.files import replacing
from gradlogp.data.base import Dataset, Progress, Split, require_classes, stratified_split
from gradlogp.data.files import (
    class_folders,
    files_below,
    listing_sha256,
    needs,
    reason,
    require_file,
    split_option,
)
from gradlogp.data.npz import npz_names, read_npz

MESHES = {".off", ".stl", ".obj", ".ply"}
ENDINGS = {*MESHES, ".binvox", ".npz"}
SIZES = (16, 32)
LARGEST = 512  # cells a side of a grid that is read


def voxels(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Volumes of your own: voxels:PATH, 32x32x32 or @16, of binvox, npz and meshes.

    Cut 7 : 1 : 2 into stratified splits. Raises UserError for fewer than three grids, and for a
    file that cannot be read, is empty or is larger than 512 a side.
    """
    named = which or str(root or "")
    name, option = split_option(named, r"\d+", Path.is_dir)
    path, size = Path(name).expanduser(), size_of("voxels:PATH", option)
    if not name or not path.is_dir():
        raise UserError(f"expected voxels:PATH with a folder of volumes, got {named or 'no path'}.")
    files = files_below(path, ENDINGS)
    grids: list[Tensor] = []
    owners: list[Path] = []
    open_meshes = 0
    for file in files:
        found, closed = _read(file, size)
        open_meshes += not closed
        grids.extend(found)
        owners.extend([file] * len(found))
    if len(grids) < 3:
        raise UserError(
            f"{path}: expected at least 3 volumes ({' '.join(sorted(ENDINGS))}), found"
            f" {len(grids)}."
        )
    classes, places = class_folders(path, owners)
    labels = None if places is None else torch.tensor(places)
    splits = stratified_split(Split(torch.stack(grids), labels, max_value=1))
    require_classes(path, classes, *splits)
    said = f"{path.name}: {open_meshes} of {len(files)} meshes are not closed; filled as far as"
    return Dataset(
        f"voxels:{named}",
        *splits,
        classes,
        {printable(path.resolve().name): listing_sha256(files, path)},
        kind="volume",
        notes=(f"{said} they enclose anything.",) if open_meshes else (),
    )


def size_of(name: str, option: str) -> int:
    """The size that "@16" or "@32" asks for, 32 by default. Raises UserError for others."""
    size = int(option or SIZES[-1])
    if size not in SIZES:
        raise UserError(f"expected {name}@16 or {name}@32, got a size of {size}.")
    return size


def resized(x: Tensor, size: int) -> Tensor:
    """Grids (n, 1, d, h, w) of 0 and 1 as (n, 1, size, size, size): padded evenly to the smallest
    multiple of `size`, of which each block gives its fullest cell.
    """
    target = size * max(1, math.ceil(max(x.shape[2:]) / size))
    before = [(target - side) // 2 for side in x.shape[2:]]
    after = [target - side - b for side, b in zip(x.shape[2:], before, strict=True)]
    pads = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    block = target // size
    shape = (len(x), 1, size, block, size, block, size, block)
    return F.pad(x, pads).reshape(shape).amax((3, 5, 7))


def read_binvox(path: Path) -> np.ndarray:
    """The grid (x, y, z) of 0 and 1 in a binvox file. Raises UserError naming the file.

    A text header (`#binvox 1`, `dim d h w`, `data`), then pairs of bytes, value and count, x
    outermost and y innermost.
    """
    require_file(path)
    raw = path.read_bytes()
    header, mark, body = raw.partition(b"data\n")
    dim = re.search(rb"^dim (\d{1,4}) (\d{1,4}) (\d{1,4})\s*$", header, re.MULTILINE)
    if not raw.startswith(b"#binvox") or not mark or dim is None:
        raise UserError(f"{path}: expected a binvox header with its dim and data; write it anew.")
    shape = tuple(int(side) for side in dim.groups())
    _small(path, shape)
    pairs = np.frombuffer(body[: len(body) // 2 * 2], np.uint8).reshape(-1, 2)
    if pairs[:, 1].sum(dtype=np.int64) != math.prod(shape) or len(body) % 2:
        raise UserError(
            f"{path}: its header promises {math.prod(shape):,} cells, but"
            f" {pairs[:, 1].sum(dtype=np.int64):,} follow: it is cut short or damaged."
        )
    cells = np.repeat(pairs[:, 0] > 0, pairs[:, 1]).astype(np.uint8)
    x, z, y = shape
    return cells.reshape(x, z, y).transpose(0, 2, 1)


def write_binvox(path: Path, grid: np.ndarray) -> None:
    """Write a grid (x, y, z), full where it is above one half, as binvox; whole or not at all."""
    cells = (np.asarray(grid) > 0.5).transpose(0, 2, 1).ravel()
    starts = np.flatnonzero(np.diff(cells, prepend=~cells[:1]))
    runs = np.diff(np.append(starts, cells.size))
    pairs = bytearray()
    for value, run in zip(cells[starts].tolist(), runs.tolist(), strict=True):
        pairs += bytes((value, 255)) * (run // 255)
        pairs += bytes((value, run % 255)) if run % 255 else b""
    d, h, w = grid.shape
    header = f"#binvox 1\ndim {d} {w} {h}\ntranslate 0 0 0\nscale 1\ndata\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(header.encode() + pairs)


def _read(path: Path, size: int) -> tuple[list[Tensor], bool]:
    """The grids uint8 (1, size, size, size) of one file, and whether its mesh is closed."""
    closed = True
    if path.suffix.lower() in MESHES:
        cells, closed = _mesh(path, size)
        grids = iter([cells])
    else:
        grids = iter([read_binvox(path)]) if path.suffix.lower() == ".binvox" else _arrays(path)
    found = [resized(torch.from_numpy(np.ascontiguousarray(g))[None, None], size)[0] for g in grids]
    if not all(grid.any() for grid in found):
        raise UserError(f"{path}: a grid in it is empty; leave it out.")
    return found, closed


def _arrays(path: Path) -> Iterator[np.ndarray]:
    for name, array in read_npz(path, npz_names(path)).items():
        if array.ndim not in (3, 4) or array.dtype.kind not in "biuf" or not array.size:
            raise UserError(
                f"{path}: expected grids (d, h, w) or (n, d, h, w) of 0 and 1, got {name}"
                f" {list(array.shape)} of {array.dtype}."
            )
        if not np.isin(array, (0, 1)).all():
            raise UserError(f"{path}: expected cells of 0 and 1 in {name}, got others.")
        _small(path, array.shape[-3:])
        yield from array.astype(np.uint8).reshape(-1, *array.shape[-3:])


def _small(path: Path, shape: tuple[int, ...]) -> None:
    if not 0 < min(shape) <= max(shape) <= LARGEST:
        raise UserError(
            f"{path}: expected a grid of 1 to {LARGEST} cells a side, got"
            f" {'x'.join(map(str, shape))}."
        )


def _mesh(path: Path, size: int) -> tuple[np.ndarray, bool]:
    try:
        import trimesh
    except ImportError as error:
        raise needs("voxels", f"{path}: a mesh", error) from error
    from scipy.ndimage import binary_fill_holes

    require_file(path)
    try:
        mesh: Any = trimesh.load(path, force="mesh", process=True)
        surface = touched(np.asarray(mesh.triangles, np.float64), size)
    except ImportError as error:  # of what guesses a text's encoding
        raise UserError(f"{path}: cannot be read as a mesh (it is no text of UTF-8).") from error
    except Exception as error:  # damaged meshes make parsers raise errors of every kind
        raise UserError(f"{path}: cannot be read as a mesh ({reason(error)}).") from error
    return binary_fill_holes(surface).astype(np.uint8), bool(mesh.is_watertight)


def touched(triangles: np.ndarray, size: int) -> np.ndarray:
    """The cells, bool (size, size, size), that triangles (n, 3 corners, 3) touch when the longest
    side of them all just fits and the others are centred.

    Each triangle is cut into k^2 equal ones, k so large that their corners are at most half a cell
    apart; the cells of the corners are taken. Raises ValueError for none, and for one flat point.
    """
    if not len(triangles) or not np.isfinite(triangles).all():
        raise ValueError("it has no faces, or corners that are not finite")
    low, high = triangles.min((0, 1)), triangles.max((0, 1))
    extent = float((high - low).max())
    if not 0 < extent < math.inf:
        raise ValueError("it is one point")
    scaled = (triangles - (low + high) / 2) / extent * (size - 1) + (size - 1) / 2
    edges = np.linalg.norm(scaled - np.roll(scaled, 1, axis=1), axis=2)
    parts = np.ceil(edges.max(1) * 2).astype(int).clip(1)
    full = np.zeros((size, size, size), bool)
    for k in np.unique(parts):
        for some in np.array_split(scaled[parts == k], 1 + (parts == k).sum() * k * k // 2_000_000):
            # a flat side between two cells is of one of them, whatever the rounding
            full[tuple(np.floor(_corners(some, k) + 0.5 + 1e-6).astype(int).T)] = True
    return full


def _corners(triangles: np.ndarray, k: int) -> np.ndarray:
    """The corners (m, 3) of the k^2 parts of each triangle."""
    i, j = np.mgrid[: k + 1, : k + 1]
    inside = i + j <= k
    weights = np.stack([i, j, k - i - j], -1)[inside] / k
    return np.einsum("wc,ncd->nwd", weights, triangles).reshape(-1, 3)

"""Pictures in and out: a person's own picture brought to a model's shape, and samples written as
PNG.

read -> black behind what is transparent -> grey or RGB -> resize in proportion -> pad with the
border's colour
"""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.core.files import make_folder, replacing
from gradlogp.data.files import require_file

MODES = {1: "L", 3: "RGB"}  # channels -> Pillow's word for them
GAP, LINE = 2, 96  # pixels of a line between the pictures of a sheet, and its grey
MARGIN = 6  # pixels beside a label
PIXELS = 80_000_000  # no larger picture is decoded: it would take gigabytes
FLOATS = "a picture of 32-bit floats does not say which value is white: save it with 8 or 16 bits."


def read_picture(path: str | Path) -> Image.Image:
    """The first frame of an image file, turned upright. Raises UserError naming the file."""
    path = Path(path)
    require_file(path, "the picture ")
    try:
        with _silent():
            return _decoded(path)
    except UserError:
        raise
    except Exception as error:  # damaged files make decoders raise errors of every kind
        reason = getattr(error, "strerror", None) or f"not a whole image file ({error})"
        raise UserError(f"cannot read the picture {path}: {reason}.") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Of what Pillow has to say about odd files, a person needs nothing but the error."""
    log = logging.getLogger("PIL")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _decoded(path: Path) -> Image.Image:
    with Image.open(path) as file:
        if file.width * file.height > PIXELS:
            raise UserError(
                f"cannot read the picture {path}: {file.width}x{file.height} pixels are more than"
                f" {PIXELS:,}; make it smaller."
            )
        if file.mode == "F":
            raise UserError(f"cannot read the picture {path}: {FLOATS}")
        file.load()
        return ImageOps.exif_transpose(file)


def fit(picture: Image.Image, shape: tuple[int, int, int]) -> tuple[Tensor, str]:
    """A picture of any size and mode as a float32 tensor of `shape` (c, h, w) in [0, 1], and a line
    that says how.

    The whole picture is kept in proportion, resized with antialiasing (Lanczos) until it just fits,
    and centred; the rest is filled with its border's median value. Only 1 (grey) and 3 (RGB)
    channels can be asked for.
    """
    channels, height, width = shape
    if channels not in MODES:
        raise UserError(
            f"a picture has 1 (grey) or 3 (RGB) channels, but this model takes {channels}."
        )
    steps = []
    plain = _opaque(picture)
    if plain.mode != MODES[channels]:
        plain = plain.convert(MODES[channels])
    if plain.mode != picture.mode:
        steps.append(_word(plain.mode))
    scale = min(width / plain.width, height / plain.height)
    size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
    if size != plain.size:
        plain = plain.resize(size, Image.Resampling.LANCZOS)
        steps.append(f"resized to {size[0]}x{size[1]}")
    x = np.atleast_3d(np.asarray(plain))
    if size != (width, height):
        x = _padded(x, height, width)
        steps.append(f"padded to {width}x{height}")
    how = (
        f"{picture.width}x{picture.height} {_word(picture.mode)} ->"
        f" {', '.join(steps) or 'as it is'}"
    )
    return torch.from_numpy(x.transpose(2, 0, 1).copy()).float() / 255, how


def refuse_sheet(path: Path, picture: Image.Image, shape: tuple[int, int, int]) -> None:
    """Raises UserError for what `save_grid` wrote of several pictures of `shape` (c, h, w): it is no
    picture of that kind, and would be made small as if it were one.
    """
    _, height, width = shape
    scale = _scale(height, width)
    for size in {scale, 1}:
        across, down = width * size + GAP, height * size + GAP
        columns, beside = divmod(picture.width + GAP, across)
        rows, below = divmod(picture.height + GAP, down)
        if beside or below or columns * rows < 2:
            continue
        if _lined(np.asarray(_opaque(picture).convert("L")), height * size, width * size):
            raise UserError(
                f"{path}: a sheet of {rows} x {columns} pictures of {width}x{height}, not one of them;"
                " pass them one by one, as sample --out FOLDER writes them."
            )


def _lined(x: np.ndarray, height: int, width: int) -> bool:
    """Whether lines part the grey picture x [H, W] into pictures of `height` x `width` that differ
    from them: where all beside a line has its grey, it is the ground of one picture.
    """
    down, across = height + GAP, width + GAP
    lines = [*x[height::down], *x[height + 1 :: down]]
    lines += [*x[:, width::across].T, *x[:, width + 1 :: across].T]
    beside = [*x[height - 1 : -1 : down], *x[:, width - 1 : -1 : across].T]
    drawn = all((line == LINE).all() for line in lines)
    return drawn and not all((line == LINE).all() for line in beside)


def save_picture(path: str | Path, x: Tensor) -> None:
    """Write one image `x` (c, h, w) in [0, 1] as PNG, whole or not at all."""
    save_grid(path, x[None], columns=1, scale=1)


def save_grid(
    path: str | Path, x: Tensor, columns: int | None = None, scale: int | None = None
) -> None:
    """Write `x` (n, c, h, w) in [0, 1] as one PNG, row by row, grey lines between; whole or not at
    all.

    columns: images in a row, by default about as many as there are rows. scale: pixels for a pixel,
    by default what brings small images to about 64. Values outside [0, 1] are clipped and NaN is
    black.
    """
    path = Path(path)
    if path.suffix.lower() != ".png" or x.ndim != 4 or x.shape[1] not in MODES or not len(x):
        raise UserError(
            f"cannot write {path}: expected a name that ends in .png and images (n, 1 or 3, height,"
            f" width), got {list(x.shape)}."
        )
    _write_png(path, tiled(x, columns, scale))


def label_rows(path: str | Path, labels: Sequence[str]) -> None:
    """Write `labels` at the left of a sheet that lies at `path`, each beside its share of the rows,
    which all are of one height.
    """
    font = ImageFont.load_default(12)
    with Image.open(path) as file:
        sheet = file.copy()
    room = math.ceil(max(font.getlength(label) for label in labels)) + 2 * MARGIN
    labelled = Image.new(sheet.mode, (sheet.width + room, sheet.height), "white")
    labelled.paste(sheet, (room, 0))
    pen, share = ImageDraw.Draw(labelled), (sheet.height + GAP) / len(labels)
    for i, label in enumerate(labels):
        _, top, right, bottom = pen.textbbox((0, 0), label, font=font)
        middle = (i + 0.5) * share - GAP / 2
        place = (room - MARGIN - right, round(middle - (top + bottom) / 2))
        pen.text(place, label, fill="black", font=font)
    _write_png(Path(path), labelled)


def tiled(
    x: Tensor, columns: int | None = None, scale: int | None = None, gap: int = GAP
) -> Image.Image:
    """The grid that `save_grid` writes, as a picture in memory; `gap` pixels wide are its lines."""
    n, channels, height, width = x.shape
    columns = columns or math.ceil(n**0.5)
    scale = scale or _scale(height, width)
    tiles = (x.detach().cpu().float().nan_to_num(0).clamp(0, 1) * 255).round().byte()
    tiles = tiles.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    step_down = height * scale + gap
    step_right = width * scale + gap
    rows = math.ceil(n / columns)
    sheet = torch.full(
        (channels, rows * step_down - gap, min(columns, n) * step_right - gap),
        LINE,
        dtype=torch.uint8,
    )
    for i, tile in enumerate(tiles):
        top, left = i // columns * step_down, i % columns * step_right
        sheet[:, top : top + tile.shape[1], left : left + tile.shape[2]] = tile
    return Image.fromarray(sheet.permute(1, 2, 0).squeeze(2).contiguous().numpy())


def _scale(height: int, width: int) -> int:
    """Pixels for a pixel that bring small pictures to about 64."""
    return max(1, 64 // max(height, width))


def _write_png(path: Path, picture: Image.Image) -> None:
    make_folder(path.parent)
    with replacing(path) as file:
        picture.save(file, format="PNG")


def _opaque(picture: Image.Image) -> Image.Image:
    """The picture as 8-bit grey or RGB, black showing through where it is transparent."""
    if picture.mode.startswith("I"):  # 16 bits: Pillow would clip, not scale
        return Image.fromarray((np.asarray(picture) / 257).round().clip(0, 255).astype(np.uint8))
    if picture.mode == "F":
        raise UserError(FLOATS)
    if picture.mode == "P" or "A" in picture.getbands() or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "black"), clear)
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def _padded(x: np.ndarray, height: int, width: int) -> np.ndarray:
    border = np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]])
    canvas = np.empty((height, width, x.shape[2]), np.uint8)
    canvas[:] = np.median(border, axis=0).round()
    top = (height - x.shape[0]) // 2
    left = (width - x.shape[1]) // 2
    canvas[top : top + x.shape[0], left : left + x.shape[1]] = x
    return canvas


def _word(mode: str) -> str:
    return "grey" if mode == "L" else mode

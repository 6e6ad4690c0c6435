"""Films: pictures of one size as an animated GIF, PNG or WebP, which plays over and over.

References: CompuServe (1990), Graphics Interchange Format, version 89a; W3C (2025), PNG, 3rd
edition (animation).
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gradlogp.core.errors import UserError
from gradlogp.core.files import make_folder, replacing

FORMATS = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}
MOST = 65_535  # milliseconds that each format can hold a frame
PALETTE = 64  # colours of a GIF


def film_bytes(
    frames: Sequence[Image.Image], form: str = "GIF", milliseconds: int = 80, rest: int = 0
) -> bytes:
    """The film as a file of the format `form`. The last frame stays `rest` milliseconds more."""
    shown = [*_indexed(frames)] if form == "GIF" else list(frames)
    times = [milliseconds] * len(shown)
    times[-1] = min(MOST, milliseconds + rest)
    options: dict[str, Any] = {"lossless": True, "method": 3} if form == "WEBP" else {}
    file = io.BytesIO()
    shown[0].save(
        file, form, save_all=True, append_images=shown[1:], duration=times, loop=0, **options
    )
    return file.getvalue()


def _indexed(frames: Sequence[Image.Image]) -> Sequence[Image.Image]:
    """Frames of one palette, so that a GIF holds only what changes from one to the next."""
    if frames[0].mode in ("L", "P"):
        return frames
    rows = max(1, 1 + (len(frames) - 1) // 8)
    some = frames[::rows]
    sheet = Image.new("RGB", (some[0].width, sum(frame.height for frame in some)))
    for i, frame in enumerate(some):
        sheet.paste(frame, (0, i * frame.height))
    palette = sheet.quantize(PALETTE)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def save_film(
    path: str | Path, frames: Sequence[Image.Image], milliseconds: int = 80, rest: int = 0
) -> None:
    """Write the film as .gif, .png or .webp, whole or not at all."""
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None or not frames:
        raise UserError(
            f"cannot write {path}: expected a name that ends in {', '.join(FORMATS)} and at least"
            f" one frame, got {len(frames)}."
        )
    data = film_bytes(frames, form, milliseconds, rest)
    make_folder(path.parent)
    with replacing(path) as file:
        file.write(data)

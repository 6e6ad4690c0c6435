"""Pictures, films and sounds as data URIs, so that the page is one file."""

import base64
import io
import struct
from dataclasses import dataclass
from pathlib import Path

from gradlogp.core.files import read_bytes

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def picture(path: Path) -> Picture | None:
    """The PNG file at `path`; None where there is none, or it is none."""
    try:
        return _picture(read_bytes(path)) if path.exists() else None
    except OSError:
        return None


def _picture(data: bytes) -> Picture | None:
    if data[:8] != PNG or len(data) < 24:
        return None
    width, height = struct.unpack(">II", data[16:24])
    return Picture("data:image/png;base64," + base64.b64encode(data).decode(), width, height)


def film(path: Path) -> str | None:
    """The GIF file at `path` as a data URI; None where there is none, or it is none."""
    return _uri(path, "image/gif", b"GIF8")


def sound(path: Path) -> str | None:
    """The WAV file at `path` as a data URI; None where there is none, or it is none."""
    return _uri(path, "audio/wav", b"RIFF")


def _uri(path: Path, kind: str, begins: bytes) -> str | None:
    try:
        data = read_bytes(path) if path.exists() else b""
    except OSError:
        return None
    coded = base64.b64encode(data).decode()
    return f"data:{kind};base64,{coded}" if data.startswith(begins) else None


def last_frame(path: Path) -> Picture | None:
    """The last frame of the film at `path`; None where it is damaged."""
    from PIL import Image

    frame = io.BytesIO()
    try:
        with Image.open(path) as film:
            film.seek(getattr(film, "n_frames", 1) - 1)
            film.convert("RGB").save(frame, format="PNG")
    except (OSError, SystemError, ValueError, EOFError):  # damaged
        return None
    return _picture(frame.getvalue())


def strip(path: Path) -> Picture | None:
    """The first of the three rows of a picture that denoising left: clean test pictures, where
    nothing else shows real ones.
    """
    from PIL import Image

    row = io.BytesIO()
    try:
        with Image.open(path) as sheet:
            sheet.crop((0, 0, sheet.width, (sheet.height - 4) // 3)).save(row, format="PNG")
    except (OSError, SystemError, ValueError):  # damaged
        return None
    return _picture(row.getvalue())

"""What is shown: a picture, or a film, as a notebook's cell and as a file.

References: IPython documentation, rich display (`_repr_png_`, `_repr_mimebundle_`).
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from gradlogp.core.errors import UserError
from gradlogp.core.files import make_folder, replacing
from gradlogp.data.film import FORMATS, film_bytes, save_film

HELD = 1200  # milliseconds that the last frame stays
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>:root {{ color-scheme: light dark }} body {{ margin: 2rem; font: 1rem system-ui }}</style>
{body}
</html>
"""


@dataclass(frozen=True)
class Picture:
    """A still picture, and what it shows."""

    image: Image.Image
    caption: str = ""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write it as a PNG, whole or not at all; returns the path."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise UserError(f"cannot write {path}: a picture is written as .png.")
        return _written(path, self._repr_png_())


@dataclass(frozen=True)
class Film:
    """Frames of one size, each shown for so many milliseconds, `scale` pixels a side for one."""

    frames: Sequence[Image.Image]
    caption: str = ""
    milliseconds: int = 80
    scale: int = 1

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        return (
            {"image/gif": self._coded(), "text/plain": self.caption},
            {"image/gif": {"width": self.width}},
        )

    @property
    def width(self) -> int:
        """Pixels of the page."""
        return self.frames[0].width * self.scale

    def _coded(self) -> str:
        data = film_bytes(self.frames, "GIF", self.milliseconds, HELD)
        return base64.b64encode(data).decode()

    def html(self) -> str:
        """The film and its caption, for a page."""
        caption = html.escape(self.caption, quote=True)
        style = f"width:{self.width}px;max-width:100%;image-rendering:pixelated"
        return (
            f'<figure style="margin:0"><img alt="{caption}" style="{style}"'
            f' src="data:image/gif;base64,{self._coded()}"><figcaption>{caption}</figcaption></figure>'
        )

    def save(self, path: str | Path) -> Path:
        """Write it as .gif, .webp, .png (animated), or as .html, one page; returns the path."""
        path = Path(path)
        if path.suffix.lower() == ".html":
            page = PAGE.format(title=html.escape(self.caption), body=self.html())
            return _written(path, page.encode())
        if path.suffix.lower() not in FORMATS:
            raise UserError(
                f"cannot write {path}: a film is written as {', '.join([*FORMATS, '.html'])}."
            )
        save_film(path, [self._magnified(f) for f in self.frames], self.milliseconds, HELD)
        return path

    def _magnified(self, frame: Image.Image) -> Image.Image:
        if self.scale == 1:
            return frame
        size = (frame.width * self.scale, frame.height * self.scale)
        return frame.resize(size, Image.Resampling.NEAREST)


def _written(path: Path, data: bytes) -> Path:
    make_folder(path.parent)
    with replacing(path) as file:
        file.write(data)
    return path

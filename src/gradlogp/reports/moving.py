"""Films at the head of a page: chains of each method, and what opens the whole.

A film is kept pixel for pixel, and the page magnifies it by whole numbers, so that no pixel is
torn: as large as fits into the room that a wide page and a narrow one have. On paper, and where a
reader asks for no motion, its last frame stands for it: the first is noise.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from gradlogp.core.files import read_bytes, there
from gradlogp.reports.picture import Picture, film as uri_of, last_frame
from gradlogp.reports.read import Page
from gradlogp.reports.shown import Shown
from gradlogp.runs import inside, read_checked

WIDE, NARROW = 300, 150  # pixels of the page that a method's film may take
OPENING = "opening"


@dataclass(frozen=True)
class Moving:
    """A GIF as a data URI, its width in pixels, what it shows, and its last frame."""

    uri: str
    width: int
    caption: str = ""
    last: Picture | None = None

    def style(self, wide: int = WIDE, narrow: int = NARROW) -> str:
        """Its width and its whole-number magnifications, as CSS variables."""
        times = (max(1, room // self.width) for room in (wide, narrow))
        return "--w:{}px;--wide:{};--narrow:{}".format(self.width, *times)


def moving(run: Shown) -> Moving | None:
    """The chains of a run in motion, where it left them."""
    return _film(inside(run.run.path, "samples/moving.gif"))


def opening(page: Page) -> Moving | None:
    """The film that opens a comparison's page, where its folder has one, with its caption."""
    if not page.note or not there(page.folder / "samples" / "films.json"):
        return None
    said = read_checked(page.folder, "samples/films.json").get(OPENING, [""])
    return _film(inside(page.folder, f"samples/{OPENING}.gif"), " ".join(said))


def _film(path: Path, caption: str = "") -> Moving | None:
    uri = uri_of(path)
    if uri is None:
        return None
    (width,) = struct.unpack("<H", read_bytes(path)[6:8])
    return Moving(uri, width, caption, last_frame(path)) if width else None

"""The pictures that the pages' own code makes: python docs/tools/gallery.py [NAMES] saves them.

A block of docs/gallery/ or docs/explanations/ runs by itself and may save a picture, NAME.png; it
is kept in docs/images/ under the name of the folder. The tests run the same blocks.
"""

import re
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1]
FOLDERS = ("gallery", "explanations")
BLOCK = re.compile(r"^```python\n(.*?)```", re.M | re.S)
SAVED = re.compile(r'savefig\("(\w+)\.png"\)')
COLOURS = 48
STYLE = {  # small, and without axes
    "figure.figsize": (2.4, 2.4),
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "image.cmap": "Blues",
    "figure.subplot.left": 0.02,
    "figure.subplot.bottom": 0.02,
    "figure.subplot.right": 0.98,
    "figure.subplot.top": 0.98,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.bottom": False,
    "xtick.bottom": False,
    "xtick.labelbottom": False,
    "ytick.left": False,
    "ytick.labelleft": False,
}


@dataclass(frozen=True)
class Drawing:
    """A block of a page that saves a picture."""

    page: Path
    name: str
    code: str

    @property
    def picture(self) -> Path:
        return DOCS / "images" / self.page.parent.name / f"{self.name}.png"

    def draw(self) -> None:
        """Run the code, and keep the picture in few colours: a gallery is looked at as a whole."""
        import matplotlib.pyplot as plt
        from PIL import Image

        style = STYLE if self.page.parent.name == "gallery" else {}
        with tempfile.TemporaryDirectory() as folder, chdir(folder), plt.rc_context(style):
            module = types.ModuleType("drawing")
            exec(compile(self.code, f"{self.page.name}: {self.name}", "exec"), vars(module))
            self.picture.parent.mkdir(exist_ok=True)
            with Image.open(f"{self.name}.png") as image:
                image.convert("RGB").quantize(COLOURS).save(self.picture, optimize=True)
        plt.close("all")


def drawings() -> Iterator[Drawing]:
    """Every block that saves a picture, page by page."""
    for page in sorted(page for folder in FOLDERS for page in (DOCS / folder).glob("*.md")):
        for code in BLOCK.findall(page.read_text(encoding="utf-8")):
            if found := SAVED.search(code):
                yield Drawing(page, found[1], code)


def main(names: list[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    for drawing in drawings():
        if not names or drawing.name in names:
            began = time.process_time()
            drawing.draw()
            print(f"{drawing.name} {time.process_time() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

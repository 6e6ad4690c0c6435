"""The gallery: every method of the tables in at most fifteen lines, with the picture that they make.

That the lines run is held by test_docs.
"""

import re

import pytest
from docs.tools import gallery

from gradlogp.baselines import BASELINES
from gradlogp.objectives import OBJECTIVES
from gradlogp.samplers import SAMPLERS

DRAWINGS = list(gallery.drawings())
SHOWN = [drawing for drawing in DRAWINGS if drawing.page.parent.name == "gallery"]


@pytest.mark.parametrize("name", sorted({*SAMPLERS, *OBJECTIVES, *BASELINES}))
def test_every_method_of_the_tables_is_shown(name):
    (drawing,) = [drawing for drawing in SHOWN if drawing.name == name]
    assert sum(map(bool, drawing.code.splitlines())) <= 15
    text = drawing.page.read_text()
    assert re.search(rf"^### `{name}`$\s+!\[.+\]\(\.\./images/gallery/{name}\.png\)", text, re.M)


@pytest.mark.parametrize("drawing", DRAWINGS, ids=[drawing.name for drawing in DRAWINGS])
def test_the_picture_is_there_small_and_on_the_page(drawing):
    assert 0 < drawing.picture.stat().st_size < 60_000
    assert f"/{drawing.name}.png)" in drawing.page.read_text()

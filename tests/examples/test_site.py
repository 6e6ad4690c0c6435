"""The documentation site: every page is in the navigation once, every public name in the reference,
and a strict build finds no dead link and nothing to fetch.
"""

import importlib.util
import re
from pathlib import Path

import pytest
from docs.tools import navigation, notebooks, reference

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
DEFINED = re.compile(r"^(?:async )?(?:def|class) ([A-Za-z]\w*)", re.M)
PAGES = reference.pages()
FETCHED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^\s>]+"
)


def entries(nav: navigation.Entry | list[navigation.Entry]) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inside = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in inside for page in entries(entry)]


def test_every_page_is_in_the_navigation_once() -> None:
    yaml = pytest.importorskip("yaml")
    nav = yaml.safe_load((ROOT / "docs" / "site.yml").read_text())["nav"]
    available = navigation.pages(ROOT / "docs")
    placed = entries(navigation.filled(nav, available, navigation.named(nav)))
    assert sorted(placed) == available


def test_a_pattern_takes_what_no_line_names_and_an_empty_entry_is_left_out() -> None:
    nav = [{"A": ["b.md", "*.md"]}, {"B": "sub/*.md"}, {"C": "none/*.md"}, {"D": "d.md"}]
    filled = navigation.filled(nav, ["a.md", "b.md", "d.md", "sub/x.md"], navigation.named(nav))
    assert filled == [{"A": ["b.md", "a.md"]}, {"B": ["sub/x.md"]}, {"D": "d.md"}]


def public_names(file: Path) -> list[str]:
    module = ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    return [f"{module}.{name}" for name in DEFINED.findall(file.read_text())]


def test_the_reference_has_every_public_name() -> None:
    links = "".join(text for page, text in PAGES.items() if page.count("/") == 1)
    names = [name for file in SOURCE.rglob("*.py") for name in public_names(file)]
    assert len(names) > 1000 and not [name for name in names if f"#{name})" not in links]


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    file = tmp_path / "first.ipynb"
    file.write_text(
        '{"cells": [{"cell_type": "markdown", "source": ["# First\\n", "Text."]}, {"cell_type": "code", '
        '"source": ["print(1)"], "outputs": [{"text": ["1\\n"]}, {"data": {"image/png": "QUJD\\n", '
        '"text/plain": ["<Figure>"]}}]}]}'
    )
    page = notebooks.markdown(file)
    assert page.startswith("# First\nText.\n\n[Download this notebook](first.ipynb)\n\n````python")
    assert "````text\n1\n````" in page and 'src="data:image/png;base64,QUJD"' in page
    assert "<Figure>" not in page


def test_equations_of_docstrings_and_pages_become_mathml() -> None:
    pytest.importorskip("latex2mathml")
    markdown = pytest.importorskip("markdown")
    extensions = ["pymdownx.arithmatex", "docs.tools.mathematics"]
    settings = {"pymdownx.arithmatex": {"generic": True}}
    text = "At :math:`x^2 < 1`, [B, *shape]:\n\n.. math:: \\frac{a}{b}\n          + \\Big\\|c\n\nand $y$."
    html = markdown.markdown(text, extensions=extensions, extension_configs=settings)
    assert html.count("<math") == 3 and html.count('display="block"') == 1
    assert (
        "<mfrac>" in html
        and ">‖</mo>" in html
        and "<code>[B, *shape]</code>" in html
        and "$" not in html
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("zensical", "mkdocstrings_handlers")),
    reason="pip install 'gradlogp[docs]' builds the site",
)
def test_a_strict_build_finds_no_dead_link_and_nothing_to_fetch(tmp_path: Path) -> None:
    from docs.tools import build

    build.write(tmp_path)
    assert build.build(tmp_path) == 0
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        assert not (found := FETCHED.search(page.read_text())), f"{page.name}: {found[0]}"

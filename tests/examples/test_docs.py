"""The code in the README and in the docs runs, and prints what the page says."""

import re
import sys
import types
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from tests.tables import TABLES

from gradlogp.harness.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCKS = [
    pytest.param(page, i, id=f"{page.stem}-{i}")
    for page in PAGES
    for i in range(len(re.findall(r"```python\n", page.read_text())))
]


@pytest.fixture
def tables_as_they_were():
    """Pages add lines to tables; other tests find none of them."""
    tables = [*TABLES.values(), Settings.kinds]
    before = [dict(table) for table in tables]
    yield
    for table, was in zip(tables, before, strict=True):
        table.clear()
        table.update(was)


@pytest.fixture
def drawn_on_nothing():
    """Pages draw; no window opens, and no figure stays open."""
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.mark.usefixtures("tables_as_they_were", "drawn_on_nothing")
@pytest.mark.parametrize(("page", "i"), BLOCKS)
def test_the_code_runs_and_prints_what_the_page_says(page, i, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    block = list(re.finditer(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", text, re.S))[i]
    module = types.ModuleType("example", doc="Reference: the page.")
    monkeypatch.setitem(sys.modules, "example", module)
    exec(compile(block[1], str(page), "exec"), vars(module))
    if block[2] is not None:
        assert capsys.readouterr().out.split() == block[2].split()
    for name in re.findall(r'savefig\("(.+?)"\)', block[1]):
        assert (tmp_path / name).is_file()


def test_links_lead_somewhere():
    for page in PAGES:
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        for target in re.findall(r"\]\((?!http)([^)#]+)", prose):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

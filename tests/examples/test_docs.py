"""The code in the README and in the docs runs, and prints what the page says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
BLOCKS = [
    pytest.param(page, i, id=f"{page.stem}-{i}")
    for page in PAGES
    for i in range(len(re.findall(r"```python\n", page.read_text())))
]


@pytest.mark.parametrize(("page", "i"), BLOCKS)
def test_the_code_runs_and_prints_what_the_page_says(page, i, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    block = list(re.finditer(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", text, re.S))[i]
    exec(compile(block[1], str(page), "exec"), {"__name__": "example"})
    if block[2] is not None:
        assert capsys.readouterr().out.split() == block[2].split()


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

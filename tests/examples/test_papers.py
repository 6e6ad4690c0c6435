"""The map from papers to files: complete, and every name on it exists."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "gradlogp"
PAGE = (ROOT / "docs" / "papers.md").read_text()
NUMBER = re.compile(r"arXiv\s+(?:#\s+)?((?:physics/)?\d{4}\.?\d{3,5})")
ROWS = [
    cells
    for line in PAGE.splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
    and line.startswith("| ")
    and cells[0] != "paper"
]


def named(cell: str) -> list[tuple[str, str]]:
    """(file, name) of every name in a cell such as `a.py`: `x`, `y`; `b.py`: `z`."""
    pairs, file = [], ""
    for word in re.findall(r"`([^`]+)`", cell):
        if word.endswith(".py"):
            file = word
        else:
            pairs.append((file, word))
    return pairs


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{i} {named(cells[2])[0][1]}" for i, cells in enumerate(ROWS)]
)
def test_what_a_row_names_is_there(row: list[str]) -> None:
    _, gave, where, proof = row
    assert gave and named(where)
    for file, name in named(where):
        module = importlib.import_module("gradlogp." + file.removesuffix(".py").replace("/", "."))
        assert (SOURCE / file).is_file() and reduce(getattr, name.split("."), module) is not None
    for file, name in named(proof):
        there = f"def {name}(" in (ROOT / "tests" / file).read_text()
        assert there, f"docs/papers.md names {name} of tests/{file}, which is not there"


def test_every_paper_of_the_source_is_on_the_page_and_the_other_way_round() -> None:
    cited = {
        n: file.relative_to(SOURCE)
        for file in SOURCE.rglob("*.py")
        for n in NUMBER.findall(file.read_text())
    }
    mapped = set(NUMBER.findall(PAGE))
    missing = {n: str(file) for n, file in cited.items() if n not in mapped}
    assert not missing, f"add a line to docs/papers.md for each: {missing}"
    assert not mapped - set(cited), "on the page, and cited nowhere"

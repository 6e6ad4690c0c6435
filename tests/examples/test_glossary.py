"""The words of the house: those that the glossary retires do not come back as identifiers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text()
RETIRED = re.findall(r"(?:^|, |and )`(\w+)` ", PAGE.partition("## Retired")[2], re.MULTILINE)
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")][1:]


def identifiers(file: Path) -> Iterator[str]:
    """What the file defines and assigns, and its own name; `x.floor()` is a name of torch."""
    yield file.stem
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(getattr(node, "ctx", None), ast.Load):
            continue
        for name in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, name, None)
            if isinstance(value, str):
                yield value


def words(identifier: str) -> set[str]:
    """energy_l2 and EnergyRecipe, in parts and in small letters, without the s of a plural."""
    parts = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", identifier)
    return {part.lower().removesuffix("s") for part in parts}


GIVEN = {
    file: set(identifiers(file))
    for folder in ("src", "tests")
    for file in sorted((ROOT / folder).rglob("*.py"))
}


def test_the_page_has_words_to_hold() -> None:
    assert len(RETIRED) == len(set(RETIRED)) >= 16 and len(ROWS) >= 30
    assert words("DeskStrangers") == {"desk", "stranger"}


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_no_identifier(word: str) -> None:
    found = {
        f"{name} in {file.relative_to(ROOT)}"
        for file, names in GIVEN.items()
        for name in names
        if word in words(name)
    }
    assert not found, f"docs/glossary.md retires {word!r}; rename {sorted(found)}"


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip() for row in ROWS])
def test_a_word_has_one_line(row: list[str]) -> None:
    assert len(row) == 2 and 10 < len(row[1].strip()) < 160
    assert sum(other[0] == row[0] for other in ROWS) == 1

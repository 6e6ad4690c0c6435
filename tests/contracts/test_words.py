"""What every member of a table says of itself: one clear sentence, which `gradlogp list` prints,
and where it comes from.
"""

import inspect
import re
import sys

import pytest

from gradlogp.cli.contents import members
from tests.tables import TABLES

SPOKEN = [
    (kind, name)
    for kind in ("samplers", "objectives", "models", "processes", "targets", "tasks")
    for name in TABLES[kind]
]


@pytest.mark.parametrize(("kind", "name"), SPOKEN, ids=[" ".join(pair) for pair in SPOKEN])
def test_it_opens_with_a_sentence_and_its_module_ends_with_a_reference(
    kind: str, name: str
) -> None:
    member = TABLES[kind][name]
    first = " ".join((inspect.getdoc(member) or "").partition("\n\n")[0].split())
    assert first.endswith(".") and 20 <= len(first) <= 110 and first[0] == first[0].upper(), first
    assert ":math:" not in first and members(kind)[name] == first  # a terminal shows no mathematics
    assert re.search(r"^References?: ", sys.modules[member.__module__].__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("kind", TABLES)
def test_every_line_of_a_table_says_something(kind: str) -> None:
    assert all(len(says) > 10 for says in members(kind).values())

"""Counts in sentences."""

import pytest

from gradlogp.core.words import are, counted


@pytest.mark.parametrize(
    ("n", "says"),
    [(0, "0 files are"), (1, "1 file is"), (2, "2 files are"), (1200, "1,200 files are")],
)
def test_a_count_has_the_number_of_its_noun(n: int, says: str) -> None:
    assert f"{counted(n, 'file')} {are(n)}" == says


def test_an_odd_plural_is_given() -> None:
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]

"""The exponents of costs that are known, and what every case may grow by."""

import json
from pathlib import Path

import pytest
import torch

from gradlogp.bench import growth
from gradlogp.bench.growth import CASES, Growing, exponent, grown, page

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_its_exponent(power: float) -> None:
    sizes = [10, 20, 40, 80]
    assert exponent(sizes, [100.0, *(3 * n**power for n in sizes[1:])]) == pytest.approx(power)
    assert exponent(sizes, [None, None, 1.0, 2.0]) is None


@pytest.mark.skipif(not growth.REFS.exists(), reason="the system tells no memory")
def test_memory_that_is_taken_and_given_back_is_seen() -> None:
    """64 MB of a tensor that is gone when the work ends."""
    _, megabytes = growth.measured(lambda: torch.ones(16 * 2**20))
    assert 60 < megabytes < 90


HELD: list[torch.Tensor] = []


def hold(number: int) -> float | None:
    """What is resident after 64 MB more are held for good."""
    HELD.append(torch.ones(16 * 2**20))
    return growth.resident("VmHWM")


@pytest.mark.skipif(not growth.REFS.exists(), reason="the system tells no memory")
def test_what_one_case_leaves_in_memory_is_nothing_to_the_next() -> None:
    first, second = growth.alone(hold, range(2))
    assert abs(second - first) < 30
    assert not HELD


@pytest.mark.parametrize("case", CASES, ids=[f"{c.what}, {c.size}" for c in CASES])
def test_every_case_works_at_a_small_size(case: Growing) -> None:
    (row,) = grown(Growing(case.what, case.size, (16,), case.seconds, case.memory, case.make))
    assert row["seconds"] > 0 and row["n"] == 16


def test_the_committed_page_is_that_of_its_rows_and_nothing_grows_beyond_its_reach() -> None:
    rows = json.loads((DOCS / "results" / "bench-growth.json").read_text())["rows"]
    assert page(rows).rstrip() in (DOCS / "growth.md").read_text()
    for mine in growth.series(rows).values():
        sizes = [row["n"] for row in mine]
        for key, reach in zip(("seconds", "megabytes"), mine[0]["reach"], strict=True):
            slope = exponent(sizes, [row[key] for row in mine])
            assert slope is None or slope < reach + 0.35, (mine[0]["what"], key)

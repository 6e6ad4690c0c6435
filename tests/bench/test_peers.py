"""The table's arithmetic on libraries made up for it; that every task runs by ours; and, where the
peers are installed, that they do the same mathematics.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradlogp.bench import peers
from gradlogp.bench.page import one_thread
from gradlogp.bench.peers import chains, measures, trajectories, walks
from gradlogp.bench.peers.case import COMPILED, OURS, Case

DOCS = Path(__file__).parents[2] / "docs"


def absent():
    raise ModuleNotFoundError("no such library")


def case(kind: str, ours, theirs) -> Case:
    makers = {OURS: lambda: ours, "theirs": lambda: theirs, "absent": absent}
    return Case("sums", "of ones", "step", 10, kind, makers)


@pytest.fixture
def a_clock_that_counts(monkeypatch):
    """Each work says how long it takes."""
    monkeypatch.setattr(
        peers,
        "interleaved",
        lambda works, seconds, least: [[w.seconds] * 4 for w in works],
    )


class Taking:
    def __init__(self, seconds: float, result):
        self.seconds, self.result = seconds, result

    def __call__(self):
        return self.result


@pytest.mark.usefixtures("a_clock_that_counts")
def test_the_ratio_is_ours_over_theirs_and_absent_libraries_are_said_to_be():
    rows = peers.measured(case("value", Taking(3.0, [1.0]), Taking(2.0, [1.1])), 1.0)
    ours, theirs, gone = rows
    assert theirs["ratio"] == 1.5 and theirs["us"] == 2e5
    assert theirs["dx"] == pytest.approx(0.1) and ours["dx"] == 0
    assert "us" not in gone
    page = peers.page(rows)
    assert "quicker in 0 of 1." in page and "| absent | not installed |" in page
    assert "| sums | of ones | theirs | 1.50 |  |" in page and "compiled field, which" not in page


@pytest.mark.usefixtures("a_clock_that_counts")
def test_the_compiled_field_is_compared_with_the_quickest_peer_too():
    """3 s as it is, 1 s compiled, and 2 s of the peer."""
    each = case("value", Taking(3.0, [1.0]), Taking(2.0, [1.0]))
    makers = {**each.makers, COMPILED: lambda: Taking(1.0, [1.0])}
    rows = peers.measured(replace(each, makers=makers), 1.0)
    page = peers.page(rows)
    assert peers.compiled_ratio(rows) == pytest.approx(0.5)
    assert "uncompiled, is quicker in 0 of 1" in page and "peer in 1 of these" in page
    assert "| sums | of ones | theirs | 1.50 | 0.50 |" in page


@pytest.mark.usefixtures("a_clock_that_counts")
def test_traces_are_compared_by_seconds_for_an_effective_sample():
    """Draws each held for four steps are worth a quarter, so a peer of half the time loses twofold."""
    fresh = torch.randn(8, 400, 2, generator=torch.Generator().manual_seed(0))
    held = fresh[:, :100].repeat_interleave(4, 1)
    rows = peers.measured(case("traces", Taking(2.0, fresh), Taking(1.0, held)), 1.0)
    assert rows[1]["ess"] / rows[0]["ess"] == pytest.approx(0.25, rel=0.2)
    assert rows[1]["ratio"] == pytest.approx(2 * rows[1]["ess"] / rows[0]["ess"])


def uncompiled(case: Case) -> Case:
    """Compilation takes half a minute."""
    makers = {name: maker for name, maker in case.makers.items() if name != COMPILED}
    return replace(case, makers=makers)


def small() -> list[Case]:
    """Tasks that take moments."""
    energy = chains.mlp()
    return [
        chains.langevin("small", energy, (8, 2), 3),
        chains.divergence("small", chains.mlp, (8, 2), 1),
        uncompiled(trajectories.hmc("small", trajectories.regression(), 8)),
        uncompiled(trajectories.nuts("small", trajectories.regression(), 8)),
        *[c for c in walks.cases() if "stored" in c.name],
        measures.prdc(200, 8),
        measures.frechet(200, 80),
    ]


SMALL = small()


@pytest.mark.parametrize("each", SMALL, ids=[f"{c.group}, {c.name}" for c in SMALL])
def test_every_library_that_is_installed_does_the_task_and_ours_agrees(each: Case):
    with one_thread():
        rows = peers.measured(each, 0.0)
    assert rows[0]["library"] == OURS and rows[0]["us"] > 0
    for row in rows[1:]:
        if "dx" in row:
            assert row["dx"] < 1e-3, row


def test_the_committed_page_is_that_of_its_rows():
    kept = json.loads((DOCS / "results" / "bench-peers.json").read_text())
    assert peers.page(kept["rows"]).rstrip() in (DOCS / "peers.md").read_text()


def test_the_densities_of_jax_are_those_of_torch():
    jnp = pytest.importorskip("jax.numpy")
    for make in trajectories.TARGETS.values():
        target = make()
        x = target.start[:3] + 0.1
        density = target.jax(jnp)
        theirs = [-float(density(jnp.asarray(row.numpy()))) for row in x]
        assert target.energy(x).tolist() == pytest.approx(theirs, rel=1e-4)

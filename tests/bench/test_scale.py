"""The model of memory and messages in closed form, the pace of processes, notes of kills, the page."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from gradlogp import data as shelf
from gradlogp.bench.scale import kill, line, page, plan, ratios
from gradlogp.bench.scale.measure import ROUNDS, paced
from gradlogp.bench.scale.plan import PLANS, Load, Planned, Wires, weighed
from gradlogp.training import ALONE

DOCS = Path(__file__).parents[2] / "docs"
LOAD = Load(weights=1000, layer=400, batch=8, size=10, activations=50, flops=6, chains=30)


def test_memory_in_closed_form():
    """Five words a weight, less where they are cut; the buffer on every card."""
    alone = LOAD.memory(1, False)
    assert alone == {"kept": 20_000, "for a moment": 0, "activations": 400, "buffer": 1200}
    two = LOAD.memory(2, True)
    assert two == {"kept": 10_000, "for a moment": 12_800, "activations": 200, "buffer": 1200}
    assert LOAD.memory(2, False)["for a moment"] == 4000
    assert LOAD.checkpoint == 16_000 + 1200


def test_messages_in_closed_form():
    """A ring of n sends 2 (n - 1)/n of what is summed, and (n - 1)/n of what is gathered."""
    assert LOAD.sent(1, False) == LOAD.sent(1, True) == 0
    assert LOAD.sent(4, False) == 4 * 2 * 0.75 * (1000 + 80)
    assert LOAD.sent(4, True) == pytest.approx(4 * (0.75 * 3 * 1000 + 2 * 0.75 * 80))
    work, talk = Wires(4, "", bandwidth=100.0, latency=1.0, flops=2.0).seconds(LOAD, False)
    assert work == 8 * 6 / 4 / 2 and talk == pytest.approx(2 + 6480 / 100)


def test_a_network_is_counted_without_computing_it():
    """In words of 4 bytes the first layer leaves x, the second what SiLU takes and gives."""

    def network():
        return nn.Sequential(nn.Linear(4, 3), nn.SiLU(), nn.Linear(3, 1, bias=False))

    weights, layer, activations, flops = weighed(network, (4,), False)
    assert (weights, layer) == (4 * 3 + 3 + 3, 15)
    assert (activations, flops) == (4 * (4 + 3 + 3), 2 * (4 * 3 + 3))


@pytest.mark.parametrize("planned", PLANS, ids=lambda planned: planned.name)
def test_every_plan_is_counted(planned: Planned):
    load = planned.load()
    assert load.weights > load.layer > 0 and load.flops > 0 and load.activations > 0


def test_processes_take_turns_and_make_equal_steps():
    rows = list(paced("ncsn", shelf.load("digits"), ALONE, 1e-6))
    assert [row["kind"] for row in rows] == ["one", "two"] * ROUNDS
    assert all(found > 0 for found in ratios(rows, "two"))


def test_a_process_notes_when_it_is_killed_and_when_it_is_back(tmp_path, monkeypatch):
    killed = []
    monkeypatch.setattr(kill.os, "kill", lambda *words: killed.append(words))
    run = tmp_path / "run"

    def steps(mine, main):
        source = kill.Killing(lambda step: step, run, mine, main, step=2, delay=0.0)
        return [source(step) for step in range(4)]

    assert steps(mine=False, main=True) == [0, 1, 2, 3] and not list(tmp_path.iterdir())
    before = kill.Killing(lambda step: step, run, mine=False, main=True, step=2, delay=0.0)
    steps(mine=True, main=False)
    before(3)
    assert not kill.noted(run, "resumed").exists()
    steps(mine=True, main=True)
    seconds, step = map(float, kill.noted(run, "killed").read_text().split())
    back, first = map(float, kill.noted(run, "resumed").read_text().split())
    assert (step, first) == (2, 0) and back >= seconds
    for timer in [t for t in kill.threading.enumerate() if isinstance(t, kill.threading.Timer)]:
        timer.join()
    assert len(killed) == 1


def rows():
    pace = {"what": "pace", "recipe": "ebm", "dataset": "mnist", "batch": 64}
    memory = {"weights": 1e6, "rest": 11e6, "highest": 30e6, "checkpoint": 8e6}
    models = {"model": 10e6, "model, at work": 10e6, "model, checkpoint": 8e6}
    small = Planned("small", lambda: nn.Linear(4, 1), (4,), 8, "once", levels=False)
    return [
        *(
            {**pace, "kind": kind, "round": i, "rate": rate + i}
            for i in range(3)
            for kind, rate in (("one", 9.0), ("two", 17.0))
        ),
        *({"what": "all_reduce", "bytes": 10**k, "seconds": 1e-3 + 10**k / 1e9} for k in (0, 6, 9)),
        *({"what": "memory", "sharded": cut, **memory, **models} for cut in (False, True)),
        *(
            {"what": "kill", "rank": 0, "step": 3, "equal": i > 0, "repeated": i, "seconds": 5.0}
            for i in range(3)
        ),
        *plan.rows([small]),
    ]


def test_the_page_says_what_its_rows_do():
    found = page(rows())
    assert "| two | 18.0 | 1.80x (1.73 to 1.89) |" in found
    assert "2 of 3 tries ended at equal weights" in found
    latency, bandwidth = line(rows())
    assert latency == pytest.approx(1e-3) and bandwidth == pytest.approx(1e9, rel=1e-3)
    assert "| whole | at its highest | 30.0 | 20.0 | 1.50 |" in found


COMMITTED = DOCS / "results" / "bench-scale.json"


@pytest.mark.skipif(not COMMITTED.exists(), reason="the bench has no committed rows yet")
def test_the_committed_page_is_that_of_its_rows():
    found = json.loads(COMMITTED.read_text())["rows"]
    assert page(found).rstrip() in (DOCS / "scale-measured.md").read_text()
    assert all(row["equal"] for row in found if row["what"] == "kill")
    assert torch.tensor([row["rate"] for row in found if row["what"] == "pace"]).min() > 0

"""Trainings that go wrong say so: a fast part of the bench, every kind of model and every ending."""

import importlib

import pytest
import torch

from gradlogp.bench.guard import (
    FAULTS,
    KINDS,
    Case,
    command,
    endings,
    forced,
    healthy,
    page,
    weighed,
)
from gradlogp.bench.page import one_thread
from gradlogp.runs import Run

CASES = {fault.name: fault for fault in FAULTS}
BAD = {
    "ebm": "one update, learning rate 1e37",
    "ebm_no_buffer": "regularised by 1e6",
    "ncsn": "one update, learning rate 1e37",
    "vae": "pictures of 0 to 255",
    "gan": "one update, learning rate x 1e3",
    "wgan_gp": "learning rate x 1e20",
}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A tenth of the updates: what is forced shows at once."""
    for kind, (updates, quick) in list(KINDS.items()):
        monkeypatch.setitem(KINDS, kind, (updates // 10, quick))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forced_divergence_ends_stopped_or_marked_and_the_same_command_says_the_same(
    tmp_path, kind
):
    case = Case(kind, CASES[BAD[kind]])
    with one_thread():
        ending, said = command(case, tmp_path / "run")
        again = command(case, tmp_path / "run")
    assert ending in ("stopped", "marked") and said and again == (ending, said)
    run = Run.open(tmp_path / "run")
    assert said in (run.path / "log.txt").read_text()
    if ending == "marked":
        assert run.status()["samples"]["healthy"] is False
        for name in ("weights", "ema"):
            assert all(bool(t.isfinite().all()) for t in run.load(name)[0].values())
    else:
        assert run.status()["diverged"] == said


def test_a_rate_that_overflows_is_refused_before_it_begins(tmp_path):
    ending, said = command(Case("vae", CASES["one update, learning rate 1e200"]), tmp_path / "run")
    assert ending == "stopped" and "learning_rate must be" in said
    assert not (tmp_path / "run").exists()


def test_the_verdict_is_of_the_samples_and_leaves_the_run_as_it_was(tmp_path, monkeypatch):
    """A healthy run's weights are the same with the test of its samples and without."""
    monkeypatch.setitem(KINDS, "vae", (300, ()))
    with one_thread():
        assert command(Case("vae"), tmp_path / "with")[0] == "well"
        module = importlib.import_module("gradlogp.harness.fit")
        monkeypatch.setattr(module, "_health", lambda *_: {})
        assert command(Case("vae"), tmp_path / "without")[0] == "well"
    one, other = (Run.open(tmp_path / name) for name in ("with", "without"))
    assert "samples" in one.status() and "samples" not in other.status()
    for name in ("weights", "ema"):
        before, after = one.load(name)[0], other.load(name)[0]
        assert before.keys() == after.keys() and all(
            torch.equal(before[k], after[k]) for k in before
        )


@pytest.mark.parametrize("case", forced(), ids=lambda case: case.name)
def test_every_fault_changes_settings_that_there_are(case):
    """A setting that is not there would be refused, and counted as a run that is stopped."""
    if "1e200" not in case.name:
        case.recipe()


def test_there_are_enough_cases_and_the_page_counts_them():
    assert len(forced()) >= 162 and len(healthy()) >= 50
    assert [weighed("well", 0.9), weighed("well", 0.5), weighed("marked", 0.1)] == [
        "missed",
        "well",
        "false alarm",
    ]
    rows = [
        {"case": "a", "kind": "ebm", "forced": True, "ending": "stopped", "said": ""},
        {"case": "b", "kind": "vae", "forced": True, "ending": "missed", "said": "", "worth": 0.9},
        {"case": "c", "kind": "vae", "forced": False, "ending": "well", "said": "", "worth": 0.4},
    ]
    assert "| all | 2 | 0 | 1 | 0 | 1 | 0 | 0 | 0 |" in endings(rows[:2])
    assert "2 divergences are forced" in page(
        rows
    ) and "1 of the 2 runs, forced or healthy" in page(rows)

"""A trial is performed once, leaves rows like any run, and stands in a comparison beside others."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from gradlogp import data, reports
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.core.random import from_seed
from gradlogp.experiments import COMPARISONS, RECIPES
from gradlogp.harness import (
    Column,
    Comparison,
    Context,
    Recorder,
    Table,
    Target,
    Trial,
    fit,
    from_stored,
    override,
    prepare,
    run_comparison,
)
from gradlogp.harness.record import Cost
from gradlogp.harness.settings import to_dict
from gradlogp.harness.trial import fitted_inside, items, trained
from gradlogp.metrics.calibration import accuracy, mcnemar
from gradlogp.models import mlp_noisy_energy
from gradlogp.objectives import DenoisingScoreMatching, LogNormal
from gradlogp.runs import Run
from gradlogp.training import Training
from tests.targets import DIGITS

PERFORMED = []
TINY = ["training.images=64", "training.batch=32", "net.channels=4,8", "sampler.levels=4"]


@dataclass(frozen=True)
class Guess(Trial):
    """Always the same class."""

    answer: int = 0

    def perform(self, context: Context, recorder: Recorder) -> None:
        PERFORMED.append(self.experiment)
        with recorder.training() as cost:
            cost.parameters = 1
        labels = context.data.test.labels
        logits = torch.nn.functional.one_hot(torch.full_like(labels, self.answer), 10).double()
        recorder.add(accuracy(logits, labels), evaluations=1)
        recorder.save(right=logits.argmax(1) == labels)
        recorder.figure("empty", "Nothing to see.").write_bytes(b"no picture")


def guess(name, answer):
    def make(target: Target, preset: str = "quick", seed: int = 0) -> Guess:
        """Always the same class."""
        return Guess(name, target.name, preset, seed, answer)

    return make


def paired(folder: Path, runs):
    first, second = (items(paths[0])["right"] for paths in runs.values())
    only, other, p = mcnemar(first, second)
    return [
        {
            "method": "zero",
            "metric": "p",
            "axes": {"against": "one"},
            "value": p,
            "n": only + other,
            "better": "lower",
            "protocol": "McNemar",
        }
    ]


GUESS = Comparison(
    "Which?",
    {"zero": guess("zero", 0), "one": guess("one", 1)},
    draws_samples=False,
    headline=(Column("accuracy"),),
    summary=paired,
    tables=(Table("McNemar's p", ("p",), "against"),),
)


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setitem(COMPARISONS, "guess", GUESS)
    PERFORMED.clear()


def compare(digits, out, changes=()):
    entries = prepare(GUESS, Target.of(digits), "quick", out, (0,), changes)
    return run_comparison("guess", GUESS, digits, entries, out, changes, Silent())


def test_a_comparison_of_trials_is_performed_once_and_shown(known, tmp_path):
    digits, out = data.load("digits"), tmp_path / "c"
    rows = compare(digits, out)
    assert {(r["method"], r["metric"], *r.get("axes", {}).values()) for r in rows} == {
        ("zero", "accuracy"),
        ("one", "accuracy"),
        ("zero", "p", "one"),
    }
    share = float((digits.test.labels == 0).double().mean())
    assert next(r["value"] for r in rows if r["method"] == "zero") == share
    assert compare(digits, out) == rows and PERFORMED == ["zero", "one"]
    text = reports.write(out).read_text(encoding="utf-8")
    assert "Which?" in text and "Always the same class." in text
    assert "beginning with pure noise" not in text and "<b>evaluation classifier</b>" not in text
    table, further = (out / "results.md").read_text(encoding="utf-8").split("\n\n### ")
    assert table.count("\n") == 4  # head, rule, two methods, a coin
    assert (
        further.startswith("McNemar's p\n\n| method | one |") and further.count("\n") == 5
    )  # as compare.json asks for it


@dataclass(frozen=True)
class Inside(Trial):
    """A network of a recipe, inside a trial."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        recipe = override(RECIPES["ncsn"](DIGITS, "quick", 0), ["net.channels=4,8"])
        for _ in range(2):  # the second time as a trial that was stopped goes on
            with recorder.training() as cost:
                fitted_inside(recorder, recipe, context.data, cost, images=640)


def test_a_network_inside_a_trial_costs_the_trial_what_it_cost(tmp_path):
    run = Inside("inside", "digits", "quick", 0).into(
        tmp_path / "run", Context(data.load("digits")), Silent()
    )
    inner, outer = Run.open(tmp_path / "run" / "network").status(), run.status()
    same = ("images", "evaluations", "parameters")
    assert {k: outer[k] for k in same} == {k: inner[k] for k in same} and inner["images"] == 640
    assert outer["seconds"] >= inner["seconds"] > 0


@dataclass(frozen=True)
class Resumed(Trial):
    """A small network, taught twice: the second time as a trial that was stopped goes on."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        x = context.data.train.scaled().flatten(1)
        for _ in range(2):
            with recorder.training():
                model = from_seed(0, lambda: mlp_noisy_energy(x.shape[1], 0.3, 8, 1))
                loss = DenoisingScoreMatching(LogNormal())
                trained(recorder, "network", model, loss, x, None, Training(6400, 64))


def test_a_trial_that_goes_on_counts_the_seconds_before_it_was_stopped(tmp_path):
    run = Resumed("resumed", "digits", "quick", 0).into(
        tmp_path / "run", Context(data.load("digits")), Silent()
    )
    *_, last = Run.open(tmp_path / "run" / "network").metrics()
    assert run.status()["seconds"] >= last["seconds"] > 0


def test_costs_of_networks_add_up():
    cost = Cost()
    cost.add(torch.nn.Linear(3, 2), 100)
    cost.add(torch.nn.Linear(3, 2), 10, each=2.5)
    assert (cost.parameters, cost.images, cost.evaluations) == (16, 110, 125)


def test_a_seed_decides_what_is_built_and_leaves_the_global_state_alone():
    before = torch.random.get_rng_state()
    first, second, other = (from_seed(s, lambda: torch.randn(4)) for s in (3, 3, 4))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("comparison", "name", "change", "message"),
    [
        ("score_1d", "esm", {"steps": -5}, "steps must be 0 or more, got -5"),
        ("ebm_classify", "jem", {"epochs": 0.0}, "epochs must be more than 0, got 0.0"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_work(comparison, name, change, message):
    made = COMPARISONS[comparison].methods[name](DIGITS, "quick", 0)
    with pytest.raises(UserError, match=message):
        replace(made, **change)


def test_settings_come_back_from_the_folder(known, tmp_path):
    compare(data.load("digits"), tmp_path / "c", ["one:answer=7"])
    stored = Run.open(tmp_path / "c" / "one").config["recipe"]
    assert from_stored(stored) == Guess("one", "digits", "quick", 0, 7)


def test_a_change_names_its_method_and_what_is_wrong():
    with pytest.raises(UserError, match="zero: there is no setting 'answr'; did you mean 'answer'"):
        prepare(GUESS, DIGITS, "quick", Path("c"), (0,), ["zero:answr=7"])


def without(settings, key):
    stored = to_dict(settings)
    del stored[key]
    return stored


def test_what_was_begun_before_a_setting_was_added_goes_on_and_another_value_is_refused(
    tmp_path, monkeypatch
):
    digits = data.load("digits")
    ours = override(RECIPES["ncsn"](DIGITS, "quick", 0), TINY)
    with monkeypatch.context() as earlier:
        module = "gradlogp.harness.provenance.to_dict"
        earlier.setattr(module, lambda x: without(x, "uncertainty") if x is ours else to_dict(x))
        fit(ours, digits, tmp_path / "run", device="cpu").close()
    with fit(ours, digits, tmp_path / "run", device="cpu") as run:
        assert "uncertainty" not in run.config["recipe"]
        assert run.status()["state"] == "trained"
    with pytest.raises(UserError, match="uncertainty is unset there and True here"):
        fit(override(ours, ["uncertainty=true"]), digits, tmp_path / "run", device="cpu")


def test_a_trial_that_was_performed_before_a_setting_was_added_is_not_performed_again(
    tmp_path, monkeypatch
):
    digits, trial = data.load("digits"), Guess("early", "digits", "quick", 0)
    with monkeypatch.context() as earlier:
        earlier.setattr("gradlogp.harness.trial.to_dict", lambda x: without(x, "answer"))
        trial.into(tmp_path / "run", Context(digits), Silent()).close()
    before = len(PERFORMED)
    trial.into(tmp_path / "run", Context(digits), Silent()).close()
    assert len(PERFORMED) == before

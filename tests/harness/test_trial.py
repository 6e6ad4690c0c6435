"""A trial is performed once, leaves rows like any run, and stands in a comparison beside others."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from gradlogp import data, reports
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.experiments import COMPARISONS, EXPERIMENTS, Comparison, Trial, compare, contender_of
from gradlogp.experiments.table import Table
from gradlogp.experiments.trial import Context, Desk, items
from gradlogp.metrics.calibration import accuracy, mcnemar
from gradlogp.runs import Run

PERFORMED = []


@dataclass(frozen=True)
class Guess(Trial):
    """Always the same class."""

    answer: int = 0

    def perform(self, context: Context, desk: Desk) -> None:
        PERFORMED.append(self.experiment)
        with desk.learning() as cost:
            cost.parameters = 1
        labels = context.data.test.labels
        logits = torch.nn.functional.one_hot(torch.full_like(labels, self.answer), 10).double()
        desk.note(accuracy(logits, labels), evaluations=1)
        desk.keep(right=logits.argmax(1) == labels)
        desk.figure("empty", "Nothing to see.").write_bytes(b"no picture")


def guess(name, answer):
    def make(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> Guess:
        """Always the same class."""
        return Guess(name, dataset, preset, seed, answer)

    return make


def paired(folder: Path, runs):
    first, second = (items(paths[0])["right"] for paths in runs.values())
    only, other, p = mcnemar(first, second)
    return [
        {
            "method": "zero",
            "metric": "p against one",
            "value": p,
            "n": only + other,
            "better": "lower",
            "protocol": "McNemar",
        }
    ]


@pytest.fixture
def known(monkeypatch):
    for i, name in enumerate(("zero", "one")):
        monkeypatch.setitem(EXPERIMENTS, name, guess(name, i))
    monkeypatch.setitem(
        COMPARISONS,
        "guess",
        Comparison(
            ("zero", "one"),
            "Which?",
            judged=False,
            headline=("accuracy",),
            summary=paired,
            tables=(Table("McNemar's p", ("p against *",)),),
        ),
    )
    PERFORMED.clear()


def test_a_comparison_of_trials_is_performed_once_and_shown(known, tmp_path):
    digits, out = data.load("digits"), tmp_path / "c"
    rows = compare("guess", digits, "quick", out, listener=Silent())
    assert {(r["method"], r["metric"]) for r in rows} == {
        ("zero", "accuracy"),
        ("one", "accuracy"),
        ("zero", "p against one"),
    }
    share = float((digits.test.labels == 0).double().mean())
    assert next(r["value"] for r in rows if r["method"] == "zero") == share
    assert compare("guess", digits, "quick", out, listener=Silent()) == rows and PERFORMED == [
        "zero",
        "one",
    ]
    text = reports.write(out).read_text(encoding="utf-8")
    assert "Which?" in text and "Always the same class." in text
    assert "beginning with pure noise" not in text and "<b>judge</b>" not in text
    table, further = (out / "results.md").read_text(encoding="utf-8").split("\n\n### ")
    assert table.count("\n") == 4  # head, rule, two methods, a coin
    assert (
        further.startswith("McNemar's p\n\n| method | one |") and further.count("\n") == 5
    )  # as compare.json asks for it


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("esm", {"steps": -5}, "steps must be 0 or more, got -5"),
        ("jem", {"epochs": 0.0}, "epochs must be more than 0, got 0.0"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_the_work(name, change, message):
    with pytest.raises(UserError, match=message):
        replace(EXPERIMENTS[name]("digits", "quick", 0), **change)


def test_settings_come_back_from_the_folder(known, tmp_path):
    compare(
        "guess",
        data.load("digits"),
        "quick",
        tmp_path / "c",
        changes=["one:answer=7"],
        listener=Silent(),
    )
    assert contender_of(Run.open(tmp_path / "c" / "one")) == Guess("one", "digits", "quick", 0, 7)

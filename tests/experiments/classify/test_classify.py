"""Energies as classifiers, on the small digits: a linear one is logistic regression, a bare energy
loss learns nothing.
"""

from dataclasses import replace

import pytest
import torch

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.experiments.classify.common import energy, examples, improbability
from gradlogp.experiments.classify.methods import METHODS
from gradlogp.experiments.classify.summary import summary
from gradlogp.harness.recipe import Target
from gradlogp.harness.trial import Context, items

DIGITS = Context(data.load("digits"))


def rows(name, folder, **changes):
    made = METHODS[name](Target.of(DIGITS.data), "quick", 0)
    run = replace(made, tasks=("3v5",), ood_examples=50, **changes).into(folder, DIGITS, Silent())
    run.close()
    return {(row["metric"], *row["axes"].values()): row["value"] for row in run.results()}


def test_tasks_have_their_classes():
    pair = examples(DIGITS.data.test, "3v5")
    whole = examples(DIGITS.data.test, "parity")
    labels = DIGITS.data.test.labels
    assert len(pair.x) == int(((labels == 3) | (labels == 5)).sum()) and set(pair.y.tolist()) == {
        0,
        1,
    }
    assert torch.equal(whole.y, labels % 2)


@pytest.mark.parametrize("task", ["3v11", "3v3", "3", "even"])
def test_a_task_that_does_not_exist_gets_one_clear_line(task):
    with pytest.raises(UserError, match=f"a task is parity or a pair .* got '{task}'"):
        examples(DIGITS.data.test, task)


def test_a_singular_covariance_is_passed_over_for_one_with_a_ridge(tmp_path):
    assert rows("qda", tmp_path)["accuracy", "3v5"] > 0.9


def test_a_linear_energy_is_logistic_regression(tmp_path):
    mine = rows("linear_energy", tmp_path / "a")
    theirs = rows("logistic_regression", tmp_path / "b")
    assert mine["from_logistic", "3v5"] <= 1e-6
    assert (
        mine["nll", "3v5"] == pytest.approx(theirs["nll", "3v5"], abs=1e-4)
        and mine["accuracy", "3v5"] == theirs["accuracy", "3v5"]
    )


def test_a_quadratic_energy_and_networks_learn_and_the_bare_loss_does_not(tmp_path):
    torch.set_num_threads(1)
    assert rows("quadratic_energy", tmp_path / "q", rank=10)["accuracy", "3v5"] > 0.95
    taught, let_fall = (
        rows(name, tmp_path / name, epochs=15.0, batch=16)
        for name in ("mlp_hinge", "mlp_energy_loss")
    )
    assert taught["accuracy", "3v5"] > 0.95
    assert let_fall["contrast", "3v5"] < 0.5 * taught["contrast", "3v5"]


def test_jem_leaves_rows_and_items(tmp_path):
    found = rows("jem", tmp_path / "jem", epochs=0.2, batch=16)
    assert {
        ("accuracy", "3v5"),
        ("ece", "3v5"),
        ("auroc", "noise", "energy"),
        ("auroc", "noise", "probability"),
    } <= found.keys()
    right = items(tmp_path / "jem").at("right", {"task": "3v5"})
    assert len(right) == len(examples(DIGITS.data.test, "3v5").y)


def test_methods_are_tested_in_pairs_and_drawn(tmp_path):
    for name in ("linear_energy", "qda"):
        rows(name, tmp_path / name)
    runs = {name: [tmp_path / name] for name in ("linear_energy", "qda")}
    [found] = summary(tmp_path, runs)
    assert (found["method"], found["metric"]) == ("qda", "p") and 0 < found["value"] <= 1
    assert found["axes"] == {"against": "linear_energy", "task": "3v5"}
    assert {path.name for path in (tmp_path / "samples").glob("*.png")} == {
        "figure-errors.png",
        "figure-out-of-distribution.png",
    }


def test_scores_by_hand():
    logits = torch.log(torch.tensor([[1.0, 3.0]]))
    assert energy(logits).item() == pytest.approx(-1.3862943611, abs=1e-6)
    assert improbability(logits).item() == pytest.approx(0.25)

"""Energies as classifiers, on the small digits: a linear one is logistic regression, a bare energy
loss learns nothing.
"""

from dataclasses import replace

import pytest
import torch

from gradlogp import data
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.core.random import seeded
from gradlogp.experiments.ebm_classify import (
    TRIALS,
    Principal,
    difference,
    doubt,
    energy_of,
    fit_convex,
    take,
)
from gradlogp.experiments.trial import Context, items
from gradlogp.objectives import MarginLoss

DIGITS = Context(data.load("digits"))


def rows(name, folder, **changes):
    run = replace(TRIALS[name]("digits", "quick", 0), tasks=("3v5",), strange=50, **changes).into(
        folder, DIGITS, Silent()
    )
    run.close()
    return {row["metric"]: row["value"] for row in run.results()}


def test_tasks_have_their_classes():
    pair = take(DIGITS.data.test, "3v5")
    whole = take(DIGITS.data.test, "parity")
    labels = DIGITS.data.test.labels
    assert len(pair.x) == int(((labels == 3) | (labels == 5)).sum()) and set(pair.y.tolist()) == {
        0,
        1,
    }
    assert torch.equal(whole.y, labels % 2)


@pytest.mark.parametrize("task", ["3v11", "3v3", "3", "even"])
def test_a_task_that_does_not_exist_gets_one_clear_line(task):
    with pytest.raises(UserError, match=f"a task is parity or a pair .* got '{task}'"):
        take(DIGITS.data.test, task)


def test_a_singular_covariance_is_passed_over_for_one_with_a_ridge(tmp_path):
    assert rows("qda", tmp_path)["accuracy 3v5"] > 0.9


def test_a_linear_energy_is_logistic_regression(tmp_path):
    mine = rows("linear_energy", tmp_path / "a")
    theirs = rows("logistic_regression", tmp_path / "b")
    assert mine["from_logistic 3v5"] <= 1e-6
    assert (
        mine["nll 3v5"] == pytest.approx(theirs["nll 3v5"], abs=1e-4)
        and mine["accuracy 3v5"] == theirs["accuracy 3v5"]
    )


def test_a_convex_fit_ends_where_its_gradient_is_zero_wherever_it_begins():
    """X^T (p - y) / n + decay w = 0, the bias not decayed."""
    x = torch.randn(300, 6, generator=seeded(0), dtype=torch.float64)
    y = torch.arange(300) % 2
    x[:, 0] += 3 * y
    for decay in (1e-4, 1e-1):
        ends = [
            difference(fit_convex(x, y, decay, begin))
            for begin in (None, torch.full((7,), -0.3, dtype=torch.float64))
        ]
        for w in ends:
            gap = (x @ w[:-1] + w[-1]).sigmoid() - y
            assert (
                x.T @ gap / 300 + decay * w[:-1]
            ).abs().max() < 1e-10 and gap.mean().abs() < 1e-10
        torch.testing.assert_close(*ends, rtol=0, atol=1e-6)


def test_a_quadratic_energy_and_networks_learn_and_the_bare_loss_does_not(tmp_path):
    torch.set_num_threads(1)
    assert rows("quadratic_energy", tmp_path / "q", rank=10)["accuracy 3v5"] > 0.95
    taught, let_fall = (
        rows(name, tmp_path / name, epochs=15.0, batch=16)
        for name in ("mlp_hinge", "mlp_energy_loss")
    )
    assert taught["accuracy 3v5"] > 0.95
    assert let_fall["contrast 3v5"] < 0.5 * taught["contrast 3v5"]


def test_jem_leaves_rows_and_items(tmp_path):
    found = rows("jem", tmp_path / "jem", epochs=0.2, batch=16)
    assert {
        "accuracy 3v5",
        "ece 3v5",
        "auroc noise by energy",
        "auroc noise by probability",
    } <= found.keys()
    assert len(items(tmp_path / "jem")["right 3v5"]) == len(take(DIGITS.data.test, "3v5").y)


def test_principal_components_have_unit_variance():
    x = DIGITS.data.train.scaled()
    z = Principal(x, 5, squares=True)(x)
    assert z.shape[1] == 5 + 15
    torch.testing.assert_close(
        z[:, :5].T.cov(), torch.eye(5, dtype=torch.float64), atol=1e-9, rtol=0
    )


def test_scores_of_strangers_by_hand():
    logits = torch.log(torch.tensor([[1.0, 3.0]]))
    assert energy_of(logits).item() == pytest.approx(-1.3862943611, abs=1e-6) and doubt(
        logits
    ).item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("perceptron", [0.0, 1.5]),
        ("hinge", [0.0, 2.5]),
        ("square_square", [1.0, 6.25]),
        ("energy", [-1.0, 2.5]),
    ],
)
def test_margin_losses_by_hand(kind, value):
    """E(x, y): right class -1 against 2; right class 2.5 against 1. Margin 1."""
    energies = torch.tensor([[-1.0, 2.0], [1.0, 2.5]])
    loss = MarginLoss(kind)(
        lambda x: -energies, Batch(torch.zeros(2, 1), torch.tensor([0, 1])), seeded(0)
    )
    torch.testing.assert_close(loss.value, torch.tensor(value))

"""The losses of table 1 of LeCun et al. (2006), by hand: the rival is the *wrong* class of lowest
energy.
"""

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models import MLPEnergy
from gradlogp.objectives import CrossEntropy, MarginLoss
from gradlogp.objectives.classification import OfJointEnergy

ENERGIES = torch.tensor(
    [[0.2, 0.5, 3.0], [2.0, 1.5, 0.1]]
)  # the first right by .3, the second wrong by 1.4
BATCH = Batch(torch.zeros(2, 1), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("perceptron", [0.0, 1.4]),
        ("hinge", [0.7, 2.4]),
        ("square_square", [0.04 + 0.25, 2.25 + 0.81]),
        ("energy", [0.2, 1.5]),
    ],
)
def test_a_margin_loss_is_what_the_table_says(kind, values):
    loss = MarginLoss(kind, margin=1.0)(lambda x: -ENERGIES, BATCH, seeded(0))
    torch.testing.assert_close(loss.value, torch.tensor(values))
    assert float(loss.info["accuracy"]) == 0.5 and float(loss.info["gap"]) == pytest.approx(
        (0.3 - 1.4) / 2
    )


def test_cross_entropy_is_the_negative_log_of_the_gibbs_conditional():
    loss = CrossEntropy()(lambda x: -ENERGIES, BATCH, seeded(0))
    torch.testing.assert_close(
        loss.value, torch.stack([ENERGIES[0, 0], ENERGIES[1, 1]]) + (-ENERGIES).logsumexp(1)
    )


def test_every_example_needs_a_class():
    for objective in (CrossEntropy(), MarginLoss()):
        with pytest.raises(
            ValueError, match="a class for every example, but the batch has no `cond`"
        ):
            objective(lambda x: -ENERGIES, Batch(BATCH.x), seeded(0))


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


def test_a_joint_energy_is_measured_by_its_logits():
    model = MLPEnergy(1, (4,), classes=2)
    found = OfJointEnergy(CrossEntropy())(model, BATCH, seeded(0)).value
    torch.testing.assert_close(found, CrossEntropy()(model.logits, BATCH, seeded(0)).value)

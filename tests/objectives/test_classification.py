"""The losses of table 1 of LeCun et al. (2006), by hand: the rival is the *wrong* class of lowest
energy.
"""

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.objectives import CrossEntropy, MarginLoss

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

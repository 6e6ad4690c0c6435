import pytest
import torch

from gradlogp.core.fields import Score
from gradlogp.core.kernel import check_state, run
from gradlogp.core.random import seeded
from gradlogp.samplers import Langevin

AWAY = Score(lambda x: 1e30 * x)


@pytest.mark.parametrize(("x", "message"), [
    (torch.zeros(3), r"expected a state of shape \[B, \*shape\]"),
    (torch.zeros(3, 2, dtype=torch.long), "floating point, got .* in torch.int64"),
    (torch.tensor([[0.0, 1.0], [float("nan"), 0.0], [0.0, float("inf")]]), "but 2 of 3 examples are NaN or infinite at the start"),
])
def test_a_start_that_is_no_state_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        run(Langevin(0.1), AWAY, x, 1, seeded(0))


def test_chains_that_diverge_are_an_error_unless_another_watches():
    x = torch.ones(4, 2)
    with pytest.raises(ValueError, match="4 of 4 examples are NaN or infinite after 5 steps; take a smaller step_size"):
        run(Langevin(0.1), AWAY, x, 5, seeded(0))
    assert not run(Langevin(0.1), AWAY, x, 5, seeded(0), check=False).isfinite().any()
    assert check_state(x) is x
    assert check_state(3e38 * x) is not None  # finite, and too large to sum

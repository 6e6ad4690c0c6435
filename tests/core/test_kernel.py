import pytest
import torch

from gradlogp.core.fields import Energy, Score
from gradlogp.core.kernel import check_state, run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.core.targets import gaussian
from gradlogp.models import MLPEnergy
from gradlogp.samplers import DDIM, AdaptiveFlow, AnnealedLangevin, Heun, Langevin, RePaint

AWAY = Score(lambda x: 1e30 * x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3), r"expected a state of shape \[B, \*shape\]"),
        (torch.zeros(3, 2, dtype=torch.long), "floating point, got torch.int64"),
        (
            torch.tensor([[0.0, 1.0], [float("nan"), 0.0], [0.0, float("inf")]]),
            "but 2 of 3 examples are NaN or infinite at the start",
        ),
    ],
)
def test_a_start_that_is_no_state_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        run(Langevin(0.1), AWAY, x, 1, seeded(0))


def test_chains_that_diverge_are_an_error_unless_another_watches():
    x = torch.ones(4, 2)
    with pytest.raises(
        ValueError,
        match="4 of 4 examples are NaN or infinite after 5 steps; take a smaller step_size",
    ):
        run(Langevin(0.1), AWAY, x, 5, seeded(0))
    assert not run(Langevin(0.1), AWAY, x, 5, seeded(0), check=False).isfinite().any()
    assert check_state(x) is x
    assert check_state(3e38 * x) is not None  # finite, and too large to sum


@pytest.mark.parametrize(
    ("sampler", "field", "message"),
    [
        (
            Langevin(0.1),
            lambda x: x.square().sum(1),
            r"Langevin follows a Field, got function; .* Energy\(function\)",
        ),
        (
            Langevin(0.1),
            MLPEnergy(2),
            r"Langevin follows a Field, got MLPEnergy; a model's is model.field\(cond\)",
        ),
        (DDIM(), Energy(lambda x: x.square().sum(1)), "DDIM follows a NoisyField, got Energy"),
        (
            AnnealedLangevin(VarianceExploding(), 5),
            Score(lambda x: -x),
            "AnnealedLangevin follows a NoisyField, got Score",
        ),
        (AdaptiveFlow(), lambda x, sigma: x, r"NoisyField, got function; .* as_noisy\(denoiser\)"),
    ],
)
def test_a_field_that_the_sampler_cannot_follow_is_refused(sampler, field, message):
    with pytest.raises(ValueError, match=message):
        run(sampler, field, torch.zeros(3, 2), 1, seeded(0))


def test_a_walk_ends_where_its_levels_do():
    painter = RePaint(DDIM(levels=5), torch.zeros(2), torch.tensor([True, False]))
    for sampler in (
        DDIM(levels=5),
        Heun(levels=5),
        AnnealedLangevin(VarianceExploding(), 4),
        painter,
    ):
        name, steps = type(sampler).__name__, sampler.steps
        run(sampler, gaussian(), torch.zeros(3, 2), steps, seeded(0))
        with pytest.raises(
            ValueError,
            match=f"this {name} ends after {steps} steps, got {steps + 1}; give it more levels",
        ):
            run(sampler, gaussian(), torch.zeros(3, 2), steps + 1, seeded(0))

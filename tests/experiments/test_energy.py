"""The recipes of energies: rivals spend as much as the method."""

import pytest

from gradlogp.experiments import EXPERIMENTS


def evaluations(recipe):
    return recipe.training.steps * recipe.training.batch * recipe.evaluations_per_example


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
@pytest.mark.parametrize("preset", ["quick", "full", "gpu"])
def test_long_chains_spend_the_evaluations_of_the_buffer_on_five_times_the_steps(dataset, preset):
    buffered, short, long = (EXPERIMENTS[name](dataset, preset, 0) for name in ("ebm", "ebm_no_buffer", "ebm_long_chains"))
    assert long.buffer is None and (buffered.chain_steps, short.chain_steps, long.chain_steps) == (20, 20, 100)
    assert (buffered.evaluations_per_example, long.evaluations_per_example) == (22, 102)
    assert evaluations(short) == evaluations(buffered)
    assert evaluations(long) / evaluations(buffered) == pytest.approx(1, abs=0.005)
    assert {long.chain_steps, *short.evaluation.steps} == set(long.evaluation.steps)
    assert long.generate_steps == buffered.generate_steps

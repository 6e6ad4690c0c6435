"""A compiled field is the same field: the same numbers, for changed weights too, and gradients
where they are to flow.
"""

import shutil

import pytest
import torch

from gradlogp.core.compiled import Compiled, compiled
from gradlogp.core.fields import Energy, Scaled, Score, Sum
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.models import MLPEnergy
from gradlogp.samplers import MALA, Langevin

compiles = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler"
)


@pytest.mark.slow
@compiles
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_energy_gives_the_same_numbers():
    torch.manual_seed(0)
    model, x = MLPEnergy(2, (16, 16)), torch.randn(8, 2)
    plain, fast = Energy(model), compiled(Energy(model))
    for _ in range(2):
        with torch.no_grad():
            for ours, theirs in zip(
                fast.energy_and_score(x), plain.energy_and_score(x), strict=True
            ):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
            for p in model.parameters():
                p.mul_(1.5)  # as training does, in place
    for sampler in (Langevin(0.01), MALA(0.01)):
        ours, theirs = (run(sampler, field, x, 5, seeded(0)) for field in (fast, plain))
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_where_gradients_are_to_flow_the_field_itself_answers():
    """Score matching differentiates the score in the weights; compiled functions are not
    differentiated twice.
    """
    model, x = MLPEnergy(2, (8,)), torch.randn(4, 2)
    called = []
    field = Compiled(Energy(model), lambda x: called.append(x))
    field.score(x).square().sum().backward()
    assert not called and model.trunk[1].weight.grad.abs().max() > 0
    with torch.no_grad():
        assert field.energy_and_score(x) is None and len(called) == 1


def test_what_is_compiled_has_an_energy_where_the_field_has_one():
    energy = Energy(lambda x: x.square().sum(1))
    assert compiled(Sum((energy, Scaled(energy, 2.0)))).has_energy
    assert not compiled(Score(lambda x: -x)).has_energy  # compiled on its first call only

"""A compiled field is the same field: the same numbers, for changed weights too, and gradients
where they are to flow.
"""

import shutil
from functools import partial

import pytest
import torch

from gradlogp.core.compiled import Compiled, Traced, compiled
from gradlogp.core.fields import Energy, Scaled, Score, Sum
from gradlogp.core.kernel import run
from gradlogp.core.random import from_seed, seeded
from gradlogp.models import MLPEnergy
from gradlogp.samplers import HMC, MALA, NUTS, Langevin, nuts

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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sampler", [HMC(0.1, 3, jitter=0.2, adapt=2), NUTS(0.2, max_depth=3)])
def test_a_compiled_transition_is_the_transition(sampler, monkeypatch):
    """Traced as for a compiler, and then interpreted, which takes seconds; the last doubling of
    NUTS is of two blocks.
    """
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(nuts, "LEAVES", 2)
    model, x = from_seed(0, lambda: MLPEnergy(2, (8,))), torch.randn(6, 2, generator=seeded("x"))
    field = Energy(lambda x: model(x) + x.square().sum(1) / 8)
    fast = compiled(field)
    found = [_ended(sampler, f, x) for f in (fast, field)]
    assert any(key[0] is not Traced.energy_and_score for key in fast.programs)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def _ended(sampler, field, x):
    """Where three steps end, and what they said of themselves."""
    said = []
    end = run(sampler, field, x, 3, seeded(0), lambda i, state, info: said.append(info))
    return [end, *(number.float() for info in said for number in info)]


def test_blocks_make_the_tree_that_leaves_make(monkeypatch):
    """Half the block of a compiled field, in place of one leaf."""
    field, x = Energy(lambda x: (x.square() * 3).sum(1)), torch.randn(9, 3, generator=seeded("x"))
    sampler, traced = NUTS(0.05, max_depth=6), Traced(field)
    leaves = _ended(sampler, traced, x)
    monkeypatch.setattr(nuts, "LEAVES", 4)
    monkeypatch.setattr(Compiled, "program", lambda self, f, *c: partial(f, traced, *c))
    for ours, theirs in zip(_ended(sampler, Compiled(field), x), leaves, strict=True):
        assert torch.equal(ours, theirs)


def test_where_gradients_are_to_flow_the_field_itself_answers():
    """Score matching differentiates the score in the weights; compiled functions are not
    differentiated twice.
    """
    model, x = MLPEnergy(2, (8,)), torch.randn(4, 2)
    called = []
    field = Compiled(Energy(model), {(Traced.energy_and_score,): lambda x: called.append(x)})
    field.score(x).square().sum().backward()
    assert not called and model.trunk[1].weight.grad.abs().max() > 0
    with torch.no_grad():
        assert field.energy_and_score(x) is None and len(called) == 1


def test_what_is_compiled_has_an_energy_where_the_field_has_one():
    energy = Energy(lambda x: x.square().sum(1))
    assert compiled(Sum((energy, Scaled(energy, 2.0)))).has_energy
    assert not compiled(Score(lambda x: -x)).has_energy  # compiled on its first call only

"""Contrastive divergence takes any sampler: of densities, of two layers, of discrete states."""

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models import BernoulliRBM, ConvEnergy, GaussianRBM, MLPEnergy
from gradlogp.objectives import (
    ContrastiveDivergence,
    FromBuffer,
    FromData,
    FromNoise,
    FromProposal,
    ReplayBuffer,
    persistent_contrastive_divergence,
)
from gradlogp.samplers import (
    HMC,
    MALA,
    NUTS,
    BlockGibbs,
    Gibbs,
    GibbsLangevin,
    GibbsWithGradients,
    Langevin,
    ParallelTempering,
    PreconditionedLangevin,
    TemperedTransitions,
    Underdamped,
)

SHAPE, B = (1, 4, 4), 12
REAL = (lambda: ConvEnergy(SHAPE, (4,), 8), lambda x, g: x.normal_(generator=g))
BINARY = (lambda: BernoulliRBM(SHAPE, 6, 0.3), lambda x, g: x.bernoulli_(0.5, generator=g))
SPINS = (lambda: MLPEnergy(16, (8,)), BINARY[1])
CASES = {
    "langevin": (Langevin(0.1), REAL),
    "preconditioned": (PreconditionedLangevin(0.1, adapt=2), REAL),
    "mala": (MALA(0.1), REAL),
    "mala, adapting": (MALA(0.1, adapt=2), REAL),
    "hmc": (HMC(0.3, 3), REAL),
    "nuts": (NUTS(0.3, max_depth=3), REAL),
    "underdamped": (Underdamped(0.3), REAL),
    "parallel tempering": (ParallelTempering(HMC(0.3, 2), (1.0, 2.0)), REAL),
    "tempered transitions": (TemperedTransitions(MALA(0.1), (1.0, 2.0)), REAL),
    "block gibbs": (BlockGibbs(), BINARY),
    "gibbs": (Gibbs(), SPINS),
    "gibbs with gradients": (GibbsWithGradients(), SPINS),
    "gibbs-langevin": (GibbsLangevin(0.3, 2), (lambda: GaussianRBM(SHAPE, 6, 0.3), REAL[1])),
    "block gibbs, real": (BlockGibbs(), (lambda: GaussianRBM(SHAPE, 6, 0.3), REAL[1])),
}
STARTS = {
    "data": lambda noise: FromData(),
    "noise": FromNoise,
    "buffer": lambda noise: FromBuffer(ReplayBuffer(2 * B, SHAPE, noise, seeded(0), 0.1)),
    "proposal": lambda noise: FromProposal(lambda batch, g: batch.x.flip(0)),
}


def build(name):
    sampler, (make, noise) = CASES[name]
    torch.manual_seed(0)
    return sampler, make(), noise, Batch(noise(torch.empty(B, *SHAPE), seeded(1)))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", CASES)
def test_from_every_start_the_weights_learn_and_the_generator_decides(name, start):
    losses = []
    for _ in range(2):
        sampler, model, noise, batch = build(name)
        losses.append(
            ContrastiveDivergence(sampler, STARTS[start](noise), 3)(model, batch, seeded(2))
        )
    assert torch.equal(losses[0].value, losses[1].value) and losses[0].value.shape == (B,)
    losses[1].value.mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", CASES)
def test_persistent_chains_go_on_where_they_were(name):
    sampler, model, _, batch = build(name)
    objective = persistent_contrastive_divergence(sampler, batch.x, 2)
    objective(model, batch, seeded(2))
    moved = objective.state()["x"].clone()
    objective(model, batch, seeded(3))
    assert not torch.equal(moved, batch.x) and not torch.equal(objective.state()["x"], moved)
    assert not moved.requires_grad


def test_a_machine_keeps_its_states_binary():
    sampler, model, _, batch = build("block gibbs")
    objective = persistent_contrastive_divergence(sampler, batch.x)
    objective(model, batch, seeded(2))
    assert set(objective.state()["x"].unique().tolist()) <= {0.0, 1.0}


def test_the_regulariser_is_the_sum_of_both_squares():
    flat = lambda x: 3 + 0 * x.sum(1)  # 9 at the data and 9 at the chains
    loss = ContrastiveDivergence(Langevin(0.1), FromData(), 2, energy_l2=0.5)(
        flat, Batch(torch.randn(B, 2)), seeded(0)
    )
    assert torch.equal(loss.value, torch.full((B,), 9.0)) and float(loss.info["energy_scale"]) == 3

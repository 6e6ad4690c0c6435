"""The price of a loss is what it asks of the network."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.random import normal_, seeded
from gradlogp.experiments import RECIPES
from gradlogp.experiments.recipes.energy_losses import (
    ByDenoising,
    BySlices,
    Chains,
    EnergyLoss,
)
from gradlogp.models import ConvEnergy
from gradlogp.objectives.starts import FromNoise
from gradlogp.samplers import Langevin
from tests.targets import DIGITS

STEPS, BATCH = 3, 4
MORE = {"projections": 2, "copies": 2, "candidates": 5}


@pytest.mark.parametrize("kind", get_args(EnergyLoss))
def test_evaluations_are_the_rows_that_the_network_sees_for_each_example(kind):
    """Of sliced score matching it sees each once, and each projection goes back through it."""
    loss = kind(**{k: v for k, v in MORE.items() if k in kind.__dataclass_fields__})
    chains = Chains(Langevin(0.1, 0.01), FromNoise(normal_), STEPS, 0.1, 0.005, None)
    torch.manual_seed(0)
    model, rows = ConvEnergy((1, 8, 8), (4, 8), 8), []
    model.trunk.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    loss.build(chains)(model, Batch(torch.rand(BATCH, 1, 8, 8), None), seeded(0))
    backward = loss.projections if kind is BySlices else 0
    assert sum(rows) / BATCH + backward == loss.evaluations(STEPS)


def test_a_loss_without_chains_trains_no_number_of_steps():
    """So samples after so many are none to judge its health by."""
    recipe = RECIPES["ebm"](DIGITS)
    assert recipe.trained_steps == (recipe.chain_steps,)
    assert replace(recipe, objective=ByDenoising()).trained_steps == ()

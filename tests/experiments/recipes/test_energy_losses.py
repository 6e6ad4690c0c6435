"""The price of a loss is what it asks of the network."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.random import normal_, seeded
from gradlogp.experiments import RECIPES
from gradlogp.experiments.recipes.energy_losses import (
    ByDenoising,
    ByDivergence,
    ByEnergyMatching,
    BySlices,
    Chains,
    EnergyLoss,
)
from gradlogp.harness import override
from gradlogp.harness.recipe import DataSpec
from gradlogp.models import ConvEnergy
from gradlogp.objectives.starts import FromNoise
from gradlogp.samplers import Langevin
from tests.targets import DIGITS, MNIST

STEPS, BATCH = 3, 4
MORE = {"projections": 2, "copies": 2, "candidates": 5, "warm_up": 0.0, "flow": 0.0}


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


@pytest.mark.parametrize(("kind", "share"), [(ByDivergence, "warm_up"), (ByEnergyMatching, "flow")])
def test_what_comes_before_chains_has_its_share_of_the_updates(kind, share):
    """The chains see rows of the network, and denoising and flows see one for each example."""
    chains = Chains(Langevin(0.1, 0.01), FromNoise(normal_), STEPS, 0.1, 0.005, None, updates=8)
    torch.manual_seed(0)
    model, rows = ConvEnergy((1, 8, 8), (4, 8), 8), []
    model.trunk.register_forward_hook(lambda module, args, out: rows.append(len(args[0])))
    loss = kind(**{share: 0.25}).build(chains)
    spent = []
    for _ in range(4):
        loss(model, Batch(torch.rand(BATCH, 1, 8, 8), None), seeded(0))
        spent.append(sum(rows) / BATCH)
        rows.clear()
    after = kind(**{share: 0.0}).evaluations(STEPS)
    assert spent == [1, 1, after, after]


def test_many_levels_are_learned_by_one_slope_at_the_scale_of_its_base():
    """E = |x|^2 / 2 b^2 has the denoiser D = 0 whatever the level, so that the loss is |x0|^2 / 2
    sigma^2; twice the base of the same energy leaves D = -3 x.
    """
    x0 = torch.randn(6, 3, generator=seeded(1), dtype=torch.float64)
    chains = Chains(Langevin(0.1), FromNoise(normal_), STEPS, 0.0, 0.0, None)
    loss = ByDenoising(sigma=0.4, width=0.8, base=2.0).build(chains)
    quarter = Energy(lambda x: x.square().sum(1) / 8)
    sigma = loss.levels.sample(len(x0), seeded(3), x0)
    found = loss(quarter, Batch(x0), seeded(3)).value
    torch.testing.assert_close(found, x0.square().sum(1) / (2 * sigma**2), rtol=1e-10, atol=0)
    twice = ByDenoising(sigma=0.4, width=0.8, base=4.0).build(chains)(quarter, Batch(x0), seeded(3))
    assert (twice.value > found).all()
    with pytest.raises(ValueError, match="base=2 is for a field that is not told the level"):
        loss(Denoiser(lambda x, sigma: x), Batch(x0), seeded(3))


@pytest.mark.parametrize("kind", ["energy_matching", "equilibrium_matching"])
def test_losses_that_lead_from_noise_begin_at_normal_noise_and_at_no_mixture(kind):
    words = [f"objective.kind={kind}"]
    spec = DataSpec((1, 8, 8), (1,), 1.0)
    begun = override(RECIPES["ebm"](MNIST), words)
    with pytest.raises(UserError, match=r"at no mixture: set proposal\.components=0, got 400"):
        begun.accept(spec, lambda: torch.zeros(1))
    recipe = override(RECIPES["ebm"](DIGITS), words)
    recipe.accept(spec, lambda: torch.zeros(1))
    start = recipe.sampling(recipe.model(spec), spec).prior(torch.empty(500, 1, 8, 8), seeded(0))
    assert abs(start.std() - 1) < 4 / (2 * start.numel()) ** 0.5


def test_a_loss_without_chains_trains_no_number_of_steps():
    """So samples after so many are none to judge its health by."""
    recipe = RECIPES["ebm"](DIGITS)
    assert recipe.trained_steps == (recipe.chain_steps,)
    assert replace(recipe, objective=ByDenoising()).trained_steps == ()


def test_energy_matching_begins_with_its_flow_whatever_the_kind_before_it_said():
    """Contrastive divergence has no warm-up by default; that is no word on energy matching."""
    changed = override(
        RECIPES["ebm"](MNIST), ["objective.kind=energy_matching", "proposal.components=0"]
    )
    assert changed.objective.flow == 0.8
    assert changed.evaluations_per_example == round(0.8 + 0.2 * (1 + changed.chain_steps + 2))
    with pytest.raises(UserError, match="flow is a share"):
        override(changed, ["objective.flow=1.5"])

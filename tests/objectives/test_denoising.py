"""The levels' uncertainty is learned beside the model, and resumed with it; settings become JSON
and come back.
"""

import json

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.noise import PROCESSES
from gradlogp.core.random import seeded
from gradlogp.experiments import RECIPES
from gradlogp.harness import override, to_dict
from gradlogp.harness.settings import from_dict
from gradlogp.models import mlp_noisy_energy, unet_score
from gradlogp.objectives import (
    DenoisingScoreMatching,
    DiscreteDiffusion,
    FlowMatching,
    FromProcess,
    Ladder,
    LogNormal,
    Uncertainty,
    VariationalBound,
    ddpm_simple,
)
from gradlogp.training.learner import Learner, Training
from tests.targets import DIGITS

BATCH = Batch(torch.randn(8, 1, 8, 8, generator=seeded(0)))


def learner():
    torch.manual_seed(0)
    objective = DenoisingScoreMatching(LogNormal(), "edm", 0.5, uncertainty=Uncertainty())
    return Learner(
        unet_score((1, 8, 8), 0.5, (8,), 1, 1),
        objective,
        Training(8 * 20, 8, 1e-2, warmup=1),
        seeded(1),
    )


def test_uncertainty_is_learned_and_resumed():
    whole = learner()
    for _ in range(3):
        whole.update(BATCH)
    kept = {k: v.clone() for k, v in whole.tensors().items()}
    meta = whole.meta()
    assert whole.objective.uncertainty.values.count_nonzero() > 3
    resumed = learner()
    resumed.load(kept, meta)
    for one in (whole, resumed):
        one.update(BATCH)
    assert torch.equal(*(one.objective.uncertainty.values for one in (whole, resumed)))
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    )


def test_uncertainty_is_straight_between_its_knots():
    u = Uncertainty(knots=4, low=1e-3, high=1.0)
    u.values.data = torch.tensor([0.0, 1.0, -1.0, 4.0])
    sigma = torch.tensor([1e-9, 1e-3, 10**-2.5, 1e-2, 10**-1.75, 1e-1, 1.0, 50.0])
    assert torch.allclose(
        u(sigma), torch.tensor([0.0, 0.0, 0.5, 1.0, 0.5, -1.0, 4.0, 4.0]), atol=1e-5
    )


@pytest.mark.parametrize("process", PROCESSES)
def test_levels_and_weights_become_json_and_come_back(process):
    recipe = RECIPES["ncsn"](DIGITS, "quick", 0)
    for levels in (
        FromProcess(PROCESSES[process](), True),
        Ladder(PROCESSES[process](), 7),
        Ladder(levels=(3.0, 1.0)),
    ):
        settings = from_dict(type(recipe), to_dict(recipe) | {"levels": to_dict(levels)})
        settings = override(settings, ["weight=min_snr", "uncertainty=true"])
        assert settings.levels == levels and settings.weight == "min_snr"
        assert from_dict(type(recipe), json.loads(json.dumps(to_dict(settings)))) == settings


def test_likelihood_needs_levels_with_a_density():
    with pytest.raises(
        UserError, match="needs a distribution of levels with a density, got Single"
    ):
        override(RECIPES["ncsn_single"](DIGITS, "quick", 0), ["weight=likelihood"])


LEVELLED = {
    "denoising": DenoisingScoreMatching(LogNormal(), "edm", 0.5),
    "simple": ddpm_simple((3.0, 1.0, 0.3)),
    "bound": VariationalBound(DiscreteDiffusion((3.0, 1.0, 0.3))),
    "flow": FlowMatching(),
}


@pytest.mark.parametrize("objective", LEVELLED.values(), ids=LEVELLED)
@pytest.mark.parametrize("shape", [(3,), (1, 8, 8), (1, 4, 4, 4), (1, 16)])
def test_energies_at_every_level_learn_by_every_loss_of_levels(objective, shape):
    model = mlp_noisy_energy(shape, 0.5, 16, 1)
    value = objective(model, Batch(torch.randn(5, *shape, generator=seeded(0))), seeded(1)).value
    value.mean().backward()
    assert value.shape == (5,) and any(
        p.grad is not None and p.grad.any() for p in model.parameters()
    )

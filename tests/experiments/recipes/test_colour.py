"""What recipes take on CIFAR-10: trunks of their own, and budgets that grow with the preset."""

import pytest
import torch

from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness.recipe import DataSpec
from tests.targets import CIFAR10, MNIST

SPEC = DataSpec((3, 32, 32), (5000,) * 10, 0.5)
NAMES = ("ebm", "ncsn", "ncsn_class", "vae", "gan", "wgan_gp", "ddpm", "ddpm_vlb")


@pytest.mark.parametrize("name", NAMES)
def test_budgets_grow_with_the_preset(name):
    images = [RECIPES[name](CIFAR10, p, 0).training.images for p in ("quick", "full", "gpu")]
    assert images[0] < images[1] < images[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_pictures_in_colour_draws_them(name):
    recipe = RECIPES[name](CIFAR10, "quick", 0)
    model = recipe.model(SPEC).eval()
    how = recipe.sampling(model, SPEC)
    cond = torch.arange(2) if recipe.conditional else None
    x = how.prior(torch.empty(2, *how.shape), torch.Generator().manual_seed(0))
    state = how.sampler.init(how.field(cond), x)
    state, _ = how.sampler.step(how.field(cond), state, torch.Generator().manual_seed(0))
    drawn = how.finish(state.x)
    assert drawn.shape == (2, 3, 32, 32) and bool(drawn.isfinite().all())


def test_noise_begins_above_the_widest_direction_of_the_data():
    """The first principal component of CIFAR-10 on [-1, 1] has a standard deviation of some 15."""
    assert RECIPES["ncsn_from_noise"](CIFAR10, "quick", 0).sampler.ladder[0] == pytest.approx(50)
    assert RECIPES["ncsn_from_noise"](MNIST, "quick", 0).sampler.ladder[0] == pytest.approx(10)

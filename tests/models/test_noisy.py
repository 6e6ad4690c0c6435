"""Noise-conditional energies: at the start they are a Gaussian's, and every level has an energy
whose gradient is the score.
"""

import pytest
import torch
from torch import nn

from gradlogp.core.calculus import divergence
from gradlogp.core.fields import Energy, NoisyEnergy, as_noisy
from gradlogp.core.targets import gaussian
from gradlogp.models import Preconditioned, conv_noisy_energy, mlp_noisy_energy, unet_noisy_energy
from gradlogp.models.nets.mlp import LevelMLP
from gradlogp.models.noisy import PreconditionedEnergy, Reconstruction

SHAPE = (1, 6, 6)
MODELS = {
    "mlp": lambda: mlp_noisy_energy(SHAPE, 0.6, 8, 2),
    "conv": lambda: conv_noisy_energy(SHAPE, 0.6, (4, 8), 8),
    "unet": lambda: unet_noisy_energy(SHAPE, 0.6, (8,), 1),
}


def made(name, stir=0.0):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(stir * torch.randn_like(p))
    return model


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_a_new_one_is_the_gaussian_of_the_datas_scale_at_every_level(name):
    field = made(name).field()
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    for sigma in (0.01, 1.0, 30.0):
        torch.testing.assert_close(
            field.denoise(x, sigma), 0.36 / (0.36 + sigma**2) * x, rtol=1e-6, atol=1e-8
        )
        torch.testing.assert_close(
            field.at(sigma).score(x), -x / (0.36 + sigma**2), rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("name", MODELS)
def test_the_score_is_the_gradient_of_the_energy_of_its_level_and_gives_the_denoised(name):
    field = made(name, 0.2).field()
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    at = field.at(0.7)
    step = 1e-5 * torch.randn(4, *SHAPE, dtype=torch.float64)
    change = (at.energy(x + step) - at.energy(x - step)) / 2
    torch.testing.assert_close(
        change, -(at.score(x) * step).flatten(1).sum(1), rtol=1e-5, atol=1e-12
    )
    torch.testing.assert_close(
        field.denoise(x, 0.7), x + 0.49 * at.score(x), rtol=1e-10, atol=1e-10
    )
    levels = torch.tensor([0.1, 0.7, 2.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(
        field.denoise(x, levels)[1], field.denoise(x, 0.7)[1], rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("sigma", [0.02, 0.6, 20.0])
def test_its_potential_stands_where_the_network_of_a_score_model_stands(sigma):
    """With phi = <a, x>, grad phi = a: the denoised is that of a preconditioned network which says
    a.
    """
    a = torch.randn(3, dtype=torch.float64)
    energy = PreconditionedEnergy(lambda x, level, cond: x @ a, 0.6).double()
    score = Preconditioned(lambda x, level, cond: a.expand_as(x), 0.6).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(
        energy.field().denoise(x, sigma), score.field().denoise(x, sigma), rtol=1e-10, atol=1e-10
    )


def test_a_reconstruction_is_half_the_square_less_half_the_squared_error():
    net = LevelMLP(3, 8, 1).double()
    nn.init.normal_(net.head.weight)
    x = torch.randn(5, 3, dtype=torch.float64)
    level = torch.zeros(5, dtype=torch.float64)
    expected = (x.square().sum(1) - (x - net(x, level)).square().sum(1)) / 2
    torch.testing.assert_close(Reconstruction(net)(x, level), expected, rtol=1e-10, atol=1e-10)


def test_any_callable_of_x_and_sigma_is_a_noisy_energy():
    """The exact energy of a noised Gaussian, without its score: the denoised is the posterior mean."""
    density = gaussian([1.0, -1.0], [0.5, 2.0])
    field = NoisyEnergy(density.energy)
    x = torch.randn(6, 2, dtype=torch.float64)
    torch.testing.assert_close(
        field.denoise(x, 0.8), density.denoise(x, 0.8), rtol=1e-10, atol=1e-10
    )
    assert isinstance(field.at(0.8), Energy) and as_noisy(field) is field


def test_scores_of_it_can_be_learned_from():
    """The denoised carries a graph to the weights, and to x where it asks for one."""
    model = made("mlp", 0.2)
    x = torch.randn(4, *SHAPE, dtype=torch.float64, requires_grad=True)
    model.field().denoise(x, 0.5).square().sum().backward()
    assert x.grad is not None and all(
        torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None
    )
    assert model.potential.head.weight.grad.abs().max() > 0
    assert divergence(model.field().at(0.5).score, x.detach()[:1]).isfinite().all()


def test_the_potential_of_a_large_picture_is_heard_as_much_as_that_of_a_small_one():
    """Its gradient per entry, for one head: without the gain it falls as 1 / sqrt(entries)."""
    sizes = {}
    for side in (8, 32):
        torch.manual_seed(0)
        potential = conv_noisy_energy((3, side, side), 0.5, (8, 16), 16).double().potential
        nn.init.constant_(potential.head.weight, 1.0)
        x = torch.randn(8, 3, side, side, dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(potential(x, torch.zeros(8).double()).sum(), x)
        sizes[side] = float(found.square().mean().sqrt())
    assert 0.5 < sizes[32] / sizes[8] < 2

import pytest
import torch

from gradlogp.core.calculus import divergence
from gradlogp.models import ConvEnergy, MLPEnergy, Preconditioned, TwoValued, unet_score
from gradlogp.models.nets.patch import fold, unfold
from gradlogp.models.nets.unet import UNet


@pytest.mark.parametrize("sizes", [(8,), (4, 6), (2, 4, 6)])
def test_folding_is_undone_by_unfolding(sizes):
    x = torch.randn(2, 3, *sizes)
    assert torch.equal(unfold(fold(x, 2), 2), x)
    if len(sizes) == 2:
        assert torch.equal(fold(x, 2), torch.nn.functional.pixel_unshuffle(x, 2))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 7), (2, 33), (1, 5, 6, 7), (1, 8, 8)])
def test_a_unet_takes_any_size(shape):
    net = UNet(shape, (8, 16), 1, 2, classes=3)
    assert net(torch.randn(2, *shape), torch.zeros(2), torch.tensor([0, 2])).shape == (2, *shape)
    assert net(torch.randn(2, *shape), torch.zeros(2)).shape == (2, *shape)  # without a class


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (2, 40), (1, 8, 8, 8)])
def test_an_energy_is_one_number_per_example_and_does_not_see_its_neighbours(shape):
    torch.manual_seed(0)
    energy, x = ConvEnergy(shape, (4, 8), 8), torch.randn(3, *shape)
    assert energy(x).shape == (3,)
    torch.testing.assert_close(energy(x)[1:2], energy(x[1:2]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "model", [ConvEnergy((1, 8, 8), (4, 8), 8, classes=5), MLPEnergy(64, (16,), classes=5)]
)
def test_the_marginal_energy_sums_over_the_classes(model):
    x = torch.randn(4, 1, 8, 8)
    joint = torch.stack([model(x, torch.full((4,), c)) for c in range(5)])
    torch.testing.assert_close(model(x), -torch.logsumexp(-joint, 0))


def test_a_condition_without_classes_is_an_error():
    with pytest.raises(ValueError, match="built without classes"):
        MLPEnergy(2)(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long))


def test_preconditioning_is_exact_for_a_gaussian_when_the_network_says_nothing():
    """With F = 0 the denoised x is that of N(0, sigma_data^2): c_skip x; its score is -x / (sigma^2
    + sigma_data^2).
    """
    model = Preconditioned(lambda x, level, cond: torch.zeros_like(x), 0.6).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    for sigma in (0.05, 1.0, 20.0):
        torch.testing.assert_close(
            model.field().at(sigma).score(x), -x / (sigma**2 + 0.6**2), rtol=1e-6, atol=1e-9
        )


def test_the_network_sees_unit_variance_at_every_level():
    seen = {}

    def net(x, level, cond):
        seen["std"] = float(x.std())
        return x

    for sigma in (0.02, 0.6, 20.0):
        x = 0.6 * torch.randn(50_000, 1) + sigma * torch.randn(50_000, 1)
        Preconditioned(net, 0.6)(x, torch.full((50_000,), sigma))
        assert seen["std"] == pytest.approx(1, abs=0.015)


def test_a_new_score_model_is_the_gaussian_one():
    model = unet_score((1, 8, 8), 0.5, (8, 16), 1, 1)
    x = torch.randn(2, 1, 8, 8)
    field = model.field()
    with torch.no_grad():
        torch.testing.assert_close(field.at(1.0).score(x), -x / 1.25, atol=0.05, rtol=0.1)


def test_two_valued_entries_have_the_posterior_mean_of_bayes():
    """Independent entries, 1 with probability p and else -1: F is half their log-odds, and D the
    mean over both values by the densities of the noise.
    """
    p, sigma = torch.tensor([0.02, 0.5, 0.9], dtype=torch.float64), 0.8
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = TwoValued(lambda x, level, cond: p.logit() / 2, 0.5)
    full = p * torch.exp(-((x - 1) ** 2) / (2 * sigma**2))
    empty = (1 - p) * torch.exp(-((x + 1) ** 2) / (2 * sigma**2))
    found = model(x, torch.full((40,), sigma, dtype=torch.float64))
    torch.testing.assert_close(found, (full - empty) / (full + empty), atol=1e-12, rtol=0)


def test_two_valued_entries_are_certain_with_little_noise():
    model = unet_score((1, 4, 4, 4), 0.5, (4,), 1, 2, two_valued=True)
    x = torch.rand(3, 1, 4, 4, 4).round() * 2 - 1
    with torch.no_grad():
        found = model(x + 0.05 * torch.randn_like(x), torch.full((3,), 0.05))
    torch.testing.assert_close(found, x)


def test_one_sigma_per_example():
    with pytest.raises(ValueError, match="one number per example"):
        unet_score((1, 8, 8), 0.5, (8,), 1, 1)(torch.zeros(3, 1, 8, 8), torch.ones(1))


def test_energies_are_smooth():
    """A piecewise linear energy would have no curvature for score matching to see."""
    torch.manual_seed(0)
    energy = MLPEnergy(2, (16,))
    x = torch.randn(6, 2)
    gradient = lambda y: torch.autograd.grad(energy(y).sum(), y, create_graph=True)[0]
    assert (divergence(gradient, x).abs() > 1e-6).all()

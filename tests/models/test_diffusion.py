"""Diffusion models: all predictions of one truth agree, and the learned variance lies between
DDPM's two.
"""

import pytest
import torch

from gradlogp.core.fields import column
from gradlogp.models.diffusion import DiffusionModel, unet_diffusion
from gradlogp.objectives import DiscreteDiffusion

F64 = torch.float64


def standard(predicts):
    """What the best network says on data N(0, 1), where D = x / (1 + l^2): of alpha^2 x, x0; and so
    on.
    """

    def net(xt, time, cond=None):
        level = column((4 * time).exp(), xt)
        alpha = (1 + level**2).rsqrt()
        told = {"x0": alpha * xt, "eps": alpha * level * xt, "v": torch.zeros_like(xt)}
        return told[predicts]

    return net


@pytest.mark.parametrize("predicts", ["x0", "eps", "v"])
def test_every_prediction_of_one_truth_denoises_alike(predicts):
    x = torch.randn(7, 1, 4, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    level = torch.logspace(-2, 2, 7, dtype=F64)
    denoised = DiffusionModel(standard(predicts), predicts)(x, level)
    torch.testing.assert_close(denoised, x / column(1 + level**2, x), rtol=1e-10, atol=1e-10)


def test_the_variance_is_between_the_two_fixed_ones():
    """share 0, 1/2 and 1 of l^2 / (1 + l^2), the variance of x0 given x for data N(0, 1)."""
    x = torch.ones(3, 2, 4, dtype=F64)
    level = torch.tensor([0.1, 1.0, 10.0], dtype=F64)
    for told, share in ((-800.0, 0.0), (0.0, 0.5), (800.0, 1.0)):

        def net(xt, time, cond=None, told=told):
            return torch.cat([torch.zeros_like(xt), torch.full_like(xt, told)], 1)

        _, variance = DiffusionModel(net, "eps", learned=True).field().moments(x, level)
        expected = share * column(level**2 / (1 + level**2), x).expand(x.shape)
        torch.testing.assert_close(variance, expected, rtol=1e-10, atol=1e-10)


def test_the_largest_share_is_the_fixed_large_variance_of_a_chain():
    chain = DiscreteDiffusion((10.0, 3.0, 1.0, 0.3), 1.0)
    level = chain.table[0]
    torch.testing.assert_close(chain.table[3], level**2 / (1 + level**2))


def test_a_network_with_a_variance_has_twice_the_channels_and_one_mean():
    model = unet_diffusion((1, 8, 8), "v", True, (8, 8), 1, 1)
    x, level = torch.randn(2, 1, 8, 8), torch.ones(2)
    mean, variance = model.field().moments(x, level)
    assert mean.shape == variance.shape == x.shape
    torch.testing.assert_close(mean, model(x, level))
    with pytest.raises(ValueError, match="moments"):
        unet_diffusion((1, 8, 8), "v", False, (8, 8), 1, 1).field().moments(x, level)

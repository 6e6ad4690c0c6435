"""Denoising score matching on a Gaussian: the loss at the true score, and nowhere lower."""

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.noise import VarianceExploding
from gradlogp.objectives import DenoisingScoreMatching, Ladder, LogNormal, Single

S, DIM, N = 0.8, 3, 60_000


def shrink(scale: float):
    """The denoiser of N(0, S^2), x S^2 / (S^2 + sigma^2), times `scale`."""
    return lambda x, sigma: scale * x * S**2 / (S**2 + sigma[:, None] ** 2)


def loss(scale: float, sigma: float, weight: str = "sigma2") -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    x0 = S * torch.randn(N, DIM, generator=g, dtype=torch.float64)
    return DenoisingScoreMatching(Single(sigma), weight, S)(shrink(scale), Batch(x0), g).value


@pytest.mark.parametrize("sigma", [0.1, 0.5, 3.0])
def test_the_minimum_of_the_loss(sigma):
    """E = (d/2) lambda s^2 / (sigma^2 (s^2 + sigma^2)), with lambda = sigma^2: (d/2) s^2 / (s^2 + sigma^2)."""
    value = loss(1.0, sigma)
    expected = DIM / 2 * S**2 / (S**2 + sigma**2)
    assert abs((value.mean() - expected) / (value.std() / N**0.5)) < 4


def test_edm_weights_make_every_level_cost_the_same_at_first():
    """With lambda = sigma^2 (sigma^2 + s^2) / s^2 the minimum is d / 2 at every level."""
    for sigma in (0.1, 3.0):
        value = loss(1.0, sigma, "edm")
        assert abs((value.mean() - DIM / 2) / (value.std() / N**0.5)) < 4


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_the_true_score_is_the_minimum(scale):
    assert (loss(scale, 0.5) - loss(1.0, 0.5)).mean() > 0


def test_levels_follow_their_law():
    g = torch.Generator().manual_seed(0)
    x = LogNormal(0.3, 1.2).sample(20_000, g).log()
    assert abs(x.mean() - 0.3) < 1e-3 and abs(x.std() - 1.2) < 1e-3  # stratified: far closer than independent draws
    process = VarianceExploding(0.1, 10.0)
    levels = Ladder(process, 5).sample(1000, g)
    assert sorted(set(levels.tolist())) == pytest.approx(sorted(process.ladder(5)), rel=1e-6)
    assert torch.bincount(levels.unique(return_inverse=True)[1]).tolist() == [200] * 5

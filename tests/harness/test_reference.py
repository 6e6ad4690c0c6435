import torch

from gradlogp.baselines.wiener import PixelGaussian

G = torch.Generator().manual_seed(0)
ROOT = 0.03 * torch.randn(6, 6, generator=G, dtype=torch.float64)
COV = ROOT @ ROOT.T
X = (
    (0.5 + torch.randn(60_000, 6, generator=G, dtype=torch.float64) @ ROOT.T)
    .float()
    .reshape(-1, 1, 2, 3)
)
GAUSSIAN = PixelGaussian.fit(X)


def test_the_fit_draws_the_distribution_that_it_saw():
    drawn = GAUSSIAN.sample(60_000, seed=1).double()
    error = (COV.diag()[:, None] * COV.diag() + COV**2).sqrt() * (
        2 / 60_000
    ) ** 0.5  # of a covariance, twice estimated
    assert ((drawn.T.cov() - COV) / error).abs().max() < 4.5
    assert ((drawn.mean(0) - 0.5) / (COV.diag() * 2 / 60_000).sqrt()).abs().max() < 4


def test_wieners_filter_has_the_error_that_it_must():
    """Mean square error of the posterior mean of N(0, C) in noise sigma: sum_i l_i sigma^2 / (l_i +
    sigma^2).
    """
    sigma, values = 0.05, torch.linalg.eigvalsh(COV)
    noisy = X[:20_000] + sigma * torch.randn(X[:20_000].shape, generator=G)
    each = (GAUSSIAN.restore(noisy, sigma) - X[:20_000]).square().flatten(1).sum(1)
    exact = float((values * sigma**2 / (values + sigma**2)).sum())
    assert abs(float(each.mean()) - exact) / float(each.std() / 20_000**0.5) < 4


def test_the_seed_decides_the_draw():
    first, again, other = (GAUSSIAN.sample(3, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)

"""Scores, energies and diffusions with the data's Gaussian wired in: exact on a Gaussian, and the usual
preconditioning where its covariance is one variance.
"""

import math

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.targets import Gaussian
from gradlogp.models import (
    GaussianEnergy,
    GaussianScore,
    NoisyGaussian,
    Preconditioned,
    PreconditionedEnergy,
    fit_gaussian,
    gaussian_diffusion,
    unet_noisy_energy,
    unet_score,
    with_gaussian,
)
from gradlogp.objectives import DiscreteDiffusion
from gradlogp.tasks.likelihood import variational_bound

SIGMA = torch.tensor([0.1, 0.6, 3.0], dtype=torch.float64)


def net(x, level, cond):
    return torch.sin(x) * level[:, None]


def potential(x, level, cond):
    return -(x.cos().sum(1)) * level


@pytest.fixture
def x():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def fitted():
    """Fitted to examples of a covariance far from one variance, with the exact Gaussian of them."""
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    examples = torch.randn(500, 4, generator=generator, dtype=torch.float64) @ mix + 2
    gaussian = NoisyGaussian((4,), 0.5).double()
    gaussian.fit(examples)
    return gaussian, Gaussian(examples.mean(0), torch.cov(examples.T, correction=0))


def test_without_a_network_it_is_the_gaussian(x, fitted):
    gaussian, exact = fitted
    zero = GaussianScore(lambda x, level, cond: torch.zeros_like(x), gaussian, 0.5).double()
    energy = GaussianEnergy(lambda x, level, cond: 0 * level, gaussian, 0.5).double()
    for i, sigma in enumerate(SIGMA.tolist()):
        one = x[i : i + 1]
        expected = exact.denoise(one, sigma)
        torch.testing.assert_close(zero(one, SIGMA[i : i + 1]), expected, atol=1e-10, rtol=0)
        found = energy(one, SIGMA[i : i + 1])
        torch.testing.assert_close(found, -exact_log_density(exact, one, sigma), atol=1e-9, rtol=0)


def exact_log_density(exact, x, sigma):
    covariance = exact.covariance + sigma**2 * torch.eye(4, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(exact.mean, covariance).log_prob(x)


def test_the_network_speaks_in_units_of_what_the_filter_leaves_over(fitted):
    gaussian, exact = fitted
    generator = torch.Generator().manual_seed(2)
    clean = exact.sample(40_000, generator)
    for sigma in SIGMA.tolist():
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        level = torch.full((len(clean),), sigma, dtype=torch.float64)
        left = (clean - gaussian.denoise(noisy, level)).square().mean().sqrt()
        assert float(left / gaussian.error(level)[0]) == pytest.approx(1, abs=0.015)


def test_energy_and_score_of_one_network_agree(x, fitted):
    """D = x - sigma^2 dE/dx, where the potential's gradient is the network."""
    gaussian, _ = fitted
    score = GaussianScore(net, gaussian, 0.5).double()
    energy = GaussianEnergy(potential, gaussian, 0.5).double()
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(energy(y, SIGMA).sum(), y)
    denoised = x - SIGMA[:, None] ** 2 * slope
    torch.testing.assert_close(denoised, score(x, SIGMA), atol=1e-10, rtol=0)


def test_one_variance_is_the_usual_preconditioning(x):
    gaussian = NoisyGaussian((4,), 0.5).double()
    usual = Preconditioned(net, 0.5).double()
    torch.testing.assert_close(
        GaussianScore(net, gaussian, 0.5).double()(x, SIGMA), usual(x, SIGMA), atol=1e-7, rtol=0
    )
    energy = PreconditionedEnergy(potential, 0.5).double()
    found = GaussianEnergy(potential, gaussian, 0.5).double()(x, SIGMA)
    torch.testing.assert_close(found, energy(x, SIGMA), atol=1e-6, rtol=0)


def test_it_stands_around_the_networks_of_scores_and_of_energies():
    shape = (1, 4, 4)
    examples = torch.randn(30, *shape)
    for make, kind in ((unet_score, GaussianScore), (unet_noisy_energy, GaussianEnergy)):
        model = with_gaussian(make(shape, 0.5, (4,), 1, 2), shape, 0.5)
        assert isinstance(model, kind)
        fit_gaussian(model, lambda: Batch(examples))
        torch.testing.assert_close(model.gaussian.mean, examples.flatten(1).mean(0))
        assert "gaussian.directions" in model.state_dict()


def of_variance(factor):
    """A network that has nothing to add to the filter, and `factor` times its variance."""
    return lambda x, level, cond: torch.cat([0 * x, torch.full_like(x, math.log(factor))], 1)


def test_a_diffusion_without_a_network_has_the_mean_and_variance_of_the_gaussian(x, fitted):
    gaussian, exact = fitted
    model = gaussian_diffusion(of_variance(1), (4,), 0.5).double()
    model.gaussian.load_state_dict(gaussian.state_dict())
    mean, variance = model.field().moments(x, SIGMA)
    for i, sigma in enumerate(SIGMA.tolist()):
        torch.testing.assert_close(mean[i : i + 1], exact.denoise(x[i : i + 1], sigma))
        eye = torch.eye(4, dtype=torch.float64)
        left = exact.covariance @ torch.linalg.inv(exact.covariance / sigma**2 + eye)
        torch.testing.assert_close(variance[i], (left.trace() / 4).expand(4))


def test_without_a_network_the_bound_is_the_gaussians_likelihood():
    """Entries that are alike, so that one variance is all; 300 steps cost .02 nats an entry."""
    generator = torch.Generator().manual_seed(4)
    place = torch.arange(8, dtype=torch.float64)
    distance = (place[:, None] - place).abs()
    covariance = 0.5 ** torch.minimum(distance, 8 - distance)
    root = torch.linalg.cholesky(covariance)
    examples = torch.randn(4000, 8, generator=generator, dtype=torch.float64) @ root.T
    exact = Gaussian(examples.mean(0), torch.cov(examples.T, correction=0))
    chain = DiscreteDiffusion(tuple(VarianceExploding(0.005, 50.0).ladder(300)), "learned")
    gap = {}
    for factor in (0.7, 1, 1.4):
        model = gaussian_diffusion(of_variance(factor), (8,), 1.0).double()
        fit_gaussian(model, lambda: Batch(examples))
        found = variational_bound(model, examples, chain, torch.Generator().manual_seed(5)).nats
        gap[factor] = (found + log_density(exact, examples)) / 8
    stderr = float(gap[1].std()) / math.sqrt(len(examples))
    assert stderr < 0.005
    assert -4 * stderr < float(gap[1].mean()) < 0.02 + 4 * stderr
    assert float(gap[0.7].mean()) > 0.02 + float(gap[1].mean())
    assert float(gap[1.4].mean()) > 0.02 + float(gap[1].mean())


def log_density(exact, x):
    return torch.distributions.MultivariateNormal(exact.mean, exact.covariance).log_prob(x)


def test_autocast_leaves_the_filter_and_its_density_as_they_are():
    """A score divides by sigma^2, which a product in bfloat16 does not bear."""
    generator = torch.Generator().manual_seed(3)
    examples = torch.randn(200, 30, generator=generator)
    gaussian = NoisyGaussian((30,), 1.0)
    gaussian.fit(examples)
    sigma = torch.full((200,), 0.05)
    plain = gaussian.denoise(examples, sigma), gaussian.energy(examples, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(gaussian.denoise(examples, sigma), plain[0])
        torch.testing.assert_close(gaussian.energy(examples, sigma), plain[1])


def test_a_covariance_of_many_entries_is_refused():
    with pytest.raises(ValueError, match="at most 4096 entries, got 12288"):
        NoisyGaussian((3, 64, 64), 0.5)

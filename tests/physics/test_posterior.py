"""Posterior chains beside a Gaussian: without an energy they are Wiener's, and with a quadratic one
the posterior is known.
"""

import torch

from gradlogp.baselines.wiener import PixelGaussian
from gradlogp.core.fields import Energy, Scaled
from gradlogp.core.kernel import run
from gradlogp.core.random import Streams, seeded
from gradlogp.samplers import GaussianPosterior, PosteriorLangevin

DIM, SIGMA = 4, 0.5


def prior():
    mixing = torch.randn(DIM, DIM, generator=seeded(0), dtype=torch.float64)
    values, vectors = torch.linalg.eigh(mixing @ mixing.T / DIM)
    mean = torch.linspace(-0.3, 0.3, DIM, dtype=torch.float64)
    return PixelGaussian(mean, values.flip(0), vectors.flip(1))


def precision(gaussian):
    return gaussian.directions @ (gaussian.directions / gaussian.variances).T


def test_the_gaussian_alone_is_wieners_filter_and_its_posterior():
    gaussian, y = prior(), torch.rand(5, 1, 2, 2, generator=seeded(1))
    posterior = GaussianPosterior.of(gaussian, SIGMA)
    torch.testing.assert_close(posterior.mean(y), gaussian.restore(y, SIGMA), atol=1e-6, rtol=0)
    exact = torch.linalg.inv(precision(gaussian) + torch.eye(DIM) / SIGMA**2)
    torch.testing.assert_close(posterior.covariance.double(), exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        posterior.root @ posterior.root.T, posterior.covariance, atol=1e-6, rtol=0
    )


def test_chains_draw_the_posterior_of_the_product():
    """w |x|^2 / 2 beside a third of the Gaussian: the precision is g C^-1 + (1 / sigma^2 + w) I.
    The step's own error is h / 4.
    """
    gaussian = prior()
    share = 0.3
    weight = 2.0
    n = 8_000
    h = 0.04
    temperature = 0.5
    y = torch.tensor([0.9, 0.1, -0.4, 0.5]).repeat(n, 1)
    posterior = GaussianPosterior.of(gaussian, SIGMA, share)
    sampler = PosteriorLangevin(posterior.mean(y), posterior, h, temperature)
    x = run(
        sampler,
        Scaled(Energy(lambda x: x.square().sum(1) / 2), weight),
        sampler.centre,
        120,
        Streams(0, 0, n),
    ).double()
    prior_precision = share * precision(gaussian)
    exact = torch.linalg.inv(prior_precision + (1 / SIGMA**2 + weight) * torch.eye(DIM))
    mean = exact @ (prior_precision @ gaussian.mean + y[0].double() / SIGMA**2)
    errors = (x.T.cov().diag() / n).sqrt()
    assert ((x.mean(0) - mean).abs() < 4 * errors).all()
    torch.testing.assert_close(x.T.cov(), temperature * exact, atol=0.003, rtol=0.08)


def test_chains_stay_in_their_interval():
    posterior = GaussianPosterior.of(prior(), SIGMA)
    y = 3 * torch.ones(8, DIM)
    sampler = PosteriorLangevin(posterior.mean(y), posterior, 0.3, 1.0, (-1.0, 1.0))
    assert (
        run(sampler, Energy(lambda x: x.square().sum(1)), y, 3, Streams(0, 0, 8)).abs().max() <= 1
    )

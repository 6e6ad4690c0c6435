"""The evidence bound against probabilistic PCA, whose likelihood is known."""

import math

import torch
from torch import nn

from gradlogp.baselines.vae import VAE, EvidenceBound, vae
from gradlogp.core.batch import Batch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    """x -> means and log-variances: the exact posterior of probabilistic PCA with loadings W, mean
    m and noise sigma.
    """

    def __init__(self, w, m, sigma):
        super().__init__()
        self.precision = torch.eye(w.shape[1]).to(w) + w.T @ w / sigma**2
        self.gain = torch.linalg.solve(self.precision, w.T) / sigma**2
        self.m = m

    def forward(self, x):
        mu = (x - self.m) @ self.gain.T
        return torch.cat([mu, -self.precision.diagonal().log().expand_as(mu)], 1)


def built(w, m, sigma):
    """Probabilistic PCA as a VAE with its exact posterior."""
    decoder = nn.Linear(w.shape[1], len(w)).double()
    model = VAE(Linear(w, m, sigma), decoder).double()
    with torch.no_grad():
        decoder.weight.copy_(w), decoder.bias.copy_(m), model.log_sigma.fill_(math.log(sigma))
    return model


def ppca(orthogonal):
    """(model, data, log p of every row) of probabilistic PCA; its posterior factorises where the
    loadings are orthogonal.
    """
    d = 6
    sigma = 0.4
    g = seeded()
    w = torch.randn(d, 2, generator=g, dtype=torch.float64)
    m = torch.randn(d, generator=g, dtype=torch.float64)
    w = (
        torch.linalg.qr(w)[0] * torch.tensor([1.5, 0.7], dtype=torch.float64)
        if orthogonal
        else w[:, :1] + 0.5 * w
    )
    density = torch.distributions.MultivariateNormal(
        m, w @ w.T + sigma**2 * torch.eye(d, dtype=torch.float64)
    )
    x = m + torch.randn(50, d, generator=g, dtype=torch.float64)
    return built(w, m, sigma), x, density.log_prob(x)


def bound(model, x, draws=2000):
    batch = Batch(x.repeat_interleave(draws, 0))
    with torch.no_grad():
        value = EvidenceBound()(model, batch, seeded(1)).value.reshape(len(x), draws)
    return value.mean(1), value.std(1) / draws**0.5


def test_at_the_exact_posterior_the_bound_is_the_likelihood():
    model, x, log_p = ppca(orthogonal=True)
    value, error = bound(model, x)
    z = (value + log_p) / error
    assert z.abs().max() < 4.5 and error.max() < 0.1
    assert (
        log_p + value + math.log(2)
    ).abs().min() > 4 * error.max()  # a missing factor of two would be seen


def test_elsewhere_it_is_a_bound():
    model, x, log_p = ppca(orthogonal=False)
    value, error = bound(model, x)
    assert bool((value > -log_p - 4 * error).all()) and float((value + log_p).mean()) > 0.05


def test_at_probabilistic_pcas_maximum_the_slope_in_the_noise_is_zero():
    """sigma^2 = the mean of the discarded eigenvalues, W = U (L - sigma^2)^(1/2): Tipping & Bishop,
    eqs. 7 and 8.
    """
    std = torch.tensor([2.0, 1.2, 0.5, 0.3, 0.4], dtype=torch.float64)
    x = std * torch.randn(20_000, 5, generator=seeded(), dtype=torch.float64)
    values, vectors = torch.linalg.eigh((x - x.mean(0)).T @ (x - x.mean(0)) / len(x))
    sigma = float(values[:3].mean().sqrt())
    model = built(vectors[:, 3:] * (values[3:] - sigma**2).sqrt(), x.mean(0), sigma)
    model.zero_grad()
    mu, log_var = model.encode(x)
    each = (
        (
            x
            - model(
                mu
                + (log_var / 2).exp()
                * torch.randn(mu.shape, generator=seeded(1), dtype=torch.float64)
            )
        )
        .square()
        .sum(1)
    )
    EvidenceBound()(model, Batch(x), seeded(3)).value.mean().backward()
    error = (
        float((each.detach() / sigma**2).std()) / len(x) ** 0.5
    )  # of the slope, D - E|x - m|^2 / sigma^2
    assert abs(float(model.log_sigma.grad)) < 4 * error < 0.15
    assert abs(5 - 5 / 2) > 8 * error  # where a factor of two would put it


def test_the_encoder_is_the_energys_trunk():
    model = vae((1, 8, 8), 5, (4, 8), 8, (8, 4))
    mu, log_var = model.encode(torch.zeros(3, 1, 8, 8))
    assert mu.shape == log_var.shape == (3, 5) and model(mu).shape == (3, 1, 8, 8)

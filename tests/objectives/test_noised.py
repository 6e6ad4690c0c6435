"""Classifiers of noised data on two Gaussians, whose posterior is known at every level."""

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Denoiser
from gradlogp.core.guidance import EnergyGuided, class_energy
from gradlogp.core.random import seeded
from gradlogp.models.noisy_classifier import noisy_classifier
from gradlogp.objectives.denoising import LogNormal, SingleLevel
from gradlogp.objectives.noised import NoisedCrossEntropy

M, S = 1.5, 0.7  # classes N(+-M, S^2)


def data(n, seed=0):
    y = torch.randint(2, (n,), generator=seeded(seed))
    noise = torch.randn(n, generator=seeded(seed + 1), dtype=torch.float64)
    return Batch((M * (2 * y - 1) + S * noise)[:, None], y)


class Exact(nn.Module):
    """log p(1) - log p(0) = 2 M x / (S^2 + sigma^2), times a."""

    def __init__(self, a=1.0):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x, sigma):
        odds = self.a * 2 * M * x[:, 0] / (S**2 + sigma**2)
        return torch.stack([torch.zeros_like(odds), odds], 1)


@pytest.mark.parametrize(("a", "rest"), [(1.0, True), (2.0, False), (0.5, False)])
def test_the_posterior_of_the_noised_data_is_at_rest_and_no_other(a, rest):
    n, model = 40_000, Exact(a)
    loss = NoisedCrossEntropy(LogNormal(-0.5, 1.0))(model, data(n), seeded(5)).value
    halves = torch.stack(
        [
            torch.autograd.grad(part.mean(), model.a, retain_graph=True)[0]
            for part in loss.split(400)
        ]
    )
    z = halves.mean() / (halves.std() / len(halves) ** 0.5)
    assert abs(z) < 4 if rest else abs(z) > 15


def test_at_one_level_its_value_is_the_entropy_of_the_posterior():
    """By quadrature over the marginal of x at this level."""
    n, sigma = 100_000, 1.2
    loss = NoisedCrossEntropy(SingleLevel(sigma))(Exact(), data(n, 7), seeded(6)).value.detach()
    var = S**2 + sigma**2
    x = torch.linspace(-15, 15, 20_001, dtype=torch.float64)
    up, down = ((-((x - m) ** 2) / (2 * var)).exp() / (2 * torch.pi * var) ** 0.5 for m in (M, -M))
    p = up / (up + down)
    entropy = torch.special.entr(p) + torch.special.entr(1 - p)
    expected = ((up + down) / 2 * entropy).sum() * 30 / 20_000
    assert abs(loss.mean() - expected) / (loss.std() / n**0.5) < 4


def test_its_energy_guides_by_bayes_rule():
    """The exact classifier turns the denoiser of the mixture into that of its class."""
    sigma, x = 0.8, torch.linspace(-3, 3, 9, dtype=torch.float64)[:, None]
    var = S**2 + sigma**2
    of_class = lambda m: (x * S**2 + m * sigma**2) / var
    p = torch.sigmoid(2 * M * x / var)
    mixture = Denoiser(lambda x, sigma: p * of_class(M) + (1 - p) * of_class(-M))
    ones = torch.ones(9, dtype=torch.long)
    guided = EnergyGuided(mixture, class_energy(Exact(), ones))
    torch.testing.assert_close(guided.denoise(x, sigma).detach(), of_class(M), atol=1e-10, rtol=0)


def test_the_network_learns_the_posterior_at_every_level_it_is_told():
    torch.manual_seed(0)
    model = noisy_classifier((1,), 2, 1.6, (32,), 32).double()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    objective, g = NoisedCrossEntropy(LogNormal(-0.5, 1.0)), seeded(1)
    for step in range(300):
        optimiser.zero_grad()
        objective(model, data(256, 10 + 2 * step), g).value.mean().backward()
        optimiser.step()
    x = torch.linspace(-2, 2, 21, dtype=torch.float64)[:, None]
    for level in (0.3, 1.0, 2.0):
        sigma = torch.full((21,), level, dtype=torch.float64)
        p, truth = (m(x, sigma).softmax(1)[:, 1] for m in (model, Exact()))
        assert (p - truth).abs().max() < 0.08
    labels = torch.ones(21, dtype=torch.long)
    energy = model.energy(labels)(x, sigma)
    torch.testing.assert_close(energy, -model(x, sigma).log_softmax(1)[:, 1])

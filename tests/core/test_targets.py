import pytest
import torch

from gradlogp.core.calculus import divergence
from gradlogp.core.fields import Energy
from gradlogp.core.guidance import Guided
from gradlogp.core.targets import TARGETS, GaussianMixture, gaussian

MIXTURE = GaussianMixture(
    torch.tensor([[-2.0], [1.0]], dtype=torch.float64),
    torch.tensor([[0.5], [1.0]], dtype=torch.float64),
    torch.tensor([0.3, 0.7], dtype=torch.float64),
)
GRID = torch.linspace(-12, 12, 6001, dtype=torch.float64)[:, None]


def integral(y):
    return torch.trapezoid(y, GRID[:, 0])


def test_the_mixture_is_normalised_at_every_noise_level():
    for sigma in (0.0, 0.5, 2.0):
        assert abs(integral((-MIXTURE.energy(GRID, sigma)).exp()) - 1) < 1e-6


def test_noise_is_convolution():
    """p_sigma(x) = int p(x - u) N(u; 0, sigma^2) du, by quadrature."""
    sigma = 0.7
    kernel = torch.exp(-((GRID.T - GRID[3000:3400:100]) ** 2) / (2 * sigma**2)) / (
        sigma * (2 * torch.pi) ** 0.5
    )
    by_quadrature = integral(kernel * (-MIXTURE.energy(GRID)).exp())
    torch.testing.assert_close(
        (-MIXTURE.energy(GRID[3000:3400:100], sigma)).exp(), by_quadrature, atol=1e-8, rtol=0
    )


def test_tweedie_first_order():
    """E[x0 | y] = y + sigma^2 d/dy log q(y), by quadrature over x0."""
    sigma, y = 0.7, torch.tensor([[0.4]], dtype=torch.float64)
    posterior = (-MIXTURE.energy(GRID) - (GRID[:, 0] - y[0]) ** 2 / (2 * sigma**2)).exp()
    mean = integral(GRID[:, 0] * posterior) / integral(posterior)
    assert abs(mean - (y + sigma**2 * MIXTURE.score(y, sigma))[0, 0]) < 1e-8


def test_samples_have_the_moments_of_the_distribution():
    x = gaussian([1.0, -2.0], [0.5, 2.0]).sample(40_000, torch.Generator().manual_seed(0))
    z = (x.mean(0) - torch.tensor([1.0, -2.0])) / (torch.tensor([0.5, 2.0]) / 200)
    assert z.abs().max() < 4
    assert ((x.var(0) / torch.tensor([0.25, 4.0]) - 1).abs() / (2 / 40_000) ** 0.5).max() < 4


def test_divergence_of_a_gaussian_score_is_the_trace():
    target = gaussian([0.0, 0.0], [0.5, 2.0])
    exact = torch.full((5,), -4.25, dtype=torch.float64)
    assert torch.allclose(divergence(target.score, torch.randn(5, 2, dtype=torch.float64)), exact)


def test_guidance_extrapolates_from_the_marginal_to_the_conditional():
    """On a mixture whose class is its part: w = 0 is the conditional, w = -1 the marginal, and w
    the exact combination between.
    """
    parts = [
        GaussianMixture(
            MIXTURE.means[k : k + 1], MIXTURE.stds[k : k + 1], torch.ones(1, dtype=torch.float64)
        )
        for k in (0, 1)
    ]
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    sigma = 0.4
    for weight in (0.0, -1.0, 0.7):
        exact = (1 + weight) * parts[1].score(x, sigma) - weight * MIXTURE.score(x, sigma)
        torch.testing.assert_close(
            Guided(parts[1], MIXTURE, weight).at(sigma).score(x), exact, atol=1e-12, rtol=0
        )


def test_the_score_is_minus_the_gradient_of_the_energy():
    x = torch.randn(20, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        MIXTURE.score(x, 0.3), Energy(lambda y: MIXTURE.energy(y, 0.3)).score(x), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("ising", "potts")])
def test_examples_of_another_shape_are_refused_and_not_broadcast(name):
    density = TARGETS[name]()
    for shape in (
        [5, *density.shape, 1],
        [5, density.shape[0] + 1],
        [5] if density.shape == (1,) else [5, 1],
        [5],
    ):
        for of in (density.energy, density.score, density.at(0.3).energy, density.at(0.3).score):
            with pytest.raises(
                ValueError, match=r"a law of examples of shape \[\d+\], so x is \[B, \d+\], got"
            ):
                of(torch.zeros(shape))

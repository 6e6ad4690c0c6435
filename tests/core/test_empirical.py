import pytest
import torch

from gradlogp.core.fields import Energy
from gradlogp.core.random import seeded
from gradlogp.core.targets import Empirical, GaussianMixture

EXAMPLES = torch.randn(7, 2, 3, generator=seeded(0), dtype=torch.float64)
DENSITY = Empirical(EXAMPLES)


def test_it_is_the_mixture_of_points_with_noise():
    x = torch.randn(5, 2, 3, generator=seeded(1), dtype=torch.float64)
    sigma = 0.7
    flat = EXAMPLES.flatten(1)
    mixture = GaussianMixture(
        flat, torch.full_like(flat, sigma), torch.full((7,), 1 / 7, dtype=torch.float64)
    )
    torch.testing.assert_close(
        DENSITY.energy(x, sigma), mixture.energy(x.flatten(1)), atol=1e-10, rtol=0
    )
    torch.testing.assert_close(
        DENSITY.score(x, sigma).flatten(1), mixture.score(x.flatten(1)), atol=1e-10, rtol=0
    )
    torch.testing.assert_close(
        DENSITY.score(x, sigma),
        Energy(lambda y: DENSITY.energy(y, sigma)).score(x),
        atol=1e-10,
        rtol=0,
    )


def test_a_level_for_each_example():
    x = torch.randn(5, 2, 3, generator=seeded(1), dtype=torch.float64)
    sigma = torch.linspace(0.2, 2, 5, dtype=torch.float64)
    each = torch.cat([DENSITY.denoise(x[i : i + 1], float(s)) for i, s in enumerate(sigma)])
    torch.testing.assert_close(DENSITY.denoise(x, sigma), each, atol=1e-12, rtol=0)


def test_little_noise_leads_back_to_the_example():
    torch.testing.assert_close(DENSITY.denoise(EXAMPLES + 0.01, 0.05), EXAMPLES, atol=1e-9, rtol=0)


@pytest.mark.parametrize("level", [0.003, 0.03, 0.3, 3.0])
@pytest.mark.parametrize("each", [False, True], ids=["one level", "a level each"])
def test_float32_is_as_good_as_its_last_digits_at_every_level(level, each):
    """784 entries: squared distances of 500 that differ by the square of the level."""
    density = Empirical(torch.rand(200, 784, generator=seeded(0)) * 2 - 1)
    twin = Empirical(density.examples.double())
    sigma = torch.full((9,), level, dtype=torch.float64) if each else level
    x = density.examples[:9] + level * torch.randn(9, 784, generator=seeded(1))
    exact = twin.energy(x.double(), sigma)
    assert ((density.energy(x, sigma) - exact) / exact.abs().clamp(min=1)).abs().max() < 1e-6
    between = density.examples[:9].lerp(
        density.examples[9:18], 0.5
    )  # where two examples weigh alike
    torch.testing.assert_close(
        density.denoise(between, sigma).double(),
        twin.denoise(between.double(), sigma),
        atol=1e-3,
        rtol=0,
    )

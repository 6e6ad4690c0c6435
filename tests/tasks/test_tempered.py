"""A walk at another temperature: every score of it is that of p^(1/T)."""

from dataclasses import replace

import pytest
import torch

from gradlogp.core.targets import TARGETS
from gradlogp.samplers import HMC
from gradlogp.tasks import Sampling, generate, tempered

T = 4.0


def walk(field):
    prior = lambda x, generator: x.normal_(generator=torch.Generator().manual_seed(1))
    return Sampling(lambda cond: field, HMC(0.5), prior, 60, (2,))


def test_energy_and_score_are_divided_by_the_temperature():
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    field = TARGETS["banana"]().at(0.3)
    hot = tempered(walk(field), T).field(None)
    torch.testing.assert_close(hot.score(x), field.score(x) / T, rtol=1e-12, atol=0)
    torch.testing.assert_close(hot.energy(x), field.energy(x) / T, rtol=1e-12, atol=0)


def test_with_noise_levels_the_score_of_each_is_divided():
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = TARGETS["rings"]()
    hot = tempered(walk(target), T).field(None)
    for sigma in (0.1, 2.0):
        torch.testing.assert_close(
            hot.at(sigma).score(x), target.score(x, sigma) / T, rtol=1e-10, atol=1e-10
        )


def test_temperature_one_is_the_walk_itself():
    how = walk(TARGETS["rings"]())
    assert tempered(how, 1) is how


def test_a_gaussian_drawn_hot_is_as_much_wider():
    """p^(1/T) of a Gaussian has T times its variances; HMC has no bias."""
    target = TARGETS["gaussian"]()
    variance = target.sample(200_000, torch.Generator().manual_seed(0)).var(0)
    how = replace(walk(target.at(0.0)), steps=60)
    x = generate(tempered(how, T), 2000, seed=0, batch=2000).double()
    z = (x.square().mean(0) / (T * variance) - 1) / (2 / len(x)) ** 0.5
    assert (z.abs() < 4).all(), z


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_is_positive(temperature):
    hot = tempered(walk(TARGETS["rings"]().at(0.3)), temperature)
    with pytest.raises((ValueError, ZeroDivisionError)):
        hot.field(None)

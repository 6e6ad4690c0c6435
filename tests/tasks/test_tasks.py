import pytest
import torch

from gradlogp.core.fields import Energy, NoisyEnergy
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import normal_
from gradlogp.core.targets import gaussian
from gradlogp.samplers import ConsistentAnnealedLangevin, Langevin
from gradlogp.tasks import (
    Sampling,
    choose,
    film,
    generate,
    milestones,
    posterior_mean,
    posterior_path,
    tweedie,
)

TARGET = gaussian([0.5, -1.0], [0.7, 1.3])
HOW = Sampling(
    lambda cond: TARGET,
    ConsistentAnnealedLangevin(VarianceExploding(0.02, 20.0), 60, 0.3),
    lambda x, g: normal_(x.double(), g).mul_(20.0),
    60,
    (2,),
)


@pytest.mark.parametrize("batch", [7, 33, 100])
def test_a_seed_gives_the_same_samples_at_any_batch_size_and_number(batch):
    whole = generate(HOW, 100, seed=3)
    assert torch.equal(generate(HOW, 100, seed=3, batch=batch), whole)
    assert torch.equal(generate(HOW, 40, seed=3, batch=batch), whole[:40])
    assert not torch.equal(generate(HOW, 100, seed=4, batch=batch), whole)


def test_samples_have_the_distribution():
    x = generate(HOW, 4000, seed=0, batch=2000)
    z = (x.mean(0) - TARGET.means[0]) / (TARGET.stds[0] / 4000**0.5)
    assert z.abs().max() < 4
    exact = final_variance(
        HOW.sampler, TARGET.stds[0] ** 2
    )  # 60 levels are under-dispersed, by a known amount
    assert ((x.var(0) / exact - 1) / (2 / 4000) ** 0.5).abs().max() < 4


def final_variance(sampler, data_var):
    """The variance recursion of each step on N(0, data_var), where s(x, sigma) = -x / (data_var +
    sigma^2).
    """
    var = sampler.ladder[0] ** 2
    for level, sigma in enumerate(sampler.ladder[:-1]):
        step_size, tau = sampler.rule(level)
        var = (1 - step_size / (data_var + sigma**2)) ** 2 * var + tau**2
    return (data_var / (data_var + sampler.ladder[-1] ** 2)) ** 2 * var


def test_conditions_reach_the_field():
    how = Sampling(lambda cond: gaussian_at(cond), HOW.sampler, HOW.prior, 60, (1,))
    cond = torch.tensor([-3.0, 3.0]).repeat(10)
    x = generate(how, 20, 0, cond, batch=7)
    assert torch.equal(x[:, 0] > 0, cond > 0)


def gaussian_at(cond):
    return NoisyEnergy(lambda x, sigma: (x[:, 0] - cond) ** 2 / (2 * (0.01 + sigma**2)))


def test_a_film_begins_and_ends_where_it_says():
    start = torch.ones(5, 2, dtype=torch.float64)
    how = Sampling(
        lambda cond: Energy(lambda x: x.square().sum(1) / 2),
        Langevin(0.1, noise_std=0.0),
        None,
        10,
        (2,),
    )
    frames = film(how, start, 5, 0, [0, 1, 10])
    assert frames.shape == (3, 5, 2)
    torch.testing.assert_close(
        frames[:, 0, 0], torch.tensor([1.0, 0.9, 0.9**10], dtype=torch.float64)
    )


def test_milestones_are_dense_at_first():
    at = milestones(300, 11)
    assert at[0] == 0 and at[-1] == 300 and at == sorted(at) and at[1] - at[0] < at[-1] - at[-2]
    assert milestones(3, 11) == [0, 1, 2, 3]


def test_tweedie_is_the_posterior_mean_of_a_gaussian():
    y, sigma = torch.randn(50, 2, dtype=torch.float64), 0.8
    var = TARGET.stds[0] ** 2
    exact = (y * var + TARGET.means[0] * sigma**2) / (var + sigma**2)
    torch.testing.assert_close(tweedie(TARGET, y, sigma), exact, atol=1e-12, rtol=0)


def test_posterior_chains_average_to_the_posterior_mean():
    """20 observations, 400 chains each; the mean of Langevin on a Gaussian is exact at any step
    size.
    """
    y = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma = 0.8
    var = TARGET.stds[0] ** 2
    exact = (y * var + TARGET.means[0] * sigma**2) / (var + sigma**2)
    mean = posterior_mean(Energy(TARGET.energy), Langevin(0.1), y, sigma, 1.0, 60, 400, seed=0)
    error = (
        1 / (1 / var + 1 / sigma**2) / 400
    ).sqrt() * 1.1  # 1.1: the step size widens the posterior by less than that
    assert ((mean - exact) / error).abs().max() < 4.2
    assert abs(float(((mean - exact) / error).square().mean()) - 1) < 0.8


def test_the_path_of_the_posterior_mean_leads_from_the_noisy_to_the_mean():
    """Begun at y, the mean of Langevin chains on a Gaussian comes nearer by 1 - h (1 / s^2 + 1 /
    sigma^2) a step, exactly.
    """
    y = torch.tensor([[2.0, -4.0]], dtype=torch.float64)
    sigma = 0.8
    h = 0.05
    path = posterior_path(
        Energy(TARGET.energy), Langevin(h), y, sigma, 1.0, (0, 3, 40), 4000, seed=0
    )
    assert torch.equal(path[0], y)
    assert torch.equal(
        path[2], posterior_mean(Energy(TARGET.energy), Langevin(h), y, sigma, 1.0, 40, 4000, seed=0)
    )
    precision = 1 / TARGET.stds[0] ** 2 + 1 / sigma**2
    mean = (TARGET.means[0] / TARGET.stds[0] ** 2 + y / sigma**2) / precision
    expected = mean + (1 - h * precision) ** 3 * (y - mean)
    assert ((path[1] - expected) * (4000 * precision) ** 0.5).abs().max() < 4.2


def test_one_posterior_sample_costs_three_decibel():
    """E |x_sample - x0|^2 = 2 E |E[x0 | y] - x0|^2."""
    g = torch.Generator().manual_seed(0)
    x0 = TARGET.sample(4000, g)
    y = x0 + 0.8 * torch.randn(x0.shape, generator=g, dtype=x0.dtype)
    mse = lambda estimate: (estimate - x0).square().mean()
    single = posterior_mean(Energy(TARGET.energy), Langevin(0.02), y, 0.8, 1.0, 150, 1, seed=0)
    assert float(mse(single) / mse(tweedie(TARGET, y, 0.8))) == pytest.approx(2.0, rel=0.06)


def test_the_setting_nearest_to_the_clean_is_chosen():
    off = {
        (1.0, 2): 3.0,
        (1.0, 5): 2.0,
        (2.0, 2): 5.0,
        (2.0, 5): -1.0,
    }  # weight and steps -> how far from clean
    assert choose(
        ((setting, torch.full((3, 2), value)) for setting, value in off.items()), torch.zeros(3, 2)
    ) == (2.0, 5)

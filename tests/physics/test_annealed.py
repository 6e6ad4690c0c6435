"""Annealed Langevin on a Gaussian: its variance follows a recursion that can be written down."""

import pytest
import torch

from gradlogp.core.annealing import technique_4, variance_ratio
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.targets import gaussian
from gradlogp.samplers import AnnealedLangevin, ConsistentAnnealedLangevin


def final_variance(sampler: AnnealedLangevin, data_var: float) -> float:
    """x' = (1 - a / (v + s^2)) x + sqrt(2a) z at each level s, then one noiseless denoising step."""
    var = sampler.ladder[0] ** 2
    for sigma in sampler.ladder:
        a = sampler.rho * sigma**2
        for _ in range(sampler.steps_per_level):
            var = (1 - a / (data_var + sigma**2)) ** 2 * var + 2 * a
    return (1 - sampler.ladder[-1] ** 2 / (data_var + sampler.ladder[-1] ** 2)) ** 2 * var


@pytest.mark.parametrize(("levels", "steps", "std"), [(10, 3, 0.5), (40, 1, 2.0), (10, 1, 1.0)])
def test_the_variance_follows_its_recursion(levels, steps, std):
    sampler = AnnealedLangevin(VarianceExploding(0.05, 20.0), levels, steps)
    g = torch.Generator().manual_seed(0)
    start = 20.0 * torch.randn(40_000, 1, generator=g, dtype=torch.float64)
    x = run(sampler, gaussian([0.0], [std]), start, sampler.steps, g)
    z = (x.var() / final_variance(sampler, std**2) - 1) / (2 / 40_000) ** 0.5
    assert abs(z) < 4


@pytest.mark.parametrize(
    ("top", "bottom", "levels", "steps", "eps"),
    [(50, 0.01, 232, 5, 6.2e-6), (90, 0.01, 500, 5, 3.3e-6), (190, 0.01, 1086, 3, 1.8e-6)],
)
def test_technique_4_gives_the_step_sizes_that_were_published(top, bottom, levels, steps, eps):
    """The three configurations of Song & Ermon (2020), to the two digits given there."""
    gamma = (top / bottom) ** (1 / (levels - 1))
    assert technique_4(gamma, steps) * bottom**2 == pytest.approx(eps, rel=0.02)


def test_the_published_ratio_never_reaches_one():
    gamma = 5000 ** (1 / 231)
    assert variance_ratio(technique_4(gamma, 5), gamma, 5) == pytest.approx(1.0555, abs=2e-4)


def test_the_ratio_is_the_recursion_of_a_point_mass():
    rho = 0.1
    gamma = 1.3
    var = 1.69
    for _ in range(4):
        var = (1 - rho) ** 2 * var + 2 * rho
    assert variance_ratio(rho, gamma, 4) == pytest.approx(var, abs=1e-12)


def test_the_last_step_denoises():
    """Without it the noise of the last level stays: the variance is larger by about sigma_L^2."""
    process = VarianceExploding(0.5, 5.0)
    x = torch.zeros(20_000, 1, dtype=torch.float64)
    draw = lambda denoise: run(
        s := AnnealedLangevin(process, 20, 5, denoise=denoise),
        gaussian([0.0], [0.01]),
        x,
        s.steps,
        torch.Generator().manual_seed(0),
    ).var()
    assert draw(True) < 0.01 * draw(False)


@pytest.mark.parametrize("rho", [0.3, 0.6, 1.0])
def test_the_consistent_chain_carries_the_noise_that_its_level_says(rho):
    """Data at one point, exact score -x / sigma^2: after the step at level i the variance is
    sigma_{i+1}^2, to the digit.
    """
    sampler = ConsistentAnnealedLangevin(VarianceExploding(0.1, 10.0), 20, rho)
    for level, (now, after) in enumerate(zip(sampler.ladder[:-1], sampler.ladder[1:], strict=True)):
        step_size, tau = sampler.rule(level)
        assert (1 - step_size / now**2) ** 2 * now**2 + tau**2 == pytest.approx(after**2, rel=1e-12)


@pytest.mark.parametrize("data_var", [0.01, 0.25, 4.0])
def test_the_consistent_chain_is_exact_as_the_levels_grow(data_var):
    """Its error in variance falls in proportion to 1 / levels."""

    def error(levels):
        sampler = ConsistentAnnealedLangevin(VarianceExploding(0.001, 50.0), levels)
        var = 50.0**2 + data_var
        for level, sigma in enumerate(sampler.ladder[:-1]):
            step_size, tau = sampler.rule(level)
            shrunk = (1 - step_size / (data_var + sigma**2)) ** 2 * var + tau**2
            missing = sampler.rho**2 * sigma**2 * data_var / (sigma**2 + data_var)
            assert shrunk - (1 - step_size / (data_var + sigma**2)) ** 2 * (
                var - data_var - sigma**2
            ) == pytest.approx(data_var + sampler.ladder[level + 1] ** 2 - missing, rel=1e-9)
            var = shrunk
        return abs(var / data_var - 1)

    assert error(800) < 0.03 and error(400) / error(800) == pytest.approx(2, abs=0.3)


def test_consistent_annealing_is_nearer_to_the_distribution_at_equal_evaluations():
    target = gaussian([0.0], [0.5])
    process = VarianceExploding(0.05, 10.0)
    errors = {}
    for sampler in (AnnealedLangevin(process, 39, 1), ConsistentAnnealedLangevin(process, 40, 0.3)):
        g = torch.Generator().manual_seed(0)
        x = run(
            sampler,
            target,
            10 * torch.randn(40_000, 1, generator=g, dtype=torch.float64),
            sampler.steps,
            g,
        )
        errors[sampler.steps, type(sampler).__name__] = abs(float(x.var() / 0.25 - 1))
    first, second = errors.values()
    assert {steps for steps, _ in errors} == {40}
    assert second < first / 2

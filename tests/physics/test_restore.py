"""Restoring on Gaussians: how far replacement and RePaint are from the conditional law, and what is
exact.
"""

import functools
import math

import pytest
import torch

from gradlogp.core.fields import Denoiser
from gradlogp.core.guidance import Known, PiGDM
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding, VariancePreserving, ddpm_ladder
from gradlogp.core.random import seeded
from gradlogp.core.targets import gaussian
from gradlogp.samplers import DDIM, DPS, Ancestral, DPMSolver, Heun, RePaint
from tests.physics.impulses import Impulses

RHO, SEEN = (
    0.8,
    1.5,
)  # N(0, [[1, .8], [.8, 1]]); the first entry is 1.5, so the second has mean 1.2 and variance .36
COVARIANCE = torch.tensor([[1, RHO], [RHO, 1]], dtype=torch.float64)
FREE = torch.tensor([False, True])
Y = torch.tensor([SEEN, 0.0], dtype=torch.float64)


def gain(sigma):
    return torch.linalg.solve(COVARIANCE + sigma**2 * torch.eye(2, dtype=torch.float64), COVARIANCE)


DENSITY = Denoiser(lambda x, sigma: x @ gain(float(sigma[0])))


class EntryImpulses(Impulses):
    """Noise that is 1 in one entry of chain k at the k-th draw."""

    entry = 0

    def fill(self, out, distribution):
        self.drawn += 1
        out.zero_()[self.drawn, self.entry] = 1
        return out


def conditional(sampler, field, draws):
    """The exact mean and variance of the free entry: where a chain without noise ends, and the
    squares of all impulses' effects.
    """
    variance = 0.0
    for entry in (0, 1):
        x = torch.zeros(draws + 2, 2, dtype=torch.float64)
        noise = EntryImpulses(0, 0, draws + 2)
        x[0, entry], noise.entry = sampler.ladder[0], entry
        end = run(sampler, field, x, sampler.steps, noise)[:, 1]
        variance += float((end - end[-1]).square().sum())
    return float(end[-1]), variance


@functools.cache
def gain_at(sigma):
    return gain(sigma).tolist()


def repaint_moments(ladder, resamples, jump, begin=(0.0, 0.0)):
    """Mean and variance of the free entry when the seen one is drawn afresh, 1.5 + s z, before each
    evaluation; `begin` are those that it has at first, without the noise.
    """
    levels = [*ladder, 0.0]
    mean, variance = begin
    variance += ladder[0] ** 2
    for first in range(0, len(ladder), jump):
        last = min(first + jump, len(ladder))
        for k in range(resamples):
            variance += (levels[first] ** 2 - levels[last] ** 2) * (k > 0)
            for s, t in zip(levels[first:last], levels[first + 1 : last + 1], strict=True):
                keep, w = (t / s) ** 2, gain_at(s)
                own, other = keep + (1 - keep) * w[1][1], (1 - keep) * w[0][1]
                mean = own * mean + other * SEEN
                variance = own**2 * variance + other**2 * s**2 + keep * (s**2 - t**2)
    return mean, variance


# level of the first step, mean and variance; the conditional law has 1.2 and .36
LATE = [(1.0, 1.040, 0.445), (0.5, 1.160, 0.387), (0.2, 1.198, 0.360)]
DDPM = tuple(ddpm_ladder(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()))


@pytest.mark.parametrize(
    ("resamples", "mean", "variance"), [(1, 0.749, 0.490), (5, 1.100, 0.375), (10, 1.152, 0.358)]
)
def test_replacement_is_biased_and_repaint_mends_it_slowly(resamples, mean, variance):
    """Over the 1000 levels of DDPM, by the recursion; the conditional law is N(1.2, .36)."""
    assert repaint_moments(DDPM, resamples, 10) == (
        pytest.approx(mean, abs=1e-3),
        pytest.approx(variance, abs=1e-3),
    )


@pytest.mark.parametrize(("begin", "mean", "variance"), LATE)
def test_a_way_that_begins_late_at_conditional_draws_is_less_biased(begin, mean, variance):
    """Plain replacement below `begin`, by the recursion; from noise it has .749 and .490."""
    levels = tuple(level for level in DDPM if level <= begin)
    assert repaint_moments(levels, 1, 10, (1.2, 0.36)) == (
        pytest.approx(mean, abs=1e-3),
        pytest.approx(variance, abs=1e-3),
    )


@pytest.mark.parametrize(("resamples", "jump"), [(1, 1), (3, 1), (3, 4)])
def test_the_sampler_follows_the_recursion(resamples, jump):
    levels = DDPM[::-1][9::60][::-1]
    sampler = RePaint(Ancestral(levels=levels), Y, FREE, resamples, jump)
    found = conditional(sampler, DENSITY, 3 * sampler.steps)
    assert found == pytest.approx(repaint_moments(levels, resamples, jump), rel=1e-9)
    assert sampler.evaluations == len(levels) * resamples


def test_the_seen_part_ends_as_it_was_seen():
    end = run(
        RePaint(Ancestral(levels=10), Y, FREE, 2, 3),
        DENSITY,
        torch.randn(5, 2, dtype=torch.float64),
        20,
        seeded(0),
    )
    assert torch.equal(end[:, 0], torch.full((5,), SEEN, dtype=torch.float64))
    with pytest.raises(ValueError, match="predictor without memory"):
        RePaint(DPMSolver(), Y, FREE)
    with pytest.raises(ValueError, match="one evaluation a step"):
        DPS(Heun(), lambda x: x, Y)


@pytest.mark.parametrize(
    ("sampler", "mean", "variance"),
    [
        (Ancestral(levels=200), 0.741, 0.522),
        (DPMSolver(levels=200, eta=1.0), 0.750, 0.539),
        (DPMSolver(levels=200), 0.512, 0.672),
    ],
)
def test_replacement_in_the_denoised_is_biased_too_and_most_without_noise(sampler, mean, variance):
    found = conditional(sampler, Known(DENSITY, Y, FREE), sampler.steps + 1)
    assert found == (pytest.approx(mean, abs=1e-3), pytest.approx(variance, abs=1e-3))


def posterior(matrix, y, sigma_y, v):
    """The mean and covariance of x0 ~ N(0, v I) given y = A x0 + sigma_y n."""
    precision = torch.eye(matrix.shape[1], dtype=torch.float64) / v + matrix.T @ matrix / sigma_y**2
    return torch.linalg.solve(precision, matrix.T @ y / sigma_y**2), precision.inverse()


MATRIX = torch.randn(3, 5, generator=seeded(4), dtype=torch.float64)
SIGMA_Y, STD = 0.3, 1.4
MEASURED = torch.randn(3, generator=seeded(5), dtype=torch.float64)


def linear_field(variance=STD**2, iterations=10):
    return PiGDM(
        gaussian([0.0] * 5, [STD] * 5),
        lambda x: x @ MATRIX.T,
        MEASURED,
        SIGMA_Y,
        variance,
        iterations,
    )


@pytest.mark.parametrize("sigma", [0.05, 0.7, 20.0])
def test_pigdm_is_the_exact_posterior_mean_on_an_isotropic_gaussian(sigma):
    """Given the noised x and the measurement at once."""
    x = torch.randn(4, 5, generator=seeded(6), dtype=torch.float64)
    precision = (
        torch.eye(5, dtype=torch.float64) * (1 / STD**2 + 1 / sigma**2)
        + MATRIX.T @ MATRIX / SIGMA_Y**2
    )
    exact = torch.linalg.solve(precision, (x / sigma**2 + MEASURED @ MATRIX / SIGMA_Y**2).T).T
    torch.testing.assert_close(linear_field().denoise(x, sigma), exact, atol=1e-10, rtol=0)
    torch.testing.assert_close(
        linear_field().denoise(x, torch.full((4,), sigma, dtype=torch.float64)),
        exact,
        atol=1e-10,
        rtol=0,
    )
    assert float((linear_field(variance=2 * STD**2).denoise(x, sigma) - exact).abs().max()) > 1e-5


def test_a_sampler_on_pigdm_draws_from_the_posterior():
    """A deterministic solver is affine: where 0 ends is the mean, and its matrix times sigma_1 is a
    root of the covariance.
    """
    solver = DPMSolver(VarianceExploding(0.01, 500.0), 200)
    start = torch.cat(
        [
            torch.zeros(1, 5, dtype=torch.float64),
            solver.ladder[0] * torch.eye(5, dtype=torch.float64),
        ]
    )
    end = run(solver, linear_field(), start, 200, seeded(0))
    mean, covariance = posterior(MATRIX, MEASURED, SIGMA_Y, STD**2)
    root = end[1:] - end[:1]
    torch.testing.assert_close(end[0], mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(root.T @ root, covariance, atol=4e-3, rtol=0)


def test_one_iteration_is_enough_for_a_mask():
    field = gaussian([0.0] * 5, [STD] * 5)
    masked = lambda k: PiGDM(field, lambda x: x[:, :3], MEASURED, SIGMA_Y, STD**2, iterations=k)
    x = torch.randn(4, 5, generator=seeded(6), dtype=torch.float64)
    torch.testing.assert_close(
        masked(1).denoise(x, 0.5), masked(5).denoise(x, 0.5), atol=1e-12, rtol=0
    )


def test_dps_subtracts_zeta_times_the_gradient_of_the_norm():
    """D = g x: the gradient is -g A^T r / |r|, whatever the size of r; in scaled coordinates it is
    over alpha alpha'.
    """
    process = VariancePreserving()
    x = torch.randn(6, 5, generator=seeded(7), dtype=torch.float64)
    density = gaussian([0.0] * 5, [STD] * 5)
    walk = DDIM(process, (2.0, 1.0))
    for far in (1.0, 50.0):
        sampler = DPS(walk, lambda x: x @ MATRIX.T, far * MEASURED, zeta=0.3)
        g = STD**2 / (STD**2 + 4)
        residual = far * MEASURED - g * x @ MATRIX.T
        pull = g * residual @ MATRIX / residual.norm(dim=1, keepdim=True)
        alphas = 1 / math.sqrt(1 + 4), 1 / math.sqrt(2)
        torch.testing.assert_close(
            run(sampler, density, x, 1, seeded(0)),
            run(walk, density, x, 1, seeded(0)) + 0.3 / (alphas[0] * alphas[1]) * pull,
            atol=1e-9,
            rtol=0,
        )


def test_dps_comes_nearer_to_what_was_measured():
    walk = Ancestral(VariancePreserving(), 200)
    start = walk.ladder[0] * torch.randn(200, 5, generator=seeded(8), dtype=torch.float64)
    density = gaussian([0.0] * 5, [STD] * 5)
    misfit = lambda sampler: (
        (run(sampler, density, start, 200, seeded(9)) @ MATRIX.T - MEASURED).norm(dim=1).mean()
    )
    assert misfit(DPS(walk, lambda x: x @ MATRIX.T, MEASURED, zeta=0.3)) < 0.25 * misfit(walk)

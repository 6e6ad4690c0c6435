"""The ODE likelihood against densities that are known, and the variational bound against its own
closed form.
"""

import itertools
import math

import pytest
import torch

from gradlogp.core.calculus import draw_probes
from gradlogp.core.fields import Denoiser
from gradlogp.core.kernel import run
from gradlogp.core.noise import (
    EDM,
    PROCESSES,
    VarianceExploding,
    VariancePreserving,
    ddpm_ladder,
)
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, gaussian
from gradlogp.objectives.diffusion import DiscreteDiffusion
from gradlogp.samplers import Ancestral
from gradlogp.tasks.likelihood import (
    Prior,
    bound_term,
    measure_variance,
    measured_prior,
    noise_prior,
    ode_likelihood,
    unit_prior,
    variational_bound,
)

GAUSSIAN = gaussian([0.5, -1.0], [0.5, 2.0])
MIXTURE = GaussianMixture(
    torch.tensor([[1.0, -0.5], [-1.0, 0.8]], dtype=torch.float64),
    torch.tensor([[0.4, 0.7], [0.6, 0.3]], dtype=torch.float64),
    torch.tensor([0.3, 0.7], dtype=torch.float64),
)
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()


def exact_prior(level):
    return Prior(GAUSSIAN.means[0], (GAUSSIAN.stds[0] ** 2 + level**2).sqrt())


def data(distribution, n, seed=0):
    return distribution.sample(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "process", [EDM(0.002, 80.0), VarianceExploding(0.01, 50.0)], ids=["edm", "ve"]
)
def test_the_ode_is_of_order_four_and_the_gaussian_in_the_limit(process):
    x, errors = data(GAUSSIAN, 20), []
    for steps in (40, 80, 160):
        ladder = process.ladder(steps + 1)
        found = ode_likelihood(GAUSSIAN, x, ladder, exact_prior(ladder[0]))
        assert found.evaluations == 4 * steps + 1
        errors.append(float((found.nats - GAUSSIAN.energy(x, ladder[-1])).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert min(orders) > 3.8 and errors[-1] < 6e-6


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize(("levels", "error"), [(2, 0.03), (20, 0.03), (50, 0.02), (100, 3e-3)])
def test_no_ladder_leaps_over_what_it_measures(name, levels, error):
    """Rectified's last step falls by a factor of 500 / levels: taken in one it was .7 nats off."""
    x, ladder = data(GAUSSIAN, 200), PROCESSES[name]().ladder(levels)
    found = ode_likelihood(GAUSSIAN, x, ladder, exact_prior(ladder[0]))
    assert (found.nats - GAUSSIAN.energy(x, ladder[-1])).abs().max() < error


@pytest.mark.parametrize("tolerance", [None, 1e-3])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_gives_no_numbers_has_no_likelihood(tolerance, bad):
    broken = Denoiser(lambda x, sigma: torch.where(sigma[:, None] < 1, bad, x))
    with pytest.raises(ValueError, match="the model gave NaN"):
        ode_likelihood(broken, data(GAUSSIAN, 3), EDM().ladder(9), tolerance=tolerance)


@pytest.mark.parametrize(
    ("tolerance", "error", "evaluations"), [(1e-4, 4e-3, 120), (1e-6, 1e-4, 260), (1e-8, 2e-6, 700)]
)
def test_the_adaptive_steps_are_as_exact_as_they_are_asked_to_be(tolerance, error, evaluations):
    x = data(GAUSSIAN, 20)
    found = ode_likelihood(GAUSSIAN, x, EDM().ladder(2), exact_prior(80.0), tolerance=tolerance)
    assert (
        found.nats - GAUSSIAN.energy(x, 0.002)
    ).abs().max() < error and found.evaluations < evaluations
    alone = ode_likelihood(GAUSSIAN, x[:1], EDM().ladder(2), exact_prior(80.0), tolerance=tolerance)
    torch.testing.assert_close(alone.nats, found.nats[:1], atol=1e-10, rtol=0)


def test_data_flow_to_noise_in_proportion():
    """On a Gaussian x - m grows as sqrt(s^2 + level^2)."""
    x, ladder = data(GAUSSIAN, 20), EDM().ladder(81)
    grown = ((GAUSSIAN.stds**2 + 80.0**2) / (GAUSSIAN.stds**2 + 0.002**2)).sqrt()
    latent = ode_likelihood(GAUSSIAN, x, ladder).latent
    torch.testing.assert_close(
        latent, GAUSSIAN.means + (x - GAUSSIAN.means) * grown, atol=0, rtol=1e-4
    )


def test_the_likelihood_of_a_mixture_is_its_density():
    x = data(MIXTURE, 20)
    prior = measured_prior(data(MIXTURE, 40_000, 1), 80.0)
    found = ode_likelihood(MIXTURE, x, EDM().ladder(161), prior)
    torch.testing.assert_close(found.nats, MIXTURE.energy(x, 0.002), atol=2e-3, rtol=0)
    images = Denoiser(lambda x, sigma: MIXTURE.denoise(x.flatten(1), sigma).reshape(x.shape))
    prior = Prior(prior.mean.reshape(1, 2, 1), prior.std.reshape(1, 2, 1))
    found = ode_likelihood(images, x.reshape(20, 1, 2, 1), EDM().ladder(161), prior)
    torch.testing.assert_close(found.nats, MIXTURE.energy(x, 0.002), atol=2e-3, rtol=0)
    assert found.latent.shape == (20, 1, 2, 1)


def test_the_density_of_any_field_integrates_to_one():
    """A field that is no one's denoiser still moves the prior's mass about, and loses none; without
    its divergence it would.
    """
    x = torch.linspace(-12, 12, 1201, dtype=torch.float64)[:, None]
    field = Denoiser(lambda x, sigma: (x + 0.3 * x.sin()) / (1 + sigma[:, None]))
    nats = ode_likelihood(field, x, VarianceExploding(0.05, 5.0).ladder(41)).nats
    assert torch.trapezoid((-nats).exp(), x[:, 0]) == pytest.approx(1, abs=1e-5)


def test_hutchinson_is_unbiased():
    """600 estimates of one example, each with one probe throughout its solve: the mean within 4
    standard errors of the exact.
    """
    ladder = EDM(0.05, 20.0).ladder(17)
    skew = torch.tensor([[1.0, 0.8], [-0.2, 1.0]], dtype=torch.float64)
    field = Denoiser(lambda x, sigma: MIXTURE.denoise(x @ skew, sigma))
    x = torch.tensor([[0.3, 0.2]], dtype=torch.float64)
    exact = ode_likelihood(field, x, ladder).nats
    many = x.expand(600, 2).contiguous()
    for distribution in ("rademacher", "gaussian"):
        found = ode_likelihood(
            field, many, ladder, probes=draw_probes(many, 1, seeded(distribution), distribution)
        ).nats
        assert found.std() > 0.01
        assert abs(found.mean() - exact) < 4 * found.std() / 600**0.5


def test_rademacher_is_exact_where_the_denoiser_acts_entry_by_entry():
    x, ladder = data(GAUSSIAN, 20), EDM().ladder(20)
    exact = ode_likelihood(GAUSSIAN, x, ladder).nats
    signs = ode_likelihood(GAUSSIAN, x, ladder, probes=draw_probes(x, 1, seeded(0))).nats
    torch.testing.assert_close(signs, exact, atol=1e-10, rtol=0)
    gaussians = ode_likelihood(
        GAUSSIAN, x, ladder, probes=draw_probes(x, 1, seeded(0), "gaussian")
    ).nats
    assert (gaussians - exact).abs().max() > 0.1


def test_priors_are_distributions_of_the_noisiest_level():
    x = torch.randn(5, 1, 3, dtype=torch.float64)
    normal = lambda std: -torch.distributions.Normal(0.0, std).log_prob(x).sum((1, 2))
    torch.testing.assert_close(noise_prior(3.0).nats(x), normal(3.0))
    torch.testing.assert_close(unit_prior(3.0).nats(x), normal(10**0.5))
    x0 = data(GAUSSIAN, 100_000)
    measured = measured_prior(x0, 3.0)
    assert ((measured.mean - GAUSSIAN.means[0]) / GAUSSIAN.stds[0]).abs().max() < 4 / 100_000**0.5
    torch.testing.assert_close(measured.std, (GAUSSIAN.stds[0] ** 2 + 9).sqrt(), atol=0.02, rtol=0)


def bound(s, variance, betas=BETAS, mean=0.0):
    """The expected bound on N(mean, s^2), exact: at x0 = mean -+ s and eps = -+1 a quadratic has
    its expectation.
    """
    chain = DiscreteDiffusion(tuple(ddpm_ladder(betas)), variance)
    x0, eps = torch.tensor(
        [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64
    ).T[..., None]
    x0, n = mean + s * x0, len(chain)
    terms = bound_term(
        gaussian([mean], [s]),
        x0.repeat(n, 1),
        chain,
        torch.arange(n).repeat_interleave(4),
        eps.repeat(n, 1),
    )
    return float((chain.prior(x0) + terms.reshape(n, 4).sum(0)).mean())


def least(s, betas=BETAS, mean=0.0):
    """Entropy + KL(q_T || N(0, 1))."""
    bar = math.prod(1 - b for b in betas)
    var = bar * s**2 + 1 - bar
    return math.log(2 * math.pi * math.e * s**2) / 2 + (var + bar * mean**2 - 1 - math.log(var)) / 2


@pytest.mark.parametrize("s2", [0.25, 1.0, 2.0])
def test_with_the_optimal_variance_the_bound_is_entropy_and_what_is_left_of_the_data(s2):
    s = s2**0.5
    assert bound(s, s2) == pytest.approx(least(s), abs=1e-12)
    few = [0.3, 0.5, 0.7]
    assert bound(s, s2, few, mean=0.8) == pytest.approx(least(s, few, 0.8), abs=1e-12)
    assert bound(s, 1.3 * s2) > least(s) + 1e-6 and bound(s, s2 / 1.3) > least(s) + 1e-6


@pytest.mark.parametrize(
    ("s2", "large", "small"), [(0.25, 0.0011, 0.5699), (1.0, 0.0, 0.5786), (2.0, 0.0002, 0.5815)]
)
def test_what_the_two_fixed_variances_cost(s2, large, small):
    s = s2**0.5
    assert bound(s, 1.0) - least(s) == pytest.approx(large, abs=5e-5)
    assert bound(s, 0.0) - least(s) == pytest.approx(small, abs=5e-5)


def test_the_sampled_bound_has_that_expectation():
    betas = torch.linspace(0.01, 0.4, 20).tolist()
    chain = DiscreteDiffusion(tuple(ddpm_ladder(betas)), 2.0)
    distribution = gaussian([0.8], [2**0.5])
    x0 = data(gaussian([0.8], [2**0.5]), 20_000)
    found = variational_bound(distribution, x0, chain, seeded(0))
    assert found.terms.shape == (20, 20_000) and found.prior.shape == (20_000,)
    assert (
        abs(found.nats.mean() - bound(2**0.5, 2.0, betas, 0.8)) < 4 * found.nats.std() / 20_000**0.5
    )
    each = [
        bound_term(distribution, x0, chain, torch.full((20_000,), k), torch.randn_like(x0)).mean()
        for k in (0, 7, 19)
    ]
    for k, mean in zip((0, 7, 19), each, strict=True):
        assert abs(found.terms[k].mean() - mean) < 6 * found.terms[k].std() / 20_000**0.5


def test_measured_variances_are_the_optimal_ones():
    """Var(x0 | x) = s^2 l^2 / (s^2 + l^2), within 4 standard errors; and the bound that they give
    is the best to 1e-3.
    """
    betas = torch.linspace(0.01, 0.4, 20).tolist()
    s2 = 0.25
    n = 40_000
    distribution, levels = gaussian([0.3], [s2**0.5]), ddpm_ladder(betas)
    field = measure_variance(distribution, data(distribution, n), levels, seeded(0))
    rising = torch.tensor(levels[::-1], dtype=torch.float64)
    exact = s2 * rising**2 / (s2 + rising**2)
    assert ((field.variances / exact - 1) / (2 / n) ** 0.5).abs().max() < 4
    x0 = data(distribution, 5000, 1)
    known, found = (
        variational_bound(f, x0, DiscreteDiffusion(tuple(levels), v), seeded(1)).nats
        for f, v in ((distribution, s2), (field, "learned"))
    )
    assert abs((known - found).mean()) < 2e-3
    mean, variance = field.moments(x0, levels[3])
    assert (
        torch.equal(mean, distribution.denoise(x0, levels[3]))
        and variance.shape == (5000, 1)
        and (variance == field.variances[-4]).all()
    )


def test_the_same_noise_at_all_levels_has_the_same_mean_and_less_between_levels():
    """On N(0, s^2) the error at level l is (l^2 x0 - s^2 l eps) / (s^2 + l^2): with one eps the
    ratio of two levels' variances is that of the exact ones far more nearly.
    """
    distribution, levels = gaussian([0.0], [1.0]), (1.0, 1.01)
    exact = torch.tensor([s**2 / (1 + s**2) for s in levels], dtype=torch.float64)
    field = measure_variance(
        distribution, data(distribution, 2000), levels, seeded(0), same_noise=True
    )
    ratios = field.variances / exact
    assert ((ratios - 1) / (2 / 2000) ** 0.5).abs().max() < 4
    assert abs(float(ratios[1] / ratios[0]) - 1) < 0.1 * (2 / 2000) ** 0.5


def test_measured_variances_mend_ancestral_sampling_with_few_levels():
    """10 levels: the fixed small variance loses a quarter of a Gaussian's variance, the measured
    one none.
    """
    distribution, n = gaussian([0.0], [1.0]), 20_000
    sampler = lambda variance: Ancestral(VariancePreserving(), 10, denoise=False, variance=variance)
    ladder = sampler("small").ladder
    field = measure_variance(distribution, data(distribution, 40_000), ladder, seeded(0))
    start = (1 + ladder[0] ** 2) ** 0.5 * torch.randn(
        n, 1, generator=seeded(2), dtype=torch.float64
    )
    end = lambda variance: (
        run(sampler(variance), field, start, sampler(variance).steps, seeded(3)).var()
        / (1 + ladder[-1] ** 2)
    )
    assert abs(end("learned") - 1) < 5 * (2 / n) ** 0.5
    assert end("small") < 0.9


def test_the_bound_of_probabilities_falls_to_their_entropy():
    """Eight pixel values alike: never below 3 bits, and nearer to it with more levels; e^-bound
    sums to no more than 1.
    """
    pixels = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
    ones = torch.ones(8, dtype=torch.float64)
    distribution = GaussianMixture(pixels, 1e-6 * ones[:, None], ones / 8)
    above = []
    for count in (30, 120):
        levels = EDM(0.01, 20.0).ladder(count)
        field = measure_variance(distribution, pixels.repeat(500, 1), levels, seeded(0))
        chain = DiscreteDiffusion(tuple(levels), "learned", bins=8)
        bits = variational_bound(field, pixels.repeat(400, 1), chain, seeded(1)).nats / math.log(2)
        above.append(float(bits.mean()) - 3)
        assert above[-1] > 0 and (2 ** -bits.reshape(400, 8).mean(0)).sum() < 1
    assert above[1] < above[0] / 2

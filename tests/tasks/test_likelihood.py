import math

import pytest
import torch

from gradlogp.core.algebra import conjunction
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Denoiser, Energy
from gradlogp.core.guidance import Guided
from gradlogp.core.kernel import run
from gradlogp.core.noise import EDM, VarianceExploding
from gradlogp.core.random import Streams, seeded
from gradlogp.core.targets import gaussian
from gradlogp.samplers import (
    DDIM,
    MALA,
    AdaptiveFlow,
    AnnealedLangevin,
    Heun,
    Langevin,
    Masked,
    ParallelTempering,
    PredictorCorrector,
    ReverseSDE,
    Underdamped,
)
from gradlogp.tasks import bits_per_dim, likelihood, ode_likelihood
from gradlogp.tasks.ais import Geometric, NormalBase, ais, linear
from gradlogp.tasks.likelihood import Quantised, energy_nats
from gradlogp.tasks.ode import adapt

DENSITY = gaussian([0.5], [0.7])
X = torch.linspace(-2, 3, 11, dtype=torch.float64)[:, None]


def test_a_generator_has_no_likelihood():
    energy = Energy(lambda x: x.square().sum(1) / 2)
    generators = [
        Langevin(0.1, noise_std=0.01),
        Langevin(0.1, clamp=(-1.0, 1.0)),
        Langevin(0.1, grad_clip=1.0),
    ]
    for sampler in generators:
        with pytest.raises(UserError, match="targets the density, but Langevin is a generator"):
            likelihood(sampler, energy, X, log_z=0.0)
    for sampler in (DDIM(EDM(), 20, clip=(-1.0, 1.0)), Heun(EDM(), 20, churn=10.0, s_noise=1.007)):
        with pytest.raises(UserError, match="targets the density"):
            likelihood(sampler, DENSITY, X)


def test_a_sampler_of_another_distribution_than_the_fields_has_not_the_fields_likelihood():
    energy = Energy(lambda x: x.square().sum(1) / 2)
    for sampler in (
        Langevin(0.1, temperature=2.0),
        Underdamped(0.1, temperature=2.0),
        ParallelTempering(MALA(0.1), (2.0, 4.0)),
    ):
        with pytest.raises(
            UserError,
            match=f"this {type(sampler).__name__} draws the law at temperature 2, .* the field / 2",
        ):
            likelihood(sampler, energy, X, log_z=0.0)
        with pytest.raises(UserError, match="temperature 2"):
            ais(
                Geometric(NormalBase(torch.zeros(1), torch.ones(1)), energy),
                sampler,
                linear(2),
                3,
                seeded(0),
            )
    with pytest.raises(UserError, match="a masked sampler draws x given what is pinned"):
        likelihood(Masked(Langevin(0.1), torch.tensor([True])), energy, X, log_z=0.0)


def test_a_density_sampler_has_the_likelihood_of_its_distribution():
    exact = DENSITY.energy(X, 0.002)
    nats = likelihood(Heun(EDM(), 80), DENSITY, X)
    torch.testing.assert_close(
        nats, exact, atol=0.03, rtol=0
    )  # the prior N(0, 80^2) leaves out the data's mean
    assert torch.equal(likelihood(PredictorCorrector(Heun(EDM(), 80)), DENSITY, X), nats)
    ladder = AnnealedLangevin(
        VarianceExploding(0.002, 80.0), 200
    )  # its law is that of its levels, as the steps at each grow
    torch.testing.assert_close(likelihood(ladder, DENSITY, X), nats, atol=1e-3, rtol=0)
    adaptive = likelihood(AdaptiveFlow(EDM(), 1e-7), DENSITY, X)
    torch.testing.assert_close(adaptive, nats, atol=1e-3, rtol=0)
    energy = Energy(lambda x: (x - 0.5).square().sum(1) / (2 * 0.49))
    log_z = math.log(2 * math.pi * 0.49) / 2
    torch.testing.assert_close(likelihood(Langevin(0.1), energy, X, log_z), DENSITY.energy(X))
    torch.testing.assert_close(
        energy_nats(energy.function, X, torch.tensor(log_z)),
        DENSITY.energy(X),
        rtol=1e-6,
        atol=1e-6,
    )
    with pytest.raises(UserError, match="needs log_z"):
        likelihood(Langevin(0.1), energy, X)


def test_a_guided_flow_has_the_density_of_its_own_draws_and_samplers_with_noise_have_none():
    """On Gaussians the flow is affine, x = a z + b: the nats are those of z plus log a, not those
    of the tilted law.
    """
    marginal = gaussian([0.0], [1.0])
    conditional = gaussian([1.0], [0.5])
    guided = Guided(conditional, marginal, 1.0)
    sampler = Heun(EDM(), 200)
    ends = run(
        sampler,
        guided,
        sampler.ladder[0] * torch.tensor([[0.0], [1.0]], dtype=torch.float64),
        sampler.steps,
        seeded(0),
    )
    b, a = float(ends[0]), float(ends[1] - ends[0])
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    found = likelihood(sampler, guided, b + a * z[:, None])
    torch.testing.assert_close(
        found, z**2 / 2 + math.log(2 * math.pi) / 2 + math.log(a), atol=0.01, rtol=0
    )
    assert abs(a**2 * 7 - 1) > 0.1  # p_c^2 / p has precision 2 * 4 - 1
    annealed = AnnealedLangevin(VarianceExploding(0.002, 80.0), 200)
    for noisy in (annealed, PredictorCorrector(Heun(EDM(), 80)), ReverseSDE(EDM(), 80)):
        with pytest.raises(
            UserError,
            match=f"the levels of Guided are not one law .* what {type(noisy).__name__} draws",
        ):
            likelihood(noisy, guided, X)
    unguided = likelihood(PredictorCorrector(sampler), Guided(conditional, marginal, 0.0), X)
    assert torch.equal(unguided, likelihood(sampler, conditional, X))
    with pytest.raises(UserError, match="the levels of Composed"):
        likelihood(ReverseSDE(EDM(), 80), conjunction(marginal, [conditional]), X)


def test_conditions_reach_the_model_and_float32_is_kept():
    means = torch.tensor([-1.0, 2.0])
    model = lambda x, sigma, cond: (
        x + sigma[:, None] ** 2 * (means[cond, None] - x) / (1 + sigma[:, None] ** 2)
    )
    cond, x = torch.tensor([0, 1, 1, 0]), torch.randn(4, 1)
    found = ode_likelihood(model, x, EDM(0.002, 500.0).ladder(101), cond=cond)
    assert (
        found.latent.dtype == torch.float32
        and found.nats.dtype == torch.float64
        and not found.nats.requires_grad
    )
    exact = (x[:, 0] - means[cond]) ** 2 / 2 + math.log(2 * math.pi) / 2
    torch.testing.assert_close(found.nats.float(), exact, atol=0.02, rtol=0)


@pytest.mark.parametrize("levels", [[1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 1.0], []])
def test_levels_that_do_not_fall_are_an_error(levels):
    with pytest.raises(ValueError, match="levels fall from the noisiest"):
        ode_likelihood(DENSITY, X, levels)


def test_a_solve_that_does_not_arrive_says_why():
    with pytest.raises(ValueError, match="the model gave NaN at level 0.1"):
        ode_likelihood(Denoiser(lambda x, sigma: x * math.nan), X, [2.0, 0.1], tolerance=1e-3)
    noise = Denoiser(
        lambda x, sigma: (
            x + torch.randn(x.shape, generator=seeded(float(x.sum()).hex()), dtype=x.dtype)
        )
    )
    with pytest.raises(RuntimeError, match="have not arrived after 40 steps"):
        adapt(lambda u, y: y - noise.denoise(y, 1.0), X, -2.0, 2.0, 1e-6, limit=40)


def test_uniform_data_of_256_values_have_8_bits_in_any_range():
    codes = torch.arange(256).repeat(40)[:, None]
    for low, high in ((-1.0, 1.0), (0.0, 1.0), (-3.0, 13.0)):
        bins = Quantised(256, low, high)
        x = bins.dequantise(codes, seeded(0))
        assert low <= x.min() and x.max() <= high
        nats = torch.full(
            (len(x),), math.log(high - low)
        )  # the density of a uniform law on [low, high]
        torch.testing.assert_close(
            bits_per_dim(nats, 1, bins.data_scale), torch.full_like(nats, 8.0), atol=1e-6, rtol=0
        )
    assert Quantised().data_scale == 128 and Quantised(256, 0.0, 1.0).data_scale == 256
    assert bits_per_dim(torch.tensor(math.log(256.0)), 1, 1.0) == pytest.approx(
        8
    )  # a probability's nats
    assert bits_per_dim(torch.tensor(5 * math.log(2)), 5, 1.0) == 1


def test_bits_do_not_depend_on_the_scale_that_the_data_are_given():
    """A Gaussian on pixels 0 to 256: its density in [0, 1] and in [-1, 1] come to the same bits."""
    pixels = 128 + 30 * torch.randn(500, 3, generator=seeded(0), dtype=torch.float64)
    bits = []
    for shift, scale in ((0.0, 256.0), (-1.0, 128.0)):
        density = gaussian([128 / scale + shift] * 3, [30 / scale] * 3)
        bits.append(bits_per_dim(density.energy(pixels / scale + shift), 3, scale))
    torch.testing.assert_close(*bits, atol=1e-10, rtol=0)
    entropy = math.log2(30 * math.sqrt(2 * math.pi * math.e))
    assert abs(bits[0].mean() - entropy) < 4 * bits[0].std() / 500**0.5


def test_dequantisation_fills_each_bin_evenly_and_whatever_the_batch():
    bins = Quantised(4, 0.0, 1.0)
    codes = torch.tensor([[0], [1], [2], [3]]).repeat(5000, 1)
    x = bins.dequantise(codes, seeded(0), torch.float64)
    inside = x * 4 - codes
    assert ((inside >= 0) & (inside < 1)).all()
    assert abs(inside.mean() - 0.5) < 4 / (12 * 20_000) ** 0.5
    assert inside.var() == pytest.approx(1 / 12, rel=0.03)
    part = bins.dequantise(codes[30:50], Streams(1, 30, 20))
    assert torch.equal(bins.dequantise(codes[:50], Streams(1, 0, 50))[30:], part)


@pytest.mark.parametrize("codes", [torch.tensor([0.5]), torch.tensor([-1]), torch.tensor([256])])
def test_dequantisation_takes_whole_numbers(codes):
    with pytest.raises(UserError, match="whole numbers from 0 to 255"):
        Quantised().dequantise(codes, seeded(0))


def test_bytes_are_whole_numbers():
    codes = torch.tensor([[0], [255]], dtype=torch.uint8)  # whose comparison with 256 wraps
    assert Quantised().dequantise(codes, seeded(0)).abs().max() > 0.99


def test_wrong_scales_are_errors():
    with pytest.raises(ValueError, match="bins per unit"):
        bits_per_dim(torch.zeros(2), 3, 0.0)
    with pytest.raises(ValueError, match="low < high"):
        Quantised(256, 1.0, -1.0)


def test_the_noise_of_the_last_level_is_part_of_what_is_measured():
    """p at level 1 of N(.5, .49) is N(.5, 1.49), not N(.5, .49)."""
    nats = ode_likelihood(DENSITY, X, VarianceExploding(1.0, 200.0).ladder(60)).nats
    torch.testing.assert_close(nats, DENSITY.energy(X, 1.0), atol=0.02, rtol=0)
    assert (nats - DENSITY.energy(X)).abs().max() > 0.5

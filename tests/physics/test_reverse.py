"""Reverse samplers on Gaussians: every step is linear, so the final variance follows a recursion
that the papers write down.

Each recursion here is written in the paper's own coordinates and names, and compared with the
sampler's exact variance.
"""

import itertools
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradlogp.core.fields import Denoiser, NoisyField, column
from gradlogp.core.kernel import run
from gradlogp.core.noise import (
    PROCESSES,
    Cosine,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    ddpm_ladder,
)
from gradlogp.core.random import Streams, seeded
from gradlogp.core.targets import gaussian
from gradlogp.samplers import (
    DDIM,
    DPS,
    Ancestral,
    DPMSolver,
    Heun,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    UniPC,
)
from tests.physics.impulses import final_std, final_variance

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()
DDPM = {"process": VariancePreserving(), "levels": tuple(ddpm_ladder(BETAS))}
UNIFORM = VariancePreserving()


def ddpm_variance(
    betas: list[float], data: float, kind: str, posterior_scale: float = 1.0
) -> float:
    """Ho et al. (2020), eq. 7, with the exact E[x0 | x_t], from the variance 1 - alpha_bar; no
    noise in the last step.
    """
    alpha_bars, variance = [1.0], 0.0
    for beta in betas:
        alpha_bars.append(alpha_bars[-1] * (1 - beta))
    variance = 1 - alpha_bars[-1]
    for beta, now, before in zip(betas[::-1], alpha_bars[:0:-1], alpha_bars[-2::-1], strict=True):
        c0 = math.sqrt(before) * beta / (1 - now)
        ct = math.sqrt(1 - beta) * (1 - before) / (1 - now)
        gain = math.sqrt(now) * data / (now * data + 1 - now)
        posterior = data * (1 - now) / (now * data + 1 - now)
        tilde = beta * (1 - before) / (1 - now)
        noise = {
            "large": beta,
            "small": tilde,
            "optimal": tilde + posterior_scale * c0**2 * posterior,
        }[kind]
        variance = (ct + c0 * gain) ** 2 * variance + (noise if before < 1 else 0.0)
    return variance


def test_the_posterior_identities_that_ancestral_steps_rest_on():
    """c0 + ct sqrt(alpha_bar) = sqrt(alpha_bar before), and the noise that makes a point's variance
    1 - alpha_bar before.
    """
    sampler = Ancestral(**DDPM)
    for (s, t), rule in zip(
        zip(sampler.ladder, sampler.ladder[1:], strict=False), sampler.rules, strict=False
    ):
        assert rule.x + sum(rule.denoised) == pytest.approx(1, abs=1e-15)
        assert rule.x**2 * s**2 + rule.noise**2 == pytest.approx(t**2, rel=1e-10)


def test_the_optimal_variance_is_the_large_one_for_unit_data_and_the_small_one_for_a_point():
    for data, kind in ((1.0, "large"), (0.0, "small")):
        for optimal, known in zip(
            Ancestral(**DDPM, variance=data).rules,
            Ancestral(**DDPM, variance=kind).rules,
            strict=True,
        ):
            assert optimal.noise == pytest.approx(known.noise, rel=1e-9)


@pytest.mark.parametrize(
    ("variance", "kind", "value"),
    [("large", "large", 0.250752), ("small", "small", 0.246125), (0.25, "optimal", 0.249900)],
)
def test_ancestral_variance_over_the_thousand_steps_of_ddpm(variance, kind, value):
    """The optimal one loses nothing but the last step's denoising, s^2 sigma_L^2 / (s^2 +
    sigma_L^2) = 1e-4.
    """
    recursion = ddpm_variance(BETAS, 0.25, kind)
    assert recursion == pytest.approx(value, abs=1e-6)
    sampler = Ancestral(**DDPM, variance=variance)
    var = sampler.ladder[0] ** 2
    for rule, s in zip(sampler.rules, sampler.ladder, strict=False):
        var = (rule.x + rule.denoised[0] * 0.25 / (0.25 + s**2)) ** 2 * var + rule.noise**2
    assert var == pytest.approx(recursion, abs=1e-10)


def test_the_optimal_variance_is_exact_at_any_number_of_levels():
    sampler = Ancestral(levels=(50.0, 3.0, 0.4, 1e-4), variance=0.25)
    assert final_variance(sampler, 0.5, start=math.hypot(50.0, 0.5)) == pytest.approx(
        0.25, abs=1e-7
    )
    twice = math.sqrt(2)  # the usual slip, sqrt(h) for sqrt(2h) or back, is seen at once
    rules = [r._replace(noise=r.noise / twice) for r in sampler.rules]
    object.__setattr__(sampler, "rules", rules)
    assert final_variance(sampler, 0.5, start=math.hypot(50.0, 0.5)) < 0.2


@pytest.mark.parametrize("variance", ["small", "large", 0.25])
def test_the_samples_have_the_variance_of_the_recursion(variance):
    betas = torch.linspace(1e-3, 0.2, 100, dtype=torch.float64).tolist()
    sampler = Ancestral(VariancePreserving(), tuple(ddpm_ladder(betas)), variance=variance)
    g, n = seeded(1), 20_000
    x = run(
        sampler,
        gaussian([0.0], [0.5]),
        sampler.ladder[0] * torch.randn(n, 1, generator=g, dtype=torch.float64),
        100,
        g,
    )
    exact = ddpm_variance(betas, 0.25, "optimal" if variance == 0.25 else variance)
    assert abs(float(x.var()) / exact - 1) / math.sqrt(2 / n) < 4


class Learned(NoisyField):
    """N(0, .25) with its posterior variance, as a network with learned variances has it."""

    density = gaussian([0.0], [0.5])

    def denoise(self, x, sigma):
        return self.density.denoise(x, sigma)

    def moments(self, x, sigma):
        return self.denoise(x, sigma), torch.full_like(x, 0.25 * sigma**2 / (0.25 + sigma**2))


def test_a_learned_variance_is_the_optimal_one():
    draw = lambda variance: run(
        Ancestral(levels=8, variance=variance), Learned(), torch.ones(20, 1), 8, seeded(0)
    )
    torch.testing.assert_close(draw("learned"), draw(0.25), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="posterior variance of x0"):
        run(Ancestral(variance="learned"), gaussian([0.0], [1.0]), torch.ones(2, 1), 1, seeded(0))


@pytest.mark.parametrize(("steps", "std"), [(10, 0.362), (50, 0.472), (1000, 0.4987)])
def test_ddim_under_disperses_by_a_known_amount(steps, std):
    """Levels at equal distances in the time of VP: first order."""
    sampler = DDIM(UNIFORM, steps)
    x = run(
        sampler,
        gaussian([0.0], [0.5]),
        torch.full((1, 1), sampler.ladder[0], dtype=torch.float64),
        steps,
        seeded(0),
    )
    assert float(x) == pytest.approx(std, abs=1e-3)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("std", [0.5, 2.0])
def test_ddim_follows_its_equation(eta, std):
    """Song et al. (2021), eq. 12 and 16, in alpha_bar and eps."""
    sampler = DDIM(Cosine(), 12, eta=eta)
    alpha_bars = [1 / (1 + s**2) for s in sampler.ladder]
    variance = 1 - alpha_bars[0]
    for now, after in itertools.pairwise(alpha_bars):
        tau = eta * math.sqrt((1 - after) / (1 - now)) * math.sqrt(1 - now / after)
        x0 = math.sqrt(now) * std**2 / (now * std**2 + 1 - now)
        eps = (1 - math.sqrt(now) * x0) / math.sqrt(1 - now)
        variance = (
            math.sqrt(after) * x0 + math.sqrt(1 - after - tau**2) * eps
        ) ** 2 * variance + tau**2
    assert final_variance(sampler, std) == pytest.approx(variance, rel=1e-10)


def test_ddim_with_eta_one_is_ancestral_and_with_eta_zero_draws_nothing():
    for ancestral, ddim in zip(
        Ancestral(levels=9).rules, DDIM(levels=9, eta=1.0).rules, strict=True
    ):
        assert (ancestral.x, ancestral.noise) == pytest.approx((ddim.x, ddim.noise), rel=1e-12)
    g = seeded(0)
    before = g.get_state()
    run(DDIM(levels=9), gaussian([0.0], [1.0]), torch.ones(3, 1), 9, g)
    assert torch.equal(g.get_state(), before)


@pytest.mark.parametrize("n", [10, 300])
def test_euler_maruyama_has_its_own_exact_variance(n):
    """beta = 1 and data N(0, 1): y' = (1 - dt / 2) y + sqrt(dt) z, begun at 0, of variance (1 - (1
    - dt / 2)^2n) / (1 - dt / 4).
    """
    process = VariancePreserving(1.0, 1.0)
    sampler = ReverseSDE(process, n + 1, denoise=False)
    dt = (1 - 1e-3) / n
    alpha = float(process.alpha(1e-3))
    density = (1 - (1 - dt / 2) ** (2 * n)) / (1 - dt / 4)
    assert alpha**2 * final_variance(sampler, 1.0, start=0.0) == pytest.approx(density, rel=1e-10)
    g, chains = seeded(2), 4000
    x = (
        run(sampler, gaussian([0.0], [1.0]), torch.zeros(chains, 1, dtype=torch.float64), n, g)
        * alpha
    )
    z = lambda v: abs(float(x.var()) / v - 1) / math.sqrt(2 / chains)
    assert z(density) < 4 < z(density / 2)


@pytest.mark.parametrize(
    "process", [VariancePreserving(), SubVariancePreserving(), VarianceExploding(0.02, 30.0)]
)
@pytest.mark.parametrize("std", [0.5, 2.0])
def test_euler_maruyama_in_the_coordinates_of_the_process(process, std):
    """Song et al. (2021), eq. 6: y' = y - (f y - g^2 score) dt + g sqrt(dt) z, and a last denoising
    step.
    """
    n = 200
    times = torch.linspace(1, process.ends[0], n, dtype=torch.float64)
    variance = float(process.sigma(times[0])) ** 2
    for t, after in zip(times.tolist(), times[1:].tolist(), strict=False):
        f = float(process.drift(t))
        g2 = float(process.diffusion(t)) ** 2
        dt = t - after
        score = -1 / (float(process.alpha(t)) ** 2 * std**2 + float(process.sigma(t)) ** 2)
        variance = (1 - (f - g2 * score) * dt) ** 2 * variance + g2 * dt
    alpha = float(process.alpha(times[-1]))
    sigma = float(process.sigma(times[-1]))
    variance *= (alpha * std**2 / (alpha**2 * std**2 + sigma**2)) ** 2
    assert final_variance(ReverseSDE(process, n), std) == pytest.approx(variance, rel=1e-8)


def test_reverse_diffusion_of_a_ddpm():
    """Song et al. (2021), app. E: y' = (2 - sqrt(1 - beta)) y + beta score + sqrt(beta) z."""
    betas = torch.linspace(1e-3, 0.2, 100, dtype=torch.float64).tolist()
    sampler = ReverseSDE(
        VariancePreserving(),
        tuple(ddpm_ladder(betas)),
        method="reverse_diffusion",
        denoise=False,
    )
    alpha_bar = math.prod(1 - b for b in betas)
    variance = 1 - alpha_bar
    for beta in betas[:0:-1]:
        variance = (
            2 - math.sqrt(1 - beta) - beta / (alpha_bar * 0.25 + 1 - alpha_bar)
        ) ** 2 * variance + beta
        alpha_bar /= 1 - beta
    assert alpha_bar * final_variance(sampler, 0.5) == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_serves_levels_beyond_its_end(name):
    """The levels of DDPM end at 157.4, those of VP at 152.2; 50 of them draw N(0, .5^2) nearly."""
    process, levels = PROCESSES[name](), DDPM["levels"][::20]
    for walk in (
        Ancestral(process, levels, variance="large"),
        ReverseSDE(process, levels),
        ReverseSDE(process, levels, method="reverse_diffusion"),
    ):
        assert final_variance(walk, 0.5) == pytest.approx(0.25, rel=0.15)
    lengths = DPS(DDIM(process, levels), lambda x: x, torch.zeros(1)).lengths
    assert len(lengths) == 50 and all(0 < a < math.inf for a in lengths)


def test_reverse_diffusion_of_a_variance_exploding_process_is_ancestral_with_the_large_variance():
    large = Ancestral(levels=9, variance="large")
    reverse = ReverseSDE(VarianceExploding(), 9, method="reverse_diffusion")
    for a, b in zip(large.rules, reverse.rules, strict=True):
        assert (a.x, *a.denoised, a.noise) == pytest.approx((b.x, *b.denoised, b.noise), rel=1e-9)


@pytest.mark.parametrize(
    "sampler",
    [
        lambda n: Ancestral(levels=n),
        lambda n: DDIM(levels=n),
        lambda n: DDIM(levels=n, eta=0.5),
        lambda n: Ancestral(levels=n, variance="large"),
        lambda n: ReverseSDE(VariancePreserving(), n),
    ],
)
def test_first_order_samplers_halve_their_error_with_twice_the_levels(sampler):
    errors = [abs(final_std(sampler(n), 0.5) / 0.5 - 1) for n in (100, 200, 400)]
    assert all(a / b == pytest.approx(2, abs=0.25) for a, b in itertools.pairwise(errors))


def test_the_denoised_is_clipped_statically_and_dynamically():
    field = gaussian([0.0], [4.0])
    x = torch.full((3, 1), 4.0, dtype=torch.float64)
    inside = run(DDIM(levels=(0.1,), clip=(-1.0, 1.0)), field, x, 1, seeded(0))
    assert torch.equal(inside, torch.ones_like(x)) and DDIM(clip=(-1.0, 1.0)).kind == "generator"
    wide = torch.linspace(-3, 3, 601, dtype=torch.float64)[None]
    ended = run(
        DDIM(levels=(1e-6,), clip=0.5), gaussian([0.0] * 601, [1.0] * 601), wide, 1, seeded(0)
    )
    torch.testing.assert_close(ended, (wide / 1.5).clamp(-1, 1), atol=1e-9, rtol=0)
    narrow = run(
        DDIM(levels=(1e-6,), clip=0.5), gaussian([0.0] * 601, [1.0] * 601), wide / 10, 1, seeded(0)
    )
    torch.testing.assert_close(narrow, (wide / 10).clamp(-1, 1), atol=1e-9, rtol=0)


def test_a_denoiser_that_returns_its_input_is_not_overwritten():
    class Same(NoisyField):
        def denoise(self, x, sigma):
            return x

    torch.testing.assert_close(
        run(DDIM(levels=5), Same(), torch.ones(2, 3), 5, seeded(0)), torch.ones(2, 3)
    )


def test_a_step_too_many_is_refused():
    with pytest.raises(ValueError, match="ends after 5 steps, got 6"):
        run(DDIM(levels=5), gaussian([0.0], [1.0]), torch.ones(2, 1), 6, seeded(0))


WALKS = [
    DDIM(levels=6),
    DDIM(levels=6, eta=0.7),
    Ancestral(levels=6),
    ReverseSDE(levels=6),
    DPMSolver(levels=6, order=3, eta=1.0),
    UniPC(levels=6),
    Heun(levels=6, churn=2.0),
    ProbabilityFlow(levels=6),
    PredictorCorrector(Ancestral(levels=6), 2),
]


@pytest.mark.parametrize("sampler", WALKS, ids=lambda s: type(s).__name__)
def test_an_image_does_not_depend_on_the_batch_that_it_is_drawn_in(sampler):
    field = Denoiser(lambda x, sigma: x / column(1 + sigma**2, x))
    x = 5 * torch.randn(40, 2, 4, 3, generator=seeded(0))
    whole, half = (
        run(sampler, field, x[first:], 6, Streams(1, first, 40 - first)) for first in (0, 20)
    )
    assert whole.dtype == torch.float32 and torch.equal(whole[20:], half)


def test_a_watcher_may_keep_the_denoised_of_every_step():
    seen = []
    end = run(
        DPMSolver(levels=6),
        gaussian([0.0], [1.0]),
        torch.ones(2, 1),
        6,
        seeded(0),
        watch=lambda *step: seen.append(step[2]),
    )
    assert [round(info.sigma, 3) for info in seen[:-1]] == [
        round(s, 3) for s in DPMSolver(levels=6).ladder[1:-1]
    ]
    assert seen[-1].sigma == 0 and torch.equal(seen[-1].denoised, end)


class Operations(TorchDispatchMode):
    """The tensor operations that run beneath, by name."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("sampler", "operations"),
    [
        (DDIM(levels=9), 2),
        (DPMSolver(levels=9), 3),
        (DPMSolver(levels=9, order=3), 4),
        (UniPC(levels=9), 4),
        (Ancestral(levels=9), 4),
        (ReverseSDE(levels=9), 4),
        (Heun(levels=9), 5),
        (PredictorCorrector(Ancestral(levels=9)), 9),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_is_as_few_operations_as_its_equation_and_never_waits_for_the_device(
    sampler, operations
):
    """Over a field that costs nothing: x <- a x + b D + tau z in place."""
    stored = torch.ones(4, 3)

    class Null(NoisyField):
        def denoise(self, x, sigma):
            return stored

    state = sampler.init(Null(), torch.zeros(4, 3))
    for _ in range(4):
        with Operations() as seen:
            state, _ = sampler.step(Null(), state, seeded(0))
    assert len(seen.names) == operations and "_local_scalar_dense" not in seen.names

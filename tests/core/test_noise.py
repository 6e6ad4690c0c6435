import math

import pytest
import torch

from gradlogp.core.noise import (
    EDM,
    PROCESSES,
    Cosine,
    Rectified,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    ddpm_ladder,
)

ALL = [
    VarianceExploding(),
    VarianceExploding(0.002, 1.0),
    EDM(),
    EDM(0.01, 5.0, 3.0),
    VariancePreserving(),
    VariancePreserving(2.0, 2.0),
    SubVariancePreserving(),
    Cosine(),
    Cosine(0.0),
    Rectified(),
]
PRESERVING = [p for p in ALL if isinstance(p, VariancePreserving | Cosine)]
everywhere = pytest.mark.parametrize("process", ALL, ids=str)
close = lambda a, b, tolerance=1e-10: torch.testing.assert_close(
    a, b, atol=tolerance, rtol=tolerance
)


def times(n=41, low=1e-3, high=0.999):
    return torch.linspace(low, high, n, dtype=torch.float64, requires_grad=True)


def slope(y, t):
    return torch.autograd.grad(
        y.sum(), t, retain_graph=True, create_graph=True, materialize_grads=True
    )[0]


@everywhere
def test_drift_and_diffusion_are_the_derivatives_of_alpha_and_sigma(process):
    t = times()
    f = slope(process.alpha(t).log(), t) if process.alpha(t).requires_grad else torch.zeros_like(t)
    close(process.drift(t), f)
    close(
        process.diffusion(t) ** 2, slope(process.sigma(t) ** 2, t) - 2 * f * process.sigma(t) ** 2
    )


@everywhere
def test_time_and_level_undo_each_other_up_to_the_ends(process):
    edge = torch.tensor(
        [0.0, 1e-9, 1e-6, 1e-4, 1 - 1e-4, 1 - 1e-6, 1 - 1e-9, 1.0], dtype=torch.float64
    )
    t = torch.cat([edge, times().detach()])
    close(process.time(process.level(t)), t)
    first, last = process.ends
    levels = torch.logspace(
        math.log10(process.level(first)), math.log10(process.level(last)), 60, dtype=torch.float64
    )
    close(process.level(process.time(levels)), levels)
    close(
        process.time(torch.tensor(process.ladder(2), dtype=torch.float64)),
        torch.tensor([last, first], dtype=torch.float64),
    )


@everywhere
def test_alpha_is_known_at_a_level_and_beyond_the_last(process):
    t = times().detach()
    close(process.alpha_at(process.level(t)), process.alpha(t))
    assert 0 < process.alpha_at(2 * process.ladder(1)[0]) <= process.alpha_at(0.0) == 1


@everywhere
def test_rates_are_the_derivatives_of_alpha_and_sigma(process):
    t = times()
    alpha, sigma = process.rates(t)
    close(
        alpha, slope(process.alpha(t), t) if process.alpha(t).requires_grad else torch.zeros_like(t)
    )
    close(sigma, slope(process.sigma(t), t))


@everywhere
def test_the_sde_is_known_at_every_level_those_beyond_the_ends_included(process):
    """f = d ln alpha / dt and g^2 = alpha^2 d level^2 / dt, with t by the inverse of its own level."""
    first, last = (float(process.level(t)) for t in process.ends)
    levels = [0.9 * first, 1.5 * first, (first * last) ** 0.5, last, 1.034 * last, 3 * last]
    level = torch.tensor(levels, dtype=torch.float64, requires_grad=True)
    per_time = 1 / slope(process.time(level), level)
    log_alpha = process.alpha_at(level).log()
    f, g = process.sde_at(level)
    close(f, slope(log_alpha, level) * per_time if log_alpha.requires_grad else 0 * level, 1e-9)
    close(g**2 / (process.alpha_at(level) ** 2 * 2 * level * per_time), torch.ones_like(level))
    inside = times().detach()
    close(process.sde_at(process.level(inside)), (process.drift(inside), process.diffusion(inside)))
    close(process.rates_at(process.level(inside)), process.rates(inside))


@everywhere
def test_the_levels_of_float32_have_times_that_are_times(process):
    """Rounding carries some past the ends; they are still levels of the process."""
    levels = torch.tensor(process.ladder(50))
    close(process.level(process.time(levels)).float(), levels, 1e-4)


@everywhere
def test_signal_to_noise_falls(process):
    log_snr = process.log_snr(times(401))
    assert (log_snr.diff() < 0).all()
    close(log_snr, (process.alpha(times(401)) ** 2 / process.sigma(times(401)) ** 2).log())


@everywhere
def test_the_sde_has_the_process_as_its_distribution(process):
    """Fokker-Planck for N(m, s^2) data: d log p / dt = -f - f x d log p / dx + g^2 / 2 (d^2 log p /
    dx^2 + (d log p / dx)^2).
    """
    m, s = 0.7, 0.4
    t = times(9, 0.1, 0.9).detach().expand(5, 9).clone().requires_grad_(True)
    x = (
        torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
        .expand(5, 9)
        .clone()
        .requires_grad_(True)
    )

    var = (process.alpha(t) * s) ** 2 + process.sigma(t) ** 2
    log_p = -((x - process.alpha(t) * m) ** 2) / (2 * var) - var.log() / 2
    now, first = slope(log_p, t), slope(log_p, x)
    second = slope(first, x)
    f, g = process.drift(t), process.diffusion(t)
    change = -f - f * x * first + g**2 / 2 * (second + first**2)
    scale = 1 + now.abs()
    close(change / scale, now / scale)
    assert (
        (-f - f * x * first + g**2 * (second + first**2) - now) / scale
    ).abs().max() > 1e-2  # g^2 for g^2 / 2


@pytest.mark.parametrize("process", PRESERVING, ids=str)
@pytest.mark.parametrize("s", [0.1, 0.9, 1.0, 3.0])
def test_preserving_processes_draw_nearer_to_the_standard_normal_all_the_time(process, s):
    t, m = times(200).detach(), 1.5
    var = (process.alpha(t) * s) ** 2 + process.sigma(t) ** 2
    mean = process.alpha(t) * m
    kl = (var + mean**2 - 1 - var.log()) / 2
    assert (kl.diff() < 0).all()
    close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))


def test_sub_vp_has_the_square_of_vps_noise():
    t = times().detach()
    close(SubVariancePreserving().sigma(t), VariancePreserving().sigma(t) ** 2)
    close(SubVariancePreserving().alpha(t), VariancePreserving().alpha(t))


def test_rates_and_levels_are_those_published():
    """VP ends at alpha_bar = e^-10.05; NCSN for CIFAR-10 has ratio 5000^(1/231); EDM's 18 levels;
    rectified lines are straight.
    """
    assert float(VariancePreserving().alpha(1.0)) == pytest.approx(math.exp(-10.05 / 2), rel=1e-12)
    ladder = torch.tensor(VarianceExploding(0.01, 50.0).ladder(232), dtype=torch.float64)
    close(ladder[:-1] / ladder[1:], torch.full((231,), 5000 ** (1 / 231), dtype=torch.float64))
    edm = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)]
    assert EDM().ladder(18) == pytest.approx(edm, rel=1e-10)
    assert Rectified().ladder(3) == pytest.approx([999, 1, 1 / 999], rel=1e-9)
    u = lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    assert float(Cosine().alpha(0.3)) == pytest.approx((u(0.3) / u(0)) ** 0.5, rel=1e-12)
    assert Cosine().alpha(1.0) == 0 and Rectified().alpha(1.0) == 0


@pytest.mark.parametrize(
    ("betas", "cosine"),
    [(torch.linspace(1e-4, 0.02, 1000).tolist(), False), ([0.1, 0.2, 0.5, 0.9], False)],
)
def test_a_ddpm_is_a_grid_of_levels(betas, cosine):
    """c0 + ct sqrt(a_t) = sqrt(a_s), ct^2 (1 - a_t) + v = 1 - a_s, and 1 / v = (1 - b) / b + 1 / (1
    - a_s): Ho et al., eq. 7.
    """
    bar = 1 / (1 + torch.tensor(ddpm_ladder(betas), dtype=torch.float64).flip(0) ** 2)
    close(bar, (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0))
    now, before = bar[1:], bar[:-1]
    beta = 1 - now / before
    close(beta, torch.tensor(betas[1:], dtype=torch.float64))
    c0 = before.sqrt() * beta / (1 - now)
    ct = (1 - beta).sqrt() * (1 - before) / (1 - now)
    variance = beta * (1 - before) / (1 - now)
    close(c0 + ct * now.sqrt(), before.sqrt())
    close(ct**2 * (1 - now) + variance, 1 - before)
    close(1 / variance, (1 - beta) / beta + 1 / (1 - before))


def test_ddpm_is_vp_with_n_times_the_betas():
    n, vp = 100_000, VariancePreserving()
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    ladder = torch.tensor(ddpm_ladder((vp.beta(t) / n).tolist()), dtype=torch.float64)
    steps = torch.tensor([n - 1, n // 2 - 1, n // 10 - 1])
    assert (ladder.flip(0)[steps] / vp.level((steps + 1) / n) - 1).abs().max() < 1e-3


@everywhere
def test_noised_is_alpha_x0_plus_sigma_eps(process):
    g = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 4, 1, 2, 3, generator=g)
    t = torch.tensor([0.1, 0.4, 0.4, 0.9])
    xt = process.noised(x0, t, eps)
    assert xt.dtype == torch.float32
    for i in range(4):
        close(xt[i], float(process.alpha(t[i])) * x0[i] + float(process.sigma(t[i])) * eps[i], 1e-5)


def test_shapes_that_would_broadcast_are_errors():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="one number per example"):
        Rectified().noised(x, torch.tensor([0.5]), x)
    with pytest.raises(ValueError, match="eps has the shape of x0"):
        Rectified().noised(x, torch.full((3,), 0.5), x[:1])


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("t", [-0.01, 1.01, math.nan, [0.5, 1000.0]])
def test_t_outside_0_to_1_is_an_error(name, t):
    process = PROCESSES[name]()
    for function in (process.alpha, process.sigma, process.drift, process.diffusion):
        with pytest.raises(ValueError, match="t runs from 0"):
            function(torch.tensor(t))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VarianceExploding(0.0, 1.0), "0 < sigma_min < sigma_max"),
        (lambda: EDM(2.0, 1.0), "0 < sigma_min < sigma_max"),
        (lambda: VarianceExploding(-1.0, 1.0), "0 < sigma_min < sigma_max"),
        (lambda: EDM(rho=0.0), "rho is a power"),
        (lambda: VariancePreserving(0.0, 1.0), "0 < beta_min <= beta_max"),
        (lambda: SubVariancePreserving(2.0, 1.0), "0 < beta_min <= beta_max"),
        (lambda: Cosine(-0.1), "offset is a time"),
        (lambda: EDM().ladder(0), "1 level or more"),
    ],
)
def test_wrong_settings_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Solvers of the probability flow: their order by halving, their equations as published, and the
table of what they reach.
"""

import itertools
import math

import pytest
import torch

from gradlogp.core.kernel import run
from gradlogp.core.noise import EDM, VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, gaussian
from gradlogp.samplers import (
    DDIM,
    AdaptiveFlow,
    Ancestral,
    DPMSolver,
    Heun,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    UniPC,
)
from gradlogp.samplers.solvers import weights
from tests.physics.impulses import final_std, final_variance


def double(*rows):
    return torch.tensor(rows, dtype=torch.float64)


MIXTURE = GaussianMixture(double([-1.0], [1.5]), double([0.6], [0.9]), double(0.4, 0.6))
GRID = torch.linspace(-8, 8, 33, dtype=torch.float64)[:, None]


def graded(n: int) -> tuple[float, ...]:
    """n + 2 spans of ln sigma from 5 to .1: n equal ones, after two of n^-2 that let a multistep
    solver warm up.
    """
    start = [5 * math.exp(-k / n**2) for k in range(3)]
    return (*start, *(start[2] * (0.1 / start[2]) ** (i / n) for i in range(1, n + 1)))


def ended(sampler, target, x=GRID):
    return run(sampler, target, x, sampler.steps, seeded(0))


@pytest.mark.parametrize(
    ("solver", "settings", "order"),
    [
        (DDIM, {}, 1),
        (ProbabilityFlow, {"method": "euler"}, 1),
        (DPMSolver, {"order": 1}, 1),
        (ProbabilityFlow, {"method": "heun"}, 2),
        (Heun, {}, 2),
        (DPMSolver, {"order": 2}, 2),
        (DPMSolver, {"order": 3}, 3),
        (UniPC, {"order": 1}, 2),
        (UniPC, {"order": 2}, 3),
        (UniPC, {"order": 3}, 4),
        (ProbabilityFlow, {"method": "rk4"}, 4),
    ],
)
@pytest.mark.parametrize("target", [gaussian([0.0], [0.5]), MIXTURE], ids=["gaussian", "mixture"])
def test_each_solver_has_its_order(solver, settings, order, target):
    """UniPC's corrector lifts the order of its predictor by one."""
    ends = [
        ended(solver(levels=graded(n), denoise=False, **settings), target) for n in (32, 64, 128)
    ]
    exact = ended(ProbabilityFlow(levels=graded(400), denoise=False, method="rk4"), target)
    coarse, middle, fine = (float((x - exact).abs().max()) for x in ends)
    assert math.log2(middle / fine) == pytest.approx(order, abs=0.2)
    assert math.log2(coarse / middle) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_the_reference_flow_is_the_closed_form(std):
    """x is in proportion to sqrt(s^2 + sigma^2)."""
    exact = GRID * math.sqrt((std**2 + 0.1**2) / (std**2 + 5**2))
    flow = ended(
        ProbabilityFlow(levels=graded(600), denoise=False, method="rk4"), gaussian([0.0], [std])
    )
    torch.testing.assert_close(flow, exact, atol=1e-10, rtol=0)


def test_edm_heun_has_the_published_errors():
    errors = []
    for levels in (18, 36, 72, 144, 288):
        x = torch.full((1, 1), 80.0, dtype=torch.float64)
        errors.append(
            abs(
                float(ended(Heun(EDM(), levels), gaussian([0.0], [0.5]), x))
                * math.sqrt(0.25 + 80**2)
                / 40
                - 1
            )
        )
    assert errors == pytest.approx([5.5e-2, 1.2e-2, 2.9e-3, 6.9e-4, 1.6e-4], rel=0.03)
    assert all(a / b == pytest.approx(4, abs=0.6) for a, b in itertools.pairwise(errors))
    assert errors[2] / errors[3] == pytest.approx(4, abs=0.3) and errors[3] / errors[
        4
    ] == pytest.approx(4, abs=0.3)


def dpm_solver_2m(levels, gain, eta=0.0):
    """Lu et al. (2022), algorithm 2 and app. B; for each independent source of noise, where it
    ends.
    """
    x, before = torch.zeros(len(levels), dtype=torch.float64), None
    x[0] = levels[0]
    for i, (s, t) in enumerate(itertools.pairwise(levels)):
        d, h = gain(s) * x, math.log(s / t)
        wanted = d if before is None else d + (d - before[0]) / (2 * before[1] / h)
        x = t / s * math.exp(-eta * h) * x - math.expm1(-(1 + eta) * h) * wanted
        x[i + 1] += t * math.sqrt(1 - math.exp(-2 * eta * h))
        before = d, h
    return gain(levels[-1]) * x


def dpm_solver_3m(levels, gain, share=2.0, denoise=True):
    """The third-order step by differences and phi functions; second and first order where points
    are missing.

    `share` of the second divided difference: 2 is the second derivative. Widespread code has 1.
    """
    x, past = levels[0], []
    for i, (s, t) in enumerate(itertools.pairwise(levels)):
        d, h = gain(s) * x, math.log(s / t)
        phi1 = math.expm1(-h)
        phi2 = phi1 / h + 1
        order = min(3, i + 1, len(levels) - i) if denoise else min(3, i + 1)
        new = t / s * x - phi1 * d
        if order == 2:
            new -= phi1 * (d - past[0][0]) / (2 * past[0][1] / h)
        if order == 3:
            r0, r1 = past[0][1] / h, past[1][1] / h
            a, b = (d - past[0][0]) / r0, (past[0][0] - past[1][0]) / r1
            new += phi2 * (a + r0 / (r0 + r1) * (a - b)) - share * (phi2 / h - 0.5) * (a - b) / (
                r0 + r1
            )
        past, x = [(d, h), *past], new
    return gain(levels[-1]) * x if denoise else x


def unipc_2(levels, gain):
    """Zhao et al. (2023), algorithms 5 to 8 for data prediction: predict, evaluate, correct, and
    predict from the corrected.
    """
    anchor = None
    x = levels[0]
    past = []
    for i, s in enumerate(levels):
        d = gain(s) * x
        if i > 0:
            last, d0, h = past[0]
            if i == 1:
                x = s / last * anchor + -math.expm1(-h) * (d0 + (d - d0) / 2)
            else:
                w = weights(h, [0.0, h, -past[1][2]])
                x = s / last * anchor + w[0] * d0 + w[1] * d + w[2] * past[1][1]
        if i == len(levels) - 1:
            return d
        t = levels[i + 1]
        h = math.log(s / t)
        anchor = x
        slope = 0.0 if i == 0 else (d - past[0][1]) / (2 * past[0][2] / h)
        x = t / s * x - math.expm1(-h) * (d + slope)
        past = [(s, d, h), *past]


def edm_heun(levels, gain):
    """Karras et al. (2022), algorithm 1."""
    x = levels[0]
    for s, t in zip(levels, [*levels[1:], 0.0], strict=True):
        slope = (x - gain(s) * x) / s
        trial = x + (t - s) * slope
        x = trial if t == 0 else x + (t - s) * (slope + (trial - gain(t) * trial) / t) / 2
    return x


@pytest.mark.parametrize("std", [0.5, 2.0])
@pytest.mark.parametrize(
    ("sampler", "published"),
    [
        (DPMSolver(levels=12), dpm_solver_2m),
        (DPMSolver(levels=12, order=3), dpm_solver_3m),
        (UniPC(levels=12), unipc_2),
        (Heun(levels=12), edm_heun),
    ],
    ids=["2M", "3M", "unipc", "heun"],
)
def test_each_solver_is_the_one_that_was_published(sampler, published, std):
    gain = lambda s: std**2 / (std**2 + s**2)
    x = ended(
        sampler, gaussian([0.0], [std]), torch.full((1, 1), sampler.ladder[0], dtype=torch.float64)
    )
    exact = torch.as_tensor(published(sampler.ladder[:-1], gain), dtype=torch.float64).flatten()[0]
    assert float(x) == pytest.approx(float(exact), rel=1e-10)


@pytest.mark.parametrize(("share", "order"), [(2.0, 3), (1.0, 2)])
def test_half_the_second_derivative_costs_3m_its_order(share, order):
    errors = [
        abs(
            dpm_solver_3m(graded(n), lambda s: 0.25 / (0.25 + s**2), share, denoise=False)
            - 5 * math.sqrt(0.26 / 25.25)
        )
        for n in (64, 128)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_the_sde_solver_has_the_variance_of_its_recursion(eta):
    sampler = DPMSolver(levels=12, eta=eta)
    exact = float(
        dpm_solver_2m(sampler.ladder[:-1], lambda s: 0.25 / (0.25 + s**2), eta).square().sum()
    )
    assert final_variance(sampler, 0.5) == pytest.approx(exact, rel=1e-10)
    g, n = seeded(3), 20_000
    x = run(
        sampler,
        gaussian([0.0], [0.5]),
        50 * torch.randn(n, 1, generator=g, dtype=torch.float64),
        12,
        g,
    )
    assert abs(float(x.var()) / exact - 1) / math.sqrt(2 / n) < 4


@pytest.mark.parametrize(("order", "rate"), [(1, 1.0), (2, 2.0), (3, 2.2)])
def test_the_sde_solvers_converge_to_the_distribution(order, rate):
    process = VarianceExploding(1e-3, 1000.0)
    errors = [
        abs(final_std(DPMSolver(process, n, order=order, eta=1.0), 0.5) / 0.5 - 1)
        for n in (100, 200)
    ]
    assert errors[1] < 0.04 and math.log2(errors[0] / errors[1]) > rate - 0.25


def test_weights_integrate_polynomials_exactly():
    """Against Gauss-Legendre quadrature, at three nodes and two rates."""
    roots = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    masses = torch.full((20_001,), 1 / 20_000, dtype=torch.float64)
    masses[0] = masses[-1] = 0.5 / 20_000
    for h, rate in ((0.7, 1.0), (0.05, 2.0)):
        nodes = [0.0, -0.4, -1.1]
        u = h * roots
        for power in range(3):
            exact = float((h * masses * rate * (-rate * (h - u)).exp() * u**power).sum())
            found = sum(w * n**power for w, n in zip(weights(h, nodes, rate), nodes, strict=True))
            assert found == pytest.approx(exact, rel=1e-7, abs=1e-10)


def test_churn_climbs_by_as_much_noise_as_it_says_and_only_within_its_levels():
    sampler = Heun(EDM(0.1, 10.0), 10, churn=3.0, s_min=0.5, s_max=5.0)
    for (tau, level, _), s in zip(sampler.plan, sampler.ladder, strict=False):
        gamma = 0.3 if 0.5 <= s <= 5 else 0.0
        assert level == pytest.approx(s * (1 + gamma)) and s**2 + tau**2 == pytest.approx(level**2)
    assert (sampler.kind, Heun(churn=1.0, s_noise=1.003).kind) == ("density", "generator")
    assert (sampler.evaluations, sampler.deterministic, Heun().deterministic) == (19, False, True)


def test_churn_is_exact_as_the_levels_grow():
    errors = [abs(final_std(Heun(EDM(), n, churn=10.0), 0.5) / 0.5 - 1) for n in (50, 100, 200)]
    assert errors[2] < 2e-3 and all(
        a / b == pytest.approx(4, abs=0.3) for a, b in itertools.pairwise(errors)
    )


@pytest.mark.parametrize("method", ["dormand_prince", "bogacki_shampine"])
def test_error_control_keeps_what_it_promises(method):
    """The error falls with the tolerance, on a law that is no Gaussian."""
    exact = ended(ProbabilityFlow(EDM(0.1, 5.0), 400, denoise=False, method="rk4"), MIXTURE)
    errors = []
    for tolerance in (1e-3, 1e-5, 1e-7):
        flow = AdaptiveFlow(EDM(0.1, 5.0), tolerance, tolerance, method, denoise=False)
        errors.append(float((flow.solve(MIXTURE, GRID) - exact).abs().max()))
    assert (
        all(e < 40 * t for e, t in zip(errors, (1e-3, 1e-5, 1e-7), strict=True))
        and errors[0] > 10 * errors[1] > 100 * errors[2]
    )


def test_an_adaptive_example_does_not_depend_on_its_batch():
    flow = AdaptiveFlow(EDM(0.1, 5.0), 1e-4, 1e-4)
    together = flow.solve(MIXTURE, GRID)
    alone = torch.cat([flow.solve(MIXTURE, x[None]) for x in GRID[::8]])
    torch.testing.assert_close(together[::8], alone, atol=1e-12, rtol=0)


def test_those_that_arrive_stay_and_end_at_the_denoised():
    flow = AdaptiveFlow(EDM(0.1, 5.0), 1e-6, 1e-6, steps=100)
    exact = GRID * math.sqrt(0.25 + 0.01) / math.sqrt(0.25 + 25) * 0.25 / (0.25 + 0.01)
    for x in (flow.solve(gaussian([0.0], [0.5]), GRID), ended(flow, gaussian([0.0], [0.5]))):
        torch.testing.assert_close(x, exact, atol=1e-5, rtol=0)
    with pytest.raises(RuntimeError, match="have not arrived after 3 attempts"):
        AdaptiveFlow(steps=3).solve(MIXTURE, GRID)


# (sampler, its evaluations, the best peer's standard deviations on N(0, diag(.5^2, 2^2)) at as
# many)
PEERS = [
    (DPMSolver(levels=20), 20, (0.477, 2.001)),
    (DPMSolver(levels=100), 100, (0.497, 1.992)),
    (UniPC(levels=20), 20, (0.475, 2.003)),
    (UniPC(levels=100), 100, (0.498, 2.002)),
    (DDIM(levels=20), 20, (0.433, 1.846)),
    (DDIM(levels=100), 100, (0.486, 1.993)),
    (Ancestral(levels=20), 20, (0.392, 1.745)),
    (Ancestral(levels=100), 100, (0.468, 1.930)),
    (ReverseSDE(levels=100), 100, (0.498, 2.010)),
    (PredictorCorrector(ReverseSDE(levels=50)), 99, (0.482, 1.977)),
    (DPMSolver(levels=100, eta=1.0), 100, (0.498, 2.010)),
    (Heun(levels=50), 99, (0.503, 1.989)),
    (UniPC(levels=20, order=3), 20, (0.477, 2.001)),
]


@pytest.mark.parametrize(("sampler", "evaluations", "peer"), PEERS)
def test_the_defaults_are_at_least_as_accurate_as_the_best_peer(sampler, evaluations, peer):
    """By the larger relative error of the two standard deviations."""
    worst = lambda stds: max(abs(stds[0] / 0.5 - 1), abs(stds[1] / 2 - 1))
    assert sampler.evaluations == evaluations
    assert worst((final_std(sampler, 0.5), final_std(sampler, 2.0))) <= worst(peer) + 5e-4


def test_churn_climbs_by_its_share_of_the_walk_and_no_further():
    few = Heun(levels=20, churn=4.0, s_min=0.1, s_max=10.0)
    many = Heun(levels=20, churn=1000.0)
    for s, up in zip(few.ladder, few.climbs, strict=False):
        assert up == pytest.approx(s * (1 + 4 / 20 if 0.1 <= s <= 10 else 1))
    assert many.climbs == pytest.approx([math.sqrt(2) * s for s in many.ladder[:-1]])
    x = torch.zeros(3, 2)
    Heun(s_noise=1.5).climb(x, torch.ones(3, 2), 0.2)
    assert torch.equal(x, torch.full((3, 2), 0.3))

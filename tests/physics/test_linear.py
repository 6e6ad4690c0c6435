"""On a Gaussian, Langevin, its preconditioned form and BAOAB are linear: x' = A x + B z, whose
stationary law is exact algebra.
"""

import itertools
import math

import pytest
import torch

from gradlogp.core.fields import ClosedForm, Energy
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.samplers import Langevin, PreconditionedLangevin, Underdamped
from tests.physics.exact import DOUBLE, Given, harmonic, quartic, stationary


def unit(n: int) -> torch.Tensor:
    return torch.eye(n, **DOUBLE)


def matrices(sampler, field, names, d):
    """A and B of one step, in the coordinates of the state called `names`, from steps on unit
    vectors with given noise.
    """
    n = len(names) * d

    def step(s, z):
        state = sampler.init(field, s[:, :d])._replace(
            **{name: s[:, i * d : (i + 1) * d].clone() for i, name in enumerate(names)}
        )
        state = (
            state._replace(score=field.score(state.x), drawn=True)
            if hasattr(state, "drawn")
            else state
        )
        state, _ = sampler.step(field, state, Given(0, 0, len(s), z=z))
        return torch.cat([getattr(state, name) for name in names], 1)

    zero = torch.zeros
    return step(unit(n), zero(n, d, **DOUBLE)).T, step(zero(d, n, **DOUBLE), unit(d)).T


def covariance(sampler, field, names=("x",), d=1):
    return stationary(*matrices(sampler, field, names, d))


@pytest.mark.parametrize(
    ("h", "var", "T"), [(0.3, 2.0, 1.0), (0.02, 0.36, 1.0), (0.5, 1.0, 0.5), (1.2, 1.0, 3.0)]
)
def test_langevin(h, var, T):
    """T s^2 / (1 - h / 2 s^2); where the step is written (h / 2, sqrt(h)) the bias halves: 1 - h /
    4 s^2.
    """
    measured = float(covariance(Langevin(h, temperature=T), harmonic(var)))
    assert measured == pytest.approx(T * var / (1 - h / (2 * var)), rel=1e-12)
    half = float(covariance(Langevin(h / 2, temperature=T), harmonic(var)))
    assert half == pytest.approx(T * var / (1 - h / (4 * var)), rel=1e-12)
    wrong = float(covariance(Langevin(h, noise_std=math.sqrt(h * T)), harmonic(var)))
    assert wrong == pytest.approx(measured / 2, rel=1e-12)


def test_a_preconditioner_makes_every_scale_alike():
    """With P the variances every coordinate has the relative bias 1 / (1 - h / 2), and the same
    correlation 1 - h.
    """
    var = (0.01, 1.0, 25.0)
    h = 0.1
    T = 0.7
    sampler = PreconditionedLangevin(h, preconditioner=torch.tensor(var, **DOUBLE), temperature=T)
    push, noise = matrices(sampler, harmonic(*var), ("x",), 3)
    assert (push - (1 - h) * unit(3)).abs().max() < 1e-14
    assert (
        stationary(push, noise) - torch.diag(torch.tensor(var, **DOUBLE)) * T / (1 - h / 2)
    ).abs().max() < 1e-12
    for p in (0.5, 3.0):
        one = PreconditionedLangevin(h, preconditioner=torch.tensor([p], **DOUBLE))
        assert float(covariance(one, harmonic(2.0))) == pytest.approx(
            2 / (1 - h * p / 4), rel=1e-12
        )


def test_a_learned_preconditioner_is_the_scale_and_then_frozen_and_keeps_the_distribution():
    var, n = (0.01, 1.0, 9.0), 4000
    sampler = PreconditionedLangevin(0.02, adapt=200)
    field = harmonic(*var)
    kept = []
    x = torch.randn(n, 3, generator=seeded(0), **DOUBLE) * torch.tensor(var).sqrt()
    end = run(
        sampler, field, x, 400, seeded(1), lambda i, state, info: kept.append(state.preconditioner)
    )
    p = kept[-1]
    assert torch.equal(p, kept[200]) and not torch.equal(kept[150], kept[199])
    assert p.mean(0).tolist() == pytest.approx(
        [v**0.5 for v in var], rel=0.15
    )  # RMSprop: 1 / sqrt(E s^2) = s
    expected = torch.tensor(var) / (
        1 - 0.02 * p.mean(0) / (2 * torch.tensor(var))
    )  # stationary again after the warm-up
    assert all(
        abs(z) < 4
        for z in (((end**2).mean(0)[:2] - expected[:2]) / ((end**2).std(0)[:2] / n**0.5)).tolist()
    )


# BAOAB


@pytest.mark.parametrize(
    ("h", "var", "friction", "T"),
    [(0.1, 1.0, 1.0, 1.0), (1.9, 1.0, 0.3, 1.0), (0.5, 0.25, 5.0, 2.0), (2.0, 4.0, 20.0, 0.1)],
)
def test_baoab_has_the_exact_variance_of_x_and_a_known_one_of_v(h, var, friction, T):
    """Var x = T s^2 for every stable step, Var v = T (1 - h^2 / 4 s^2): where Langevin of that
    reach is biased.
    """
    density = covariance(Underdamped(h, friction, T), harmonic(var), ("x", "velocity"))
    exact = torch.diag(torch.tensor([T * var, T * (1 - h**2 / (4 * var))], **DOUBLE))
    assert (density - exact).abs().max() < 1e-11
    assert (
        float(covariance(Langevin(h**2 / 2, temperature=T), harmonic(var))) / (T * var)
        > 1 / (1 - h**2 / (4 * var)) - 1e-9
    )


def test_baoab_is_stable_up_to_twice_the_scale():
    radius = [
        float(
            torch.linalg.eigvals(
                matrices(Underdamped(h, 0.5), harmonic(1.0), ("x", "velocity"), 1)[0]
            )
            .abs()
            .max()
        )
        for h in (1.99, 2.01)
    ]
    assert radius[0] < 1 < radius[1]


def test_friction_and_its_noise_are_exact_where_there_is_no_force():
    """A free particle: v is an Ornstein-Uhlenbeck process, correlation e^{-gamma h}, variance T,
    whatever the step.
    """
    free = ClosedForm(lambda x: 0 * x[:, 0], lambda x: 0 * x)
    for h in (0.01, 3.0):
        push, noise = matrices(
            Underdamped(h, friction=0.7, temperature=2.0), free, ("x", "velocity"), 1
        )
        assert float(push[1, 1]) == pytest.approx(math.exp(-0.7 * h), rel=1e-14)
        assert float(noise[1, 0] ** 2 / (1 - push[1, 1] ** 2)) == pytest.approx(2.0, rel=1e-12)
        assert float(noise[1, 0] ** 2) != pytest.approx(
            2 * (1 - math.exp(-0.7 * h)), rel=0.003
        )  # (1 - c) for (1 - c^2)


def test_without_friction_baoab_is_a_second_order_integrator():
    """x(t) = x0 cos t + v0 sin t: the error at t = 3 falls by four when the step is halved."""
    errors = []
    for n in (30, 60, 120, 240):
        sampler = Underdamped(3 / n, friction=0.0)
        x, v = torch.tensor([[1.0], [0.5]], **DOUBLE).split(1)
        state = sampler.init(harmonic(1.0), x)._replace(velocity=v, drawn=True)
        for _ in range(n):
            state, _ = sampler.step(harmonic(1.0), state, seeded(0))
        errors.append(abs(float(state.x) - math.cos(3) - 0.5 * math.sin(3)))
    assert [a / b for a, b in itertools.pairwise(errors)] == pytest.approx([4, 4, 4], abs=0.05)


def test_with_all_friction_baoab_is_langevin_with_averaged_noise():
    """x' = x + (h^2 / 2) s(x) + (h / 2) (z + z'), step_size h^2 / 2: each noise is used half now
    and half in the next step.
    """
    h = 0.5
    field = quartic()
    x = torch.full((1, 1), 0.8, **DOUBLE)
    before = torch.full((1, 1), 0.3, **DOUBLE)
    after = torch.full((1, 1), -0.7, **DOUBLE)
    sampler = Underdamped(h, friction=1e9)
    state = sampler.init(field, x)._replace(velocity=before + h / 2 * field.score(x), drawn=True)
    state, _ = sampler.step(field, state, Given(0, 0, 1, z=after))
    assert float(
        state.x - (x + h**2 / 2 * field.score(x) + h / 2 * (before + after))
    ) == pytest.approx(0, abs=1e-14)


def test_the_velocity_is_drawn_at_the_temperature_and_heat_reads_it():
    sampler = Underdamped(0.2, temperature=2.5)
    field = Energy(lambda x: x.square().sum(1) / 2)
    heats = []
    x = torch.randn(500, 20, generator=seeded(1), **DOUBLE) * 2.5**0.5
    run(sampler, field, x, 10, seeded(0), lambda i, state, info: heats.append(info.heat))
    expected = 2.5 * (1 - 0.2**2 / 4)
    assert abs(float(heats[-1].mean()) - expected) < 4 * expected * (2 / 10_000) ** 0.5
    assert abs(float(heats[0].mean()) - 2.5) < 0.15

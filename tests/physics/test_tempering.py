"""Modes that a local chain never leaves: tempered chains cross, and come out with the right
weights.
"""

import pytest
import torch

from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture
from gradlogp.samplers import (
    HMC,
    MALA,
    NUTS,
    Langevin,
    ParallelTempering,
    TemperedTransitions,
    Underdamped,
    tempering,
)
from tests.physics.exact import DOUBLE, harmonic, z_mean

MODES = GaussianMixture(
    torch.tensor([[-4.0], [4.0]], **DOUBLE),
    torch.tensor([[0.5], [1.0]], **DOUBLE),
    torch.tensor([0.3, 0.7], **DOUBLE),
)
N = 1000
LEFT = torch.full((N, 1), -4.0, **DOUBLE)


def right_share(x):
    return (x[:, 0] > 0).double()


def is_the_density(x):
    """Weight .7 at 4, and within each mode its own mean and variance."""
    checks = [abs(z_mean(right_share(x), 0.7))]
    for at, std in ((-4, 0.5), (4, 1.0)):
        inside = x[(x - at).abs() < 4] - at
        checks += [abs(z_mean(inside, 0)), abs(z_mean(inside**2, std**2))]
    return max(checks) < 4


def test_mala_never_crosses():
    end = run(MALA(0.2), MODES.at(), LEFT, 300, seeded(0))
    assert float(right_share(end).sum()) == 0


@pytest.mark.parametrize(
    "inner", [MALA(0.2), HMC(0.4, 3), NUTS(0.8, max_depth=3)], ids=["mala", "hmc", "nuts"]
)
def test_parallel_tempering_crosses_at_the_right_weights(inner):
    sampler = ParallelTempering(inner, (1.0, 3.0, 9.0, 27.0))
    swaps = []
    steps = 200 if isinstance(inner, MALA) else 60
    end = run(
        sampler, MODES.at(), LEFT, steps, seeded(0), lambda i, state, info: swaps.append(info.swap)
    )
    assert is_the_density(end)
    assert all(0.3 < float(rate) < 0.8 for rate in torch.stack(swaps[20:]).mean((0, 1)))


def test_an_exchange_with_the_wrong_sign_is_caught(monkeypatch):
    right = tempering.decide
    monkeypatch.setattr(tempering, "decide", lambda log_ratio, *rest: right(-log_ratio, *rest))
    assert not is_the_density(
        run(ParallelTempering(MALA(0.2), (1.0, 3.0, 9.0, 27.0)), MODES.at(), LEFT, 200, seeded(0))
    )


def test_the_acceptance_of_exchanges_between_gaussians():
    """In two dimensions E ~ T x exponential, so exchanges of T1 < T2 are accepted at the rate 2 /
    (1 + T2 / T1).
    """
    temperatures = (1.0, 2.0, 6.0)
    sampler = ParallelTempering(HMC(0.7, 3), temperatures)
    swaps = []
    x = torch.randn(N, 2, generator=seeded(1), **DOUBLE)
    run(
        sampler,
        harmonic(1.0, 1.0),
        x,
        60,
        seeded(0),
        lambda i, state, info: swaps.append(info.swap),
    )
    for pair, expected in enumerate((2 / 3, 1 / 2)):
        assert abs(z_mean(torch.stack(swaps[20:])[..., pair].mean(0), expected)) < 4


@pytest.mark.parametrize(
    "inner", [Langevin(0.05), Underdamped(0.3)], ids=["langevin", "underdamped"]
)
def test_an_inner_sampler_without_a_test_crosses_too_and_keeps_the_weights(inner):
    x = MODES.sample(N, seeded(1))
    end = run(ParallelTempering(inner, (1.0, 3.0, 9.0, 27.0)), MODES.at(), x, 150, seeded(0))
    assert float((right_share(end) != right_share(x)).double().mean()) > 0.002
    assert abs(z_mean(right_share(end), 0.7)) < 4


def test_each_row_of_a_state_keeps_the_energy_and_score_of_its_x():
    field = MODES.at()
    sampler = ParallelTempering(MALA(0.2, adapt=20), (1.0, 5.0, 25.0))
    kept = []
    run(sampler, field, LEFT[:50], 30, seeded(0), lambda i, state, info: kept.append(state))
    state = kept[-1]
    assert (state.inner.energy - state.weight * field.energy(state.inner.x)).abs().max() < 1e-12
    assert (
        state.inner.score - state.weight[:, None] * field.score(state.inner.x)
    ).abs().max() < 1e-12
    assert state.weight.view(3, 50)[:, 0].tolist() == [1.0, 0.2, 0.04]
    size = state.inner.tuning.log_step.view(3, 50).mean(1).exp()
    assert size[0] < size[1] < size[2]


LADDER = tuple(1.5**i for i in range(9))


def test_tempered_transitions_cross_at_the_right_weights():
    accepts = []
    sampler = TemperedTransitions(MALA(0.2), LADDER, inner_steps=2)
    end = run(
        sampler, MODES.at(), LEFT, 60, seeded(0), lambda i, state, info: accepts.append(info.accept)
    )
    assert is_the_density(end) and 0.05 < float(torch.stack(accepts).mean()) < 0.9


def test_tempered_transitions_leave_the_distribution_and_balance_in_detail():
    """From exact draws x to x': E f(x) g(x') = E f(x') g(x) for a reversible kernel, here the
    excursion alone.
    """
    x = MODES.sample(20_000, seeded(2))
    sampler = TemperedTransitions(MALA(0.2), LADDER[::2], inner_steps=1)
    state = sampler.init(MODES.at(), x)
    reset = sampler.inner.init(MODES.at(), x)
    state, _ = _excursion_only(sampler, state, seeded(3))
    f, g = right_share, lambda y: y[:, 0] ** 2
    assert float((right_share(state.x) != right_share(reset.x)).double().mean()) > 0.01
    assert abs(z_mean(f(x) * g(state.x) - f(state.x) * g(x), 0)) < 4 and is_the_density(state.x)


def test_an_excursion_that_is_always_accepted_is_caught(monkeypatch):
    x = MODES.sample(20_000, seeded(2))
    sampler = TemperedTransitions(MALA(0.2), LADDER[::2])
    monkeypatch.setattr(
        tempering, "decide", lambda log_ratio, *rest: (log_ratio.exp(), log_ratio == log_ratio)
    )
    state, _ = _excursion_only(sampler, sampler.init(MODES.at(), x), seeded(3))
    assert not is_the_density(state.x)


def test_an_excursion_over_a_flat_ladder_is_always_accepted():
    sampler = TemperedTransitions(MALA(0.2), (1.0, 1.0001))
    _, info = sampler.step(
        MODES.at(), sampler.init(MODES.at(), MODES.sample(100, seeded(2))), seeded(3)
    )
    assert float(info.accept.min()) > 0.99


def _excursion_only(sampler, state, generator):
    """A step without its first, ordinary part."""
    walk = TemperedTransitions._walk
    try:
        TemperedTransitions._walk = lambda self, i, *rest: (
            rest[1] if i == 0 else walk(self, i, *rest)
        )
        return sampler.step(MODES.at(), state, generator)
    finally:
        TemperedTransitions._walk = walk

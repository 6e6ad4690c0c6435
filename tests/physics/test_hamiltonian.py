"""Leapfrog's laws, and the exactness that the Metropolis test buys: MALA, HMC and NUTS, with the
usual mistakes shown to fail.
"""

import itertools
import math

import pytest
import torch

from gradlogp.core.fields import ClosedForm, Energy
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.samplers import HMC, MALA, NUTS
from gradlogp.samplers.hamiltonian import HamiltonianState, leapfrog
from gradlogp.samplers.metropolis import MetropolisState, choose, decide
from gradlogp.samplers.nuts import closed
from tests.physics.exact import (
    DOUBLE,
    QUARTIC_VARIANCE,
    harmonic,
    quartic,
    quartic_samples,
    uniformity,
    z_mean,
)

BANANA = Energy(lambda x: x[:, 0] ** 2 / 2 + (x[:, 1] - x[:, 0] ** 2) ** 2)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), **DOUBLE)


def phase(field, x, v):
    return HamiltonianState(x, v, *field.energy_and_score(x))


def walk(field, start: HamiltonianState, epsilon: float, steps: int) -> HamiltonianState:
    with torch.no_grad():
        return leapfrog(field, start, torch.full_like(start.x[:, :1], epsilon), steps)


def wrong_sign(field: ClosedForm) -> ClosedForm:
    """The bug: kicks along +grad E."""
    return ClosedForm(field.energy, lambda x: -field.score(x))


# the proposal


@pytest.mark.parametrize("h", [0.1, 0.7, 1.9])
def test_the_log_ratio_of_mala_on_a_gaussian(h):
    """(h/4)(|x|^2 - |x'|^2) for x' = x - h x + sqrt(2h) z, and so (h/8)(...) where the step is
    written (h/2, sqrt(h)).
    """
    x, z = draw(200, 5), draw(200, 5, seed=1)
    old = phase(harmonic(*[1.0] * 5), x, z)
    for step, drift, noise, share in (
        (h, h, math.sqrt(2 * h), h / 4),
        (h / 2, h / 2, math.sqrt(h), h / 8),
    ):
        new = walk(harmonic(*[1.0] * 5), old, math.sqrt(2 * step), 1)
        assert (new.x - (x - drift * x + noise * z)).abs().max() < 1e-14
        exact = share * (x.square().sum(1) - new.x.square().sum(1))
        assert (old.hamiltonian - new.hamiltonian - exact).abs().max() < 1e-13
        assert (old.energy - new.energy - exact).abs().max() > 0.5  # the proposal ratio left out


def test_the_change_of_h_is_the_whole_metropolis_ratio():
    """E(x) - E(x') + log q(x | x') - log q(x' | x), with q written down, on a law that is not
    Gaussian, with a mass.
    """
    h, mass = 0.03, torch.tensor([2.0, 0.5], **DOUBLE)
    x, z = 0.5 * draw(100, 2), draw(100, 2, seed=1)
    old = phase(BANANA, x, z)
    new = leapfrog(BANANA, old, math.sqrt(2 * h) * mass.rsqrt().expand(100, 2), 1)

    def log_q(to, at):
        return -((to.x - at.x - h / mass * at.score).square() * mass).sum(1) / (4 * h)

    assert (
        old.hamiltonian
        - new.hamiltonian
        - (old.energy - new.energy + log_q(old, new) - log_q(new, old))
    ).abs().max() < 1e-11


# leapfrog


def test_the_shadow_energy_of_an_oscillator_is_conserved():
    """v^2 / 2 + (1 - eps^2 / 4) x^2 / 2, to rounding over 10,000 steps; H itself is not."""
    epsilon, field = 0.5, harmonic(1.0)
    shadow = lambda p: p.v.square() / 2 + (1 - epsilon**2 / 4) * p.x.square() / 2
    start = phase(field, draw(4, 1), draw(4, 1, seed=1))
    end = walk(field, start, epsilon, 10_001)
    assert (shadow(end) - shadow(start)).abs().max() < 1e-11
    assert (end.hamiltonian - start.hamiltonian).abs().max() > 1e-3


@pytest.mark.parametrize("field", [harmonic(1.0), quartic()], ids=["oscillator", "quartic"])
def test_the_error_of_h_falls_by_four_when_the_step_is_halved(field):
    start = phase(field, torch.full((1, 1), 0.9, **DOUBLE), torch.full((1, 1), 0.7, **DOUBLE))
    change = [
        float((walk(field, start, 1.2 / n, n).hamiltonian - start.hamiltonian).abs())
        for n in (10, 20, 40, 80)
    ]
    assert [a / b for a, b in itertools.pairwise(change)] == pytest.approx([4, 4, 4], abs=0.1)
    wrong = [
        float((walk(wrong_sign(field), start, 1.2 / n, n).hamiltonian - start.hamiltonian).abs())
        for n in (10, 20, 40)
    ]
    assert all(a / b < 1.5 for a, b in itertools.pairwise(wrong))


def test_leapfrog_runs_backward_and_keeps_volume():
    start = phase(BANANA, 0.3 * draw(6, 2), draw(6, 2, seed=1))
    end = walk(BANANA, start, 0.1, 25)
    for flip, epsilon in ((-1, 0.1), (1, -0.1)):
        back = walk(BANANA, end._replace(v=flip * end.v), epsilon, 25)
        assert (back.x - start.x).abs().max() < 1e-13 and (
            flip * back.v - start.v
        ).abs().max() < 1e-13

    def flow(q):
        x, v = q[None, :2], q[None, 2:]
        moved = leapfrog(BANANA, phase(BANANA, x, v), torch.full((1, 1), 0.1, **DOUBLE), 5)
        return torch.cat([moved.x[0], moved.v[0]])

    jacobian = torch.autograd.functional.jacobian(flow, torch.cat([start.x[0], start.v[0]]))
    assert abs(float(torch.linalg.det(jacobian)) - 1) < 1e-10


# the law


class NoTest:
    """The bug: every proposal is taken."""

    def __init__(self, inner):
        self.inner = inner

    def init(self, field, x):
        return self.inner.init(field, x)

    def step(self, field, state, generator):
        proposal, info = self.propose(field, state, generator)
        return state._replace(x=proposal.x, energy=proposal.energy, score=proposal.score), info

    def propose(self, field, state, generator):
        old = HamiltonianState(
            state.x,
            torch.randn(state.x.shape, generator=generator, **DOUBLE),
            state.energy,
            state.score,
        )
        return walk(field, old, math.sqrt(2 * self.inner.step_size), 1), old


class NoProposalRatio(NoTest):
    """The bug: E(x) - E(x') alone decides."""

    def step(self, field, state, generator):
        new, old = self.propose(field, state, generator)
        _, keep = decide(old.energy - new.energy, new.energy, generator)
        kept = (
            choose(keep, a, b)
            for a, b in ((new.x, old.x), (new.energy, old.energy), (new.score, old.score))
        )
        return MetropolisState(*kept, state.noise, state.tuning), None


SAMPLERS = {
    "mala small": MALA(0.1),
    "mala": MALA(0.5),
    "hmc": HMC(0.9, 3),
    "hmc jitter": HMC(0.7, 4, jitter=0.5),
    "hmc mass": HMC(0.5, 3, mass=torch.tensor([2.0], **DOUBLE)),
    "nuts": NUTS(0.6),
    "nuts coarse": NUTS(1.0, max_depth=5),
    "nuts shallow": NUTS(0.2, max_depth=2),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("distribution", ["gaussian", "quartic"])
def test_the_second_moment_is_exact_at_any_step(name, distribution):
    n, g = 4000 if name == "nuts" else 20_000, seeded(3)
    x = (
        quartic_samples(n, g)
        if distribution == "quartic"
        else torch.randn(n, 1, generator=g, **DOUBLE)
    )
    field, second = (
        (quartic(), QUARTIC_VARIANCE) if distribution == "quartic" else (harmonic(1.0), 1.0)
    )
    end = run(SAMPLERS[name], field, x, 8, g)
    assert abs(z_mean(end[:, 0] ** 2, second)) < 4 and abs(z_mean(end[:, 0], 0)) < 4
    assert float((end != x).float().mean()) > 0.9


@pytest.mark.parametrize("bug", [NoTest, NoProposalRatio])
def test_the_usual_mistakes_are_caught(bug):
    n, g = 20_000, seeded(3)
    end = run(bug(MALA(0.5)), harmonic(1.0), torch.randn(n, 1, generator=g, **DOUBLE), 8, g)
    assert abs(z_mean(end[:, 0] ** 2, 1.0)) > 8


@pytest.mark.parametrize("sampler", [HMC(0.3, 5), NUTS(0.3)], ids=["hmc", "nuts"])
def test_a_banana_from_afar(sampler):
    """x0 ~ N(0, 1) and x1 - x0^2 ~ N(0, 1/2), from a start that has neither."""
    n, g = 1500, seeded(4)
    end = run(sampler, BANANA, torch.full((n, 2), 0.5, **DOUBLE), 40, g)
    rest = end[:, 1] - end[:, 0] ** 2
    for values, mean in (
        (end[:, 0], 0),
        (end[:, 0] ** 2, 1),
        (rest, 0),
        (rest**2, 0.5),
        (rest * end[:, 0], 0),
    ):
        assert abs(z_mean(values, mean)) < 4


def test_a_mass_is_a_change_of_coordinates():
    """With the inverse variances for mass, a chain on N(0, s^2) is s times the chain on N(0, 1),
    number for number.
    """
    s, y = torch.tensor([0.1, 3.0], **DOUBLE), draw(50, 2)
    for sampler in (MALA, HMC, NUTS):
        single = run(
            sampler(0.4, mass=s**-2), Energy(lambda v: v.square().sum(1)), y.float(), 2, seeded(0)
        )
        assert single.dtype == torch.float32  # whatever the dtype of the mass
        scaled = run(sampler(0.4, mass=s**-2), harmonic(*(s**2).tolist()), s * y, 5, seeded(0))
        assert (
            scaled / s - run(sampler(0.4), harmonic(1.0, 1.0), y, 5, seeded(0))
        ).abs().max() < 1e-10


def test_creutz():
    """E exp(-Delta H) = 1 where the chain is at rest, although E Delta H > 0."""
    x = torch.randn(100_000, 1, generator=seeded(5), **DOUBLE)
    sampler = HMC(1.0, 2)
    _, info = sampler.step(harmonic(1.0), sampler.init(harmonic(1.0), x), seeded(6))
    assert abs(z_mean((-info.change).exp(), 1)) < 4 and z_mean(info.change, 0) > 20


def test_simulation_based_ranks_are_uniform():
    """theta ~ N(0, 1), y | theta ~ N(theta + theta^3 / 3, .5^2): the rank of theta among reversible
    chains run from it both ways.

    theta takes a random place in a chain of 10, so its rank is exactly uniform if the kernel is
    reversible for p(theta | y).
    """
    n = 20_000
    length = 9
    g = seeded(7)
    theta = torch.randn(n, 1, generator=g, **DOUBLE)
    y = theta + theta**3 / 3 + 0.5 * torch.randn(n, 1, generator=g, **DOUBLE)
    posterior = Energy(lambda t: (t**2 / 2 + (y - t - t**3 / 3) ** 2 / (2 * 0.5**2))[:, 0])
    place = torch.randint(length + 1, (n, 1), generator=g)

    def ranks(sampler, field=posterior):
        ways = []
        for _ in range(2):
            kept = []
            run(
                sampler,
                field,
                theta,
                length,
                g,
                lambda i, state, info: kept.append(state.x.clone()),  # noqa: B023
            )
            ways.append(torch.cat(kept, 1))
        index = torch.arange(length)
        chain = torch.where(index < place, ways[0], ways[1].flip(1))
        ties = (chain == theta).sum(1)
        return (chain < theta).sum(1) + (torch.rand(n, generator=g) * (ties + 1)).long()

    for sampler in (MALA(0.05), HMC(0.2, 3)):
        assert uniformity(ranks(sampler), length + 1) > 1e-3
    assert (
        uniformity(ranks(MALA(0.05), posterior / 0.5), length + 1) < 1e-6
    )  # the law of sqrt(h) for sqrt(2h): temperature 1/2
    assert uniformity(ranks(NoProposalRatio(MALA(0.05))), length + 1) < 1e-6


# the acceptance


@pytest.mark.parametrize(("d", "accept"), [(2, 0.756), (10, 0.732), (100, 0.725)])
def test_steps_of_d_to_the_minus_third_keep_the_acceptance_of_mala(d, accept):
    field, sampler = harmonic(*[1.0] * d), MALA(d ** (-1 / 3))
    _, info = sampler.step(
        field, sampler.init(field, torch.randn(20_000, d, generator=seeded(8), **DOUBLE)), seeded(9)
    )
    assert abs(z_mean(info.accept, accept)) < 4 + 0.0005 / (
        0.3 / 20_000**0.5
    )  # the published values have three digits


@pytest.mark.parametrize(
    ("sampler", "target"),
    [
        (MALA(0.01, adapt=400), 0.574),
        (MALA(30.0, adapt=400), 0.574),
        (HMC(0.05, 5, jitter=0.3, adapt=400), 0.8),
        (HMC(1.0, 5, jitter=0.3, adapt=400, target=0.651), 0.651),
        (NUTS(0.1, adapt=150), 0.8),
    ],
    ids=["mala from below", "mala from above", "hmc", "hmc .651", "nuts"],
)
def test_the_step_size_is_tuned_to_the_target_and_then_frozen(sampler, target):
    field = harmonic(*[1.0] * 10)
    seen = []
    sizes = []

    def watch(i, state, info):
        if i > sampler.adapt:
            seen.append(info.accept)
            sizes.append(state.tuning.log_step)

    run(sampler, field, draw(40, 10), sampler.adapt + 40, seeded(10), watch)
    assert abs(float(torch.stack(seen).mean()) - target) < 0.04
    assert (
        torch.equal(sizes[0], sizes[-1]) and len(sizes[0].unique()) == 40
    )  # a size for each chain


# NUTS's own


def test_every_balanced_subtree_is_checked_once_from_its_first_leaf():
    marks, checked = {}, set()
    for leaf in range(64):
        checked |= {(marks[mark], leaf) for mark in closed(leaf)}
        if leaf % 2 == 0:
            marks[leaf.bit_count()] = leaf
    assert checked == {
        (first, first + size - 1) for size in (2, 4, 8, 16, 32, 64) for first in range(0, 64, size)
    }


def test_the_trajectory_ends_near_half_a_period_whatever_the_step():
    """On N(0, I) the ends turn after half a period, pi; the tree doubles once more for each halving
    of the step.
    """
    depths = []
    for epsilon in (0.2, 0.1, 0.05):
        sampler = NUTS(epsilon)
        _, info = sampler.step(
            harmonic(*[1.0] * 20), sampler.init(harmonic(*[1.0] * 20), draw(200, 20)), seeded(11)
        )
        assert (
            math.pi / 2 < float(info.leaps.mean()) * epsilon < 2 * math.pi
            and not info.diverged.any()
        )
        depths.append(float(info.depth.mean()))
    assert [b - a for a, b in itertools.pairwise(depths)] == pytest.approx([1, 1], abs=0.2)


def test_a_diverging_trajectory_is_reported_and_left():
    sampler, x = NUTS(50.0), draw(20, 3)
    state, info = sampler.step(
        harmonic(1.0, 1.0, 1.0), sampler.init(harmonic(1.0, 1.0, 1.0), x), seeded(12)
    )
    assert (
        info.diverged.all()
        and (info.leaps == 1).all()
        and torch.equal(state.x, x)
        and float(info.accept.max()) < 1e-10
    )


def test_jitter_moves_the_step_evenly_to_both_sides():
    step = HMC(0.1, jitter=0.4).epsilon(torch.full((10_000,), 0.1, dtype=torch.float64), seeded(0))
    assert 0.06 <= step.min() < 0.0601 and 0.1399 < step.max() <= 0.14
    assert abs(step.mean() - 0.1) < 4 * 0.04 / math.sqrt(3 * 10_000)


def test_the_no_u_turn_sampler_stays_within_the_trajectory_that_ended():
    """Oscillators of many periods in one batch: one that has turned draws nothing from the steps
    that the others still take.
    """
    scale = torch.linspace(0.2, 5, 400, **DOUBLE)[:, None]
    epsilon = 0.3
    field = Energy(lambda x: (x / scale).square().sum(1) / 2)
    start = phase(field, scale * draw(400, 1), draw(400, 1, seed=7))
    with torch.no_grad():
        sampler = NUTS(epsilon)
        state, info = sampler.step(field, sampler.init(field, start.x), seeded(7))
        reached = 2 ** int(info.depth.max())
        step = torch.full_like(start.x, epsilon)
        orbit = torch.stack(
            [
                leapfrog(field, start, step if k > 0 else -step, abs(k)).x if k else start.x
                for k in range(1 - reached, reached)
            ]
        )
    gap, at = (orbit - state.x).abs()[..., 0].min(0)
    away = (at - (reached - 1)).abs()
    whole = info.leaps == 2**info.depth - 1
    assert gap.max() < 1e-9 and len(info.depth.unique()) > 3
    assert (away <= torch.where(whole, info.leaps, 2 ** (info.depth - 1) - 1)).all() and (
        away > 0
    ).double().mean() > 0.8

"""Annealed importance sampling against partition functions that are known: machines by enumeration,
mixtures in closed form.
"""

import math

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.core.fields import Energy
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, Ising, Potts
from gradlogp.models.rbm import BernoulliRBM, GaussianRBM, binary_states
from gradlogp.samplers import HMC, MALA, Langevin
from gradlogp.samplers.block import BlockGibbs, GibbsLangevin
from gradlogp.samplers.gibbs import CheckerboardGibbs, Gibbs, GibbsWithGradients
from gradlogp.tasks.ais import (
    BernoulliBase,
    Bracket,
    Estimate,
    Geometric,
    Machines,
    NormalBase,
    OneHotBase,
    ais,
    bracket,
    linear,
    reverse_ais,
    salakhutdinov_murray,
)

D = 10
H = 8
CHAINS = 500


def normal(seed, *shape):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def rbm(scale=1.0):
    return BernoulliRBM.of(scale * normal(0, D, H), normal(1, D) / 2, normal(2, H) / 2)


def grbm(scale=1.0):
    return GaussianRBM.of(
        scale * normal(3, 4, 5) / 2, normal(4, 4), normal(5, 4) / 3, normal(6, 5) / 2
    )


def machines(model):
    return Machines(model, model.base(model.sample(2_000, seeded(7))))


@pytest.mark.parametrize(("steps", "within"), [(10, 0.04), (100, 0.015), (1000, 0.005)])
def test_a_machines_log_z(steps, within):
    """The error falls with the ladder; published for 500 chains on another machine: .03, .003,
    .0024 at 10, 100, 1000.
    """
    model = rbm()
    estimate = ais(machines(model), BlockGibbs(), linear(steps), CHAINS, seeded(8))
    error = abs(estimate.value - float(model.log_z()))
    assert error < 4 * estimate.error and error < within
    assert 1 <= estimate.ess <= CHAINS


def test_longer_ladders_have_more_even_weights():
    runs = [
        ais(machines(rbm()), BlockGibbs(), linear(steps), CHAINS, seeded(9))
        for steps in (10, 100, 1000)
    ]
    assert runs[0].error > 2 * runs[1].error > 4 * runs[2].error  # in proportion to 1 / sqrt(steps)
    assert runs[0].ess < runs[1].ess < runs[2].ess and runs[2].ess > 0.9 * CHAINS


@pytest.mark.parametrize("make", [rbm, grbm])
def test_the_bracket_holds_the_truth_and_closes(make):
    """The gap between the mean log-weights of single chains, up and down, falls as 1 / steps."""
    model = make(1.5)
    truth, gaps = float(model.log_z()), []
    for steps in (3, 12, 48):
        both = bracket(
            machines(model),
            BlockGibbs(),
            linear(steps),
            model.sample(4_000, seeded(10)),
            seeded(11),
        )
        assert both.contains(truth, errors=4)
        gaps.append(float(-both.upper.log_weights.mean() - both.lower.log_weights.mean()))
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


def test_few_chains_bound_from_both_sides_on_average():
    """Of single chains the bounds are strict: the mean of log w is below log Z / Z_0, that of the
    reverse above.
    """
    model = rbm(1.5)
    path, truth = machines(model), float(model.log_z())
    up = path.log_z_base + ais(path, BlockGibbs(), linear(5), 4_000, seeded(12)).log_weights
    down = (
        path.log_z_base
        - reverse_ais(
            path, BlockGibbs(), linear(5), model.sample(4_000, seeded(13)), seeded(14)
        ).log_weights
    )
    assert (truth - up.mean()) / (up.std() / 4_000**0.5) > 5 and (down.mean() - truth) / (
        down.std() / 4_000**0.5
    ) > 5
    for log_w in (
        up - truth,
        truth - down,
    ):  # and the weights themselves are unbiased: E[w] = 1 after division by the truth
        w = log_w.exp()
        assert abs(w.mean() - 1) / (w.std() / 4_000**0.5) < 4


def test_the_base_distributions_are_normalised():
    v = torch.cat(list(binary_states(4, torch.zeros((), dtype=torch.float64))))
    assert abs((-BernoulliBase(normal(15, 4)).energy(v)).logsumexp(0)) < 1e-12
    assert abs((-BernoulliBase(normal(15, 4), (-1.0, 1.0)).energy(2 * v - 1)).logsumexp(0)) < 1e-12
    hot = torch.eye(3, dtype=torch.float64)[torch.cartesian_prod(torch.arange(3), torch.arange(3))]
    assert abs((-OneHotBase(normal(16, 2, 3)).energy(hot)).logsumexp(0)) < 1e-12
    grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)[:, None]
    one = NormalBase(normal(17, 1), normal(18, 1).exp())
    assert abs((-one.energy(grid)).logsumexp(0) + math.log(60 / 60_000)) < 1e-10


@pytest.mark.parametrize(
    "base",
    [
        BernoulliBase(normal(15, 3)),
        BernoulliBase(normal(15, 3), (-1.0, 1.0)),
        OneHotBase(normal(16, 2, 3)),
        NormalBase(normal(17, 3), normal(18, 3).exp()),
    ],
)
def test_the_base_distributions_draws_have_their_means(base):
    """E[dE/d theta] = 0 under the law itself, for the parameters that it is made of."""
    parameters = [
        p.clone().requires_grad_(True) for p in vars(base).values() if isinstance(p, torch.Tensor)
    ]
    rebuilt = type(base)(
        *parameters, *[v for v in vars(base).values() if not isinstance(v, torch.Tensor)]
    )
    x = base.sample(20_000, seeded(19))
    for part in parameters:
        grads = torch.stack(
            [torch.autograd.grad(rebuilt.energy(g).mean(), part)[0] for g in x.split(200)]
        )
        assert (grads.mean(0) / (grads.std(0) / 10)).abs().max() < 4


def test_the_path_of_machines_drops_as_its_machines_do():
    for model in (rbm(), grbm()):
        path = machines(model)
        v = path.sample(20, seeded(20))
        gap = path.drop(v, 0.2, 0.7) - (path.at(0.2).energy(v) - path.at(0.7).energy(v))
        torch.testing.assert_close(gap, gap[:1].expand(20), atol=1e-10, rtol=0)
        assert abs(path.log_z_base - float(path.at(0.0).function.log_z())) < 1e-10


def test_a_gaussian_machine_by_block_gibbs_and_by_gibbs_langevin():
    model = grbm()
    for sampler in (BlockGibbs(), GibbsLangevin(0.5, 3, adjust=True)):
        estimate = ais(machines(model), sampler, linear(100), CHAINS, seeded(21))
        assert abs(estimate.value - float(model.log_z())) < 4 * estimate.error < 0.4


MIXTURE = GaussianMixture(
    torch.tensor([[-1.5, 0.0], [1.5, 1.0]], dtype=torch.float64),
    torch.full((2, 2), 0.6, dtype=torch.float64),
    torch.tensor([0.3, 0.7], dtype=torch.float64),
)
LOG_Z = 3.7


def continuous():
    return Geometric(
        NormalBase(torch.zeros(2, dtype=torch.float64), torch.full((2,), 2.0, dtype=torch.float64)),
        Energy(lambda x: MIXTURE.energy(x) - LOG_Z),
    )


def test_from_a_gaussian_to_a_mixture():
    """A mixture less a constant has that for log Z. Langevin's bias, of the order of its step, is
    below the standard error.
    """
    both = bracket(
        continuous(),
        Langevin(0.02),
        linear(60),
        MIXTURE.sample(2_000, seeded(22)),
        seeded(23),
        steps=2,
    )
    assert both.contains(LOG_Z, errors=4) and both.lower.error < 0.05 and abs(both.gap) < 0.2
    assert not both.contains(LOG_Z + math.log(2), errors=4) and not both.contains(
        LOG_Z - math.log(2), errors=4
    )


def test_a_sampler_for_each_temperature():
    estimate = ais(
        continuous(), lambda beta: Langevin(0.1 * (1 - beta) + 0.01), linear(30), 1_000, seeded(24)
    )
    assert abs(estimate.value - LOG_Z) < 4 * estimate.error + 0.02


@pytest.mark.parametrize("sampler", [Gibbs(), GibbsWithGradients()])
def test_a_machine_as_any_energy_of_binary_x(sampler):
    model = BernoulliRBM.of(normal(0, 4, 3), normal(1, 4), normal(2, 3))
    path = Geometric(BernoulliBase(torch.zeros(4, dtype=torch.float64)), model)
    estimate = ais(path, sampler, linear(30), CHAINS, seeded(25))
    assert abs(estimate.value - float(model.log_z())) < 4 * estimate.error < 0.4


def test_lattices_against_their_transfer_matrices():
    ising = Ising(4, 4, 0.3, field=0.2)
    potts = Potts(3, 4, 0.5, field=(0.3, 0.0, -0.2), periodic=False)
    flat = lambda lattice: torch.zeros(lattice.shape, dtype=torch.float64)
    for path, sampler in (
        (Geometric(BernoulliBase(flat(ising)), ising), CheckerboardGibbs()),
        (Geometric(OneHotBase(flat(potts)), potts), CheckerboardGibbs(None)),
    ):
        both = bracket(
            path, sampler, linear(50), path.target.sample(CHAINS, seeded(28)), seeded(29)
        )
        assert both.contains(path.target.log_z(), errors=4) and abs(both.gap) < 0.1


@pytest.mark.parametrize("sampler", [MALA(0.3), HMC(0.4, leapfrog_steps=3)])
def test_metropolis_samplers_are_exact_between_temperatures(sampler):
    """No bias to hide: on long ladders the error is the standard error, and no more."""
    both = bracket(continuous(), sampler, linear(40), MIXTURE.sample(1_000, seeded(30)), seeded(31))
    assert both.contains(LOG_Z, errors=4) and both.lower.error < 0.06


def test_the_likelihood_of_data():
    model = rbm()
    v = model.sample(300, seeded(26))
    estimate = ais(machines(model), BlockGibbs(), linear(300), CHAINS, seeded(27))
    log_p = estimate.log_likelihood(model, v, batch=77)
    truth = -model(v).detach() - model.log_z()
    assert ((log_p - truth) - (log_p - truth)[0]).abs().max() < 1e-10 and (log_p - truth)[
        0
    ].abs() < 4 * estimate.error


def test_estimates_by_hand():
    """Weights 1 and 3: the mean is 2, its standard error 1, so that of the logarithm is 1 / 2; (1 +
    3)^2 / (1 + 9) chains count.
    """
    one = Estimate(10.0, torch.tensor([1.0, 3.0], dtype=torch.float64).log())
    assert (
        one.value == pytest.approx(10 + math.log(2))
        and one.error == pytest.approx(0.5)
        and one.ess == pytest.approx(1.6)
    )
    other = Estimate(10.0, one.log_weights, sign=-1)
    assert other.value == pytest.approx(10 - math.log(2))
    assert Bracket(other, one).contains(10.0) and not Bracket(one, other).contains(10.0)
    assert Bracket(other, one).gap == pytest.approx(2 * math.log(2))


def test_ladders():
    full = salakhutdinov_murray()
    assert len(full) == 14_501 and full[500] == 0.5 and full[4_500] == 0.9 and full[-1] == 1
    assert (
        full[1] == pytest.approx(1e-3)
        and full[501] - full[500] == pytest.approx(1e-4)
        and 1 - full[-2] == pytest.approx(1e-5)
    )
    for ladder in (salakhutdinov_murray(1_000), salakhutdinov_murray(29), linear(7)):
        assert ladder[0] == 0 and ladder[-1] == 1 and sorted(set(ladder)) == ladder
    assert len(salakhutdinov_murray(1_000)) == 1_001 and len(linear(7)) == 8


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="only generates"):
        ais(continuous(), Langevin(0.1, noise_std=0.01), linear(5), 4, seeded(0))
    for ladder in ([0.0, 0.5], [0.5, 1.0], [0.0, 0.6, 0.4, 1.0], [1.0]):
        with pytest.raises(ValueError, match="rises from 0 to 1"):
            ais(continuous(), Langevin(0.1), ladder, 4, seeded(0))


def test_a_single_chain_does_not_know_its_error():
    one = Estimate(0.0, torch.tensor([1.5], dtype=torch.float64))
    assert one.value == 1.5 and one.error == math.inf
    assert Bracket(one, one).contains(1.5) and not Bracket(one, one).contains(1.4)
    assert Bracket(one, one).contains(100.0, errors=1)

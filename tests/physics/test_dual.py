"""Dual score matching on Gaussians and mixtures, where both slopes and log Z are known."""

import math

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import NoisyEnergy, Score, column
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture, gaussian, ring_of_gaussians
from gradlogp.models import conv_noisy_energy
from gradlogp.objectives import DualScoreMatching, LogNormal, SingleLevel
from gradlogp.objectives.dual import log_normaliser, slopes

V, DIM = 0.49, 3
NORMAL = gaussian([0.0] * DIM, [V**0.5] * DIM)
MIXTURE = ring_of_gaussians(5, 2.0, 0.4)
PAIR = GaussianMixture(
    *(torch.tensor(v, dtype=torch.float64) for v in ([[-1.0], [1.5]], [[0.3], [0.6]], [0.4, 0.6]))
)
WIDE = LogNormal(0.0, 1.2)


def values(target, model, objective, n=40_000):
    return objective(model, Batch(target.sample(n, seeded(0))), seeded(1)).value


def close(found, exact):
    """To 4 standard errors, over groups of examples (levels are stratified)."""
    groups = found.detach().reshape(100, -1).mean(1)
    error = groups.std() / 10
    return abs(groups.mean() - exact) < 4 * error and error < 0.03 * abs(exact)


@pytest.mark.parametrize("target", [NORMAL, MIXTURE], ids=["gaussian", "mixture"])
def test_the_slope_in_the_level_is_what_finite_differences_say(target):
    x = 2 * target.sample(200, seeded(3))
    sigma = torch.linspace(0.1, 3, 200, dtype=torch.float64)
    in_x, in_level = slopes(target, x, sigma)
    h = 1e-5
    up, down = (target.energy(x, sigma * math.exp(d)) for d in (h, -h))
    assert torch.allclose(in_level, (up - down) / (2 * h), atol=1e-8)
    assert torch.allclose(in_x, -column(sigma, x) * target.score(x, sigma), atol=1e-10)


@pytest.mark.parametrize("sigma", [0.2, 1.0])
@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_the_loss_of_the_exact_energy_of_a_gaussian(sigma, weight):
    """eps | x is N(m, tau) with tau = v / (v + sigma^2) and m^2 = 1 - tau on average: the first
    term is D tau / 2, and Var(eps^2 | x) = 2 tau^2 + 4 m^2 tau makes the second tau / 2 - tau^2 /
    4.
    """
    tau = V / (V + sigma**2)
    found = values(NORMAL, NORMAL, DualScoreMatching(SingleLevel(sigma), weight))
    assert close(found, DIM * tau / 2 + weight * (tau / 2 - tau**2 / 4))


class Off(nn.Module):
    """The exact energy of `target`, off by a constant, by its tempering, and by a slope in ln
    sigma.
    """

    def __init__(self, target, temper=0.0, slope=0.0, constant=0.0):
        super().__init__()
        self.target, self.constant = target, constant
        self.temper = nn.Parameter(torch.tensor(temper, dtype=torch.float64))
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))

    def field(self, cond=None):
        return NoisyEnergy(self.energy)

    def energy(self, x, sigma):
        return (
            (1 + self.temper) * self.target.energy(x, sigma)
            + self.slope * sigma.log()
            + self.constant
        )


@pytest.mark.parametrize("target", [NORMAL, MIXTURE], ids=["gaussian", "mixture"])
def test_the_exact_energy_is_where_the_gradient_vanishes(target):
    found = []
    for i in range(40):
        model = Off(target)
        batch = Batch(target.sample(2000, seeded(i)))
        loss = DualScoreMatching(WIDE)(model, batch, seeded(100 + i)).value.mean()
        found.append(torch.stack(torch.autograd.grad(loss, list(model.parameters()))))
    found = torch.stack(found)
    assert (found.mean(0).abs() < 4 * found.std(0) / 40**0.5).all()
    wrong = Off(target, slope=0.5)
    loss = DualScoreMatching(WIDE)(wrong, Batch(target.sample(2000, seeded(0))), seeded(0)).value
    (slope,) = torch.autograd.grad(loss.mean(), wrong.slope)
    assert slope > 10 * found.std(0)[1]


def test_without_its_second_term_it_is_denoising_score_matching_and_sees_no_levels():
    model = Off(MIXTURE, slope=0.5)
    loss = DualScoreMatching(WIDE, 0.0)(model, Batch(MIXTURE.sample(500, seeded(0))), seeded(1))
    (slope,) = torch.autograd.grad(loss.value.mean(), model.slope)
    assert slope == 0


@pytest.mark.parametrize("target", [NORMAL, MIXTURE], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("constant", [0.0, -37.0])
def test_log_z_is_found_where_the_density_is_gaussian(target, constant):
    model = Off(target, constant=constant)
    found = log_normaliser(model, target.sample(20_000, seeded(0)), 30.0, seeded(1))
    assert abs(found + constant) < 0.01


def test_a_learned_energy_is_normalised_at_its_finest_level():
    """Two numbers far off, and one Newton step, which is exact, the loss being quadratic in them:
    then -log p at noise .2 holds to a hundredth of a nat, log Z included.
    """
    model = Off(PAIR, temper=0.4, slope=-0.8, constant=5.0)
    numbers = [model.temper, model.slope]
    batch = Batch(PAIR.sample(800_000, seeded(2)))
    loss = DualScoreMatching(WIDE)(model, batch, seeded(3)).value.mean()
    gradient = torch.stack(torch.autograd.grad(loss, numbers, create_graph=True))
    rows = [torch.stack(torch.autograd.grad(g, numbers, retain_graph=True)) for g in gradient]
    step = torch.linalg.solve(torch.stack(rows), gradient).detach()
    with torch.no_grad():
        for number, change in zip(numbers, step, strict=True):
            number.sub_(change)
    log_z = log_normaliser(model, PAIR.sample(20_000, seeded(4)), 6.0, seeded(5))
    x = PAIR.sample(2000, seeded(6))
    nats = model.energy(x, torch.full((2000,), 0.2, dtype=torch.float64)) + log_z
    error = (nats - PAIR.energy(x, 0.2)).detach()
    assert error.mean().abs() < 0.01
    assert error.std() < 0.01


def test_a_noisy_energy_begins_normalised_for_gaussian_data():
    """Its network is zero at the start, so it is the energy of N(0, sigma_data^2) at every level."""
    model = conv_noisy_energy((1, 8, 8), 0.5, (4, 8), 8).double()
    x0 = 0.5 * torch.randn(4000, 1, 8, 8, dtype=torch.float64, generator=seeded(0))
    assert abs(log_normaliser(model, x0, 5.0, seeded(1))) < 0.01 * 64
    normal = gaussian([0.0] * 64, [0.5] * 64)
    sigma = torch.full((50,), 0.3, dtype=torch.float64)
    assert torch.allclose(model(x0[:50], sigma), normal.energy(x0[:50].flatten(1), 0.3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: DualScoreMatching(WIDE, -1.0), "0 or more"),
        (
            lambda: DualScoreMatching(WIDE)(
                Score(lambda x: -x), Batch(torch.zeros(4, 2)), seeded(0)
            ),
            "a field without noise levels",
        ),
        (
            lambda: DualScoreMatching(WIDE)(
                lambda x, sigma: x, Batch(torch.zeros(4, 2)), seeded(0)
            ),
            "needs an energy",
        ),
    ],
)
def test_what_it_cannot_learn_from_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()

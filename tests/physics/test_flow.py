"""Flow and energy matching on Gaussian data, where the velocity, the losses and their minima are
known.
"""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Score, column
from gradlogp.core.noise import Rectified
from gradlogp.core.random import seeded
from gradlogp.core.targets import gaussian
from gradlogp.objectives import (
    ContrastiveDivergence,
    EnergyMatching,
    FlowMatching,
    FromHalves,
    FromProposal,
    LogNormal,
)
from gradlogp.objectives.flow import assignment, paired
from gradlogp.samplers import Langevin

S, N = 0.6, 40_000


def data(n=N, dim=2):
    return S * torch.randn(n, dim, dtype=torch.float64, generator=seeded(0))


def shrink(scale=1.0):
    return lambda x, sigma: scale * x * S**2 / (S**2 + column(sigma, x) ** 2)


def close(values, exact):
    """To 4 standard errors, over groups of examples (levels are stratified, so examples are not
    independent).
    """
    groups = values.reshape(100, -1).mean(1)
    error = groups.std() / 10
    return abs(groups.mean() - exact) < 4 * error and error < 0.05 * abs(exact)


def test_the_minimum_is_the_variance_of_velocities_that_meet():
    """At t, Var(eps - x0 | x_t) = s^2 / ((1 - t)^2 s^2 + t^2) for each dimension, half of which is
    the loss.
    """
    values = {
        scale: FlowMatching()(shrink(scale), Batch(data()), seeded(1)).value
        for scale in (0.9, 1.0, 1.1)
    }
    t = torch.linspace(*Rectified.ends, 200_001, dtype=torch.float64)
    assert close(
        values[1.0], torch.mean(S**2 / ((1 - t) ** 2 * S**2 + t**2))
    )  # two dimensions, a half each
    assert values[0.9].mean() > values[1.0].mean() < values[1.1].mean()


def test_what_it_learns_is_the_velocity_of_the_probability_flow():
    """(x_t - D) / t = f x - g^2 score / 2, here x_t (t - (1 - t) s^2) / ((1 - t)^2 s^2 + t^2)."""
    process = Rectified()
    t = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)[:, None]
    x = data(10, 1)
    density = gaussian([0.0], [S])
    learned = (x - density.denoise(x / (1 - t), (t / (1 - t))[:, 0])) / t
    score = density.score(x / (1 - t), (t / (1 - t))[:, 0]) / (1 - t)
    flow = process.drift(t) * x - process.diffusion(t) ** 2 * score / 2
    assert torch.allclose(learned, flow, rtol=1e-10)
    assert torch.allclose(
        learned, x * (t - (1 - t) * S**2) / ((1 - t) ** 2 * S**2 + t**2), rtol=1e-10
    )


def test_the_loss_is_half_the_squared_error_of_the_velocity():
    kept = {}

    def crooked(x, sigma):
        kept.update(x=x, t=(sigma / (1 + sigma))[:, None], out=x.sin())
        return kept["out"]

    x0 = data(50)
    value = FlowMatching(LogNormal(0.0, 1.0))(crooked, Batch(x0), seeded(1)).value
    t, xt = kept["t"], (1 - kept["t"]) * kept["x"]
    eps = (xt - (1 - t) * x0) / t
    assert torch.allclose(
        value, ((xt - kept["out"]) / t - (eps - x0)).square().sum(1) / 2, rtol=1e-9
    )


def test_assignments_are_the_cheapest():
    for seed in range(20):
        cost = np.random.default_rng(seed).normal(size=(6, 6))
        best = min(
            itertools.permutations(range(6)), key=lambda p: sum(cost[i, j] for i, j in enumerate(p))
        )
        assert assignment(cost).tolist() == list(best)
    x, y = (np.random.default_rng(i).normal(size=40) for i in (1, 2))
    order = assignment((x[:, None] - y) ** 2)
    assert (np.argsort(x) == np.argsort(y[order])).all()  # on a line, pairs are sorted alike


def test_pairs_stay_in_their_class_and_straighten_the_flow():
    x0 = data(60)
    eps = torch.randn(60, 2, dtype=torch.float64, generator=seeded(1))
    cond = torch.arange(60) % 3
    assert (paired(x0, eps, None) - x0).square().sum() < 0.6 * (eps - x0).square().sum()
    within = paired(x0, eps, cond)
    for c in range(3):
        members = cond == c
        assert torch.equal(within[members].sort(0)[0], eps[members].sort(0)[0])
        assert torch.equal(within[members], paired(x0[members], eps[members], None))
    straight, plain = (
        EnergyMatching(optimal_transport=ot)(Bowl(0.0), Batch(x0), seeded(2)).value.mean()
        for ot in (True, False)
    )
    assert straight < 0.6 * plain  # with no slope, the loss is half the squared length of the lines


class Bowl(nn.Module):
    """V(x) = a |x|^2 / 2."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return self.a * x.square().sum(1) / 2


def slopes(objective, model, x):
    """The derivative of the loss in a, in 50 groups of examples."""
    parts = objective(model, Batch(x), seeded(1)).value.chunk(50)
    return torch.stack(
        [torch.autograd.grad(p.mean(), model.a, retain_graph=True)[0] for p in parts]
    )


def flow_slope(a: float) -> float:
    """The loss is 1/2 E[a^2 x_t^2 + 2 a x_t (x0 - eps)] + const, with E x_t^2 = (s^2 + 1) / 3, E
    x_t (x0 - eps) = (s^2 - 1) / 2.
    """
    return a * (S**2 + 1) / 3 + (S**2 - 1) / 2


@pytest.mark.parametrize("a", [0.3, 1.5])
def test_the_warm_up_of_energy_matching(a):
    objective = EnergyMatching(optimal_transport=False)
    found = slopes(objective, Bowl(a), data(dim=1))
    assert abs(found.mean() - flow_slope(a)) < 4 * found.std() / 50**0.5 < 0.3 * abs(flow_slope(a))
    values = objective(Bowl(a), Batch(data(dim=1)), seeded(1)).value
    assert close(values.detach(), a**2 * (S**2 + 1) / 6 + a * (S**2 - 1) / 2 + (S**2 + 1) / 2)
    assert torch.allclose(
        values, objective(Score(lambda x: -a * x), Batch(data(dim=1)), seeded(1)).value, rtol=1e-10
    )


def test_its_contrast_weighs_the_chains_at_their_temperature():
    """With chains from their own law, of variance eps / a (and Langevin's bias), the slope gains
    weight (s^2 - eps / a) / 2.
    """
    a = 1.5
    heat = 0.2
    h = 0.05
    weight = 3.0
    var = heat / a / (1 - h * a / 2)
    exact_chains = FromProposal(
        lambda batch, g: var**0.5 * torch.randn(batch.x.shape, generator=g, dtype=torch.float64)
    )
    contrast = ContrastiveDivergence(
        Langevin(h, (2 * h * heat) ** 0.5), exact_chains, 3, energy_l2=0.0
    )
    found = slopes(EnergyMatching(contrast, weight, optimal_transport=False), Bowl(a), data(dim=1))
    exact = flow_slope(a) + weight * (S**2 - var) / 2
    error = found.std() / 50**0.5
    assert abs(found.mean() - exact) < 4 * error
    assert (
        abs(found.mean() - flow_slope(a) - weight * (S**2 - 2 * var) / 2) > 10 * error
    )  # twice the temperature would show
    only = EnergyMatching(contrast, weight, optimal_transport=False)(
        Bowl(a), Batch(data(50, 1)), seeded(1)
    ).info
    assert {"flow_per_dim", "contrast"} <= only.keys()


def test_half_of_the_chains_begin_at_data():
    x = torch.zeros(10, 3)
    start = FromHalves().draw(Batch(x), seeded(0)).x
    assert (start[::2] == 0).all() and (start[1::2] != 0).all() and (x == 0).all()


@pytest.mark.parametrize("shape", [(3,), (1, 4, 4), (1, 2, 3, 2), (1, 9)])
def test_every_shape_of_data(shape):
    x = torch.randn(20, *shape, generator=seeded(0))
    for objective, model in (
        (FlowMatching(), lambda x, s: x / 2),
        (FlowMatching(optimal_transport=True), lambda x, s: x / 2),
        (EnergyMatching(), lambda x: x.flatten(1).square().sum(1)),
    ):
        value = objective(model, Batch(x), seeded(1)).value
        flat = objective(model, Batch(x.flatten(1)), seeded(1)).value
        assert value.shape == (20,) and torch.allclose(value, flat, rtol=1e-4)


def test_an_output_that_would_broadcast_is_an_error():
    x = torch.randn(4, 1, 5)
    for objective, model in (
        (FlowMatching(), lambda x, s: x[:, :, :1]),
        (EnergyMatching(), Score(lambda x: x[:, :, :1])),
    ):
        with pytest.raises(ValueError, match="has the shape of x"):
            objective(model, Batch(x), seeded(0))

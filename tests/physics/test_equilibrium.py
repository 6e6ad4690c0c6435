"""Equilibrium matching on Gaussian data, where the regression has a closed form; and descent."""

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Energy, Score
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.models import ConvEnergy
from gradlogp.objectives import EquilibriumMatching
from gradlogp.samplers import Descent

S, N = 0.6, 100_000
T = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
C = {
    "truncated": (EquilibriumMatching(), 4 * (T / 0.2).clamp(max=1)),
    "linear": (EquilibriumMatching(0.0, 1.0), T),
}


def data(n=N, seed=0):
    return S * torch.randn(n, 1, dtype=torch.float64, generator=seeded(seed))


def best_field(x, c):
    """E[c(t) (x0 - eps) | x], by quadrature over t: given x_t = x its mean is x ((1 - t) s^2 - t) /
    v, and t is as likely as N(x; 0, v), v = (1 - t)^2 s^2 + t^2.
    """
    t, c = T[::100], c[::100]
    v = (1 - t) ** 2 * S**2 + t**2
    likely = (-(x**2) / (2 * v)).exp() / v.sqrt()
    return (likely * c * x * ((1 - t) * S**2 - t) / v).sum(1, keepdim=True) / likely.sum(
        1, keepdim=True
    )


@pytest.mark.parametrize("name", C)
def test_the_best_linear_field_has_its_closed_form(name):
    """-a x with a = -E[c ((1 - t) s^2 - t)] / E[(1 - t)^2 s^2 + t^2]: there the slope in a is 0."""
    objective, c = C[name]
    second = ((1 - T) ** 2 * S**2 + T**2).mean()
    best = -(c * ((1 - T) * S**2 - T)).mean() / second
    for a, exact in ((best, 0.0), (best + 0.5, 0.5 * second)):
        found = []
        for i in range(50):
            slope = nn.Parameter(torch.as_tensor(a).clone())
            model = Score(lambda x, slope=slope: -slope * x)
            loss = objective(model, Batch(data(4000, i)), seeded(100 + i)).value.mean()
            found.append(torch.autograd.grad(loss, slope)[0])
        found = torch.stack(found)
        assert abs(found.mean() - exact) < 4 * found.std() / 50**0.5 < 0.05


@pytest.mark.parametrize("name", C)
def test_no_field_is_better_than_the_mean_over_all_lines_through_x(name):
    objective, c = C[name]
    batch = Batch(data(5000))
    losses = {}
    for bend in (-0.2, 0.0, 0.2):
        model = Score(lambda x, bend=bend: best_field(x, c) + bend * x)
        losses[bend] = objective(model, batch, seeded(1)).value
    for bend in (-0.2, 0.2):
        gain = losses[bend] - losses[0.0]
        v = (1 - T) ** 2 * S**2 + T**2
        exact = bend**2 * v.mean() / 2
        assert abs(gain.mean() - exact) < 4 * gain.std() / 5000**0.5


def test_an_energy_learns_by_its_gradient_and_data_are_left_alone():
    energy = ConvEnergy((1, 8, 8), (4, 8), 8)
    x = torch.randn(6, 1, 8, 8, generator=seeded(0))
    of_energy = EquilibriumMatching()(energy, Batch(x), seeded(1)).value
    of_score = EquilibriumMatching()(energy.field(), Batch(x), seeded(1)).value
    assert torch.equal(of_energy, of_score)
    assert EquilibriumMatching().size(torch.zeros(1)) == 0
    assert EquilibriumMatching().size(torch.tensor([0.1, 0.2, 1.0])).tolist() == [2.0, 4.0, 4.0]


@pytest.mark.parametrize(("h", "mu"), [(0.1, 0.0), (0.1, 0.9), (0.5, 0.5)])
def test_descent_on_a_parabola_follows_its_recursion(h, mu):
    a = 2.0
    bowl = Energy(lambda x: a * x.square().sum(1) / 2)
    x = torch.randn(5, 3, dtype=torch.float64, generator=seeded(0))
    before, now = x, x
    for _ in range(20):
        before, now = now, (1 - h * a) * ((1 + mu) * now - mu * before)
    assert torch.allclose(run(Descent(h, mu), bowl, x, 20, seeded(0)), now, atol=1e-12)


def test_momentum_pays_on_a_narrow_valley():
    bowl = Energy(lambda x: (x[:, 0] ** 2 + 100 * x[:, 1] ** 2) / 2)
    ends = [run(Descent(0.01, mu), bowl, torch.ones(1, 2), 60, seeded(0)) for mu in (0.0, 0.8)]
    assert ends[1].norm() < 0.2 * ends[0].norm()


@pytest.mark.parametrize(
    "call",
    [
        lambda: EquilibriumMatching(1.0),
        lambda: EquilibriumMatching(strength=0.0),
        lambda: Descent(0.0),
        lambda: Descent(0.1, 1.0),
    ],
)
def test_settings_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match="got"):
        call()

"""Recovery likelihood on Gaussian data N(0, v): E(x, sigma) = a x^2 / 2 (v + sigma^2) is the truth
at a = 1, at every level.
"""

from itertools import pairwise

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Denoiser, Energy, column
from gradlogp.core.kernel import run
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.objectives import Recovery, RecoveryLikelihood
from gradlogp.samplers import Langevin, RecoveryLangevin
from tests.physics.gaussian import Exact, grouped

V, N = 1.5, 40_000


class Levels(nn.Module):
    def __init__(self, a: float, v: float = V) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.v = v

    def forward(self, x, sigma):
        return self.a * x.square().sum(1) / (2 * (self.v + sigma**2))


def data():
    return torch.randn(N, 1, generator=seeded(0), dtype=torch.float64) * V**0.5


def gradient(model, levels, sampler=None, steps=1):
    return grouped(
        RecoveryLikelihood(levels, sampler or Exact(), steps)(
            model, Batch(data()), seeded(1)
        ).value,
        model.a,
    )


def exact(a, low, high):
    """Half of 1 - E[x^-^2] / w, w = v + sigma^2: x^- given y is N(y / (1 + q), g^2 / (1 + q)), with
    q = a g^2 / w.
    """
    g2, var = high**2 - low**2, V + low**2
    q = a * g2 / var
    return (1 - ((var + g2) / (1 + q) ** 2 + g2 / (1 + q)) / var) / 2


@pytest.mark.parametrize("levels", [(0.0, 1.0), (0.5, 1.0), (1.0, 3.0)])
@pytest.mark.parametrize("a", [0.5, 1.0, 2.0])
def test_the_gradient_of_one_level(levels, a):
    value, error = gradient(Levels(a), levels)
    assert abs(value - exact(a, *levels)) / error < 4
    assert (a == 1) == (abs(value) / error < 4)


def test_it_vanishes_over_a_ladder_at_the_truth_and_a_wrong_scale_is_seen():
    ladder = (0.0, 0.3, 1.0, 3.0)
    value, error = gradient(Levels(1.0), ladder)
    assert abs(value) / error < 4
    value, error = gradient(
        Levels(1.0, v=2 * V), ladder
    )  # sigma in the wrong units, or the data scale mistaken
    assert abs(value) / error > 10


def test_chains_in_units_of_the_gap_converge_with_one_step_size():
    """From u = 0; Langevin's own bias at curvature 1 + q is a share h (1 + q) / 2 of the variance,
    to first order.
    """
    for levels in ((0.0, 0.1), (1.0, 3.0)):
        value, error = gradient(Levels(1.0), levels, Langevin(0.02), steps=150)
        g2, var = levels[1] ** 2 - levels[0] ** 2, V + levels[0] ** 2
        share = g2 / (var + g2)  # of the variance of x that y leaves open: the rest is known from y
        assert abs(value) < 4 * error + share * 0.02 * (1 + g2 / var)


def test_it_generates_level_by_level():
    n, model = 20_000, Levels(1.0)
    x = torch.randn(n, 1, generator=seeded(3), dtype=torch.float64) * (V + 36) ** 0.5
    for low, high in ((1.5, 6.0), (0.5, 1.5), (0.0, 0.5)):
        shape = torch.ones(n, dtype=torch.float64)
        recovery = Recovery(model, x, low * shape, (high**2 - low**2) ** 0.5 * shape)
        x = recovery.place(
            run(Exact(), Energy(recovery.energy), torch.zeros_like(x), 1, seeded(low))
        ).detach()
    z = (x.square().mean() - V) / (V * (2 / n) ** 0.5)
    assert z.abs() < 4


def test_images_classes_and_what_cannot_be():
    x, y = torch.randn(6, 1, 2, 2), torch.arange(6) % 3

    def energy(x, sigma, cond):
        return (x.square() / column(1 + sigma**2 + cond, x)).sum((1, 2, 3))

    assert RecoveryLikelihood((0.1, 1.0), Langevin(0.1), 2)(
        energy, Batch(x, y), seeded(0)
    ).value.shape == (6,)
    with pytest.raises(ValueError, match="one number per example"):
        RecoveryLikelihood((0.1, 1.0), Langevin(0.1))(lambda x, sigma: x, Batch(x), seeded(0))
    for levels in ((1.0,), (1.0, 0.5), (-1.0, 1.0)):
        with pytest.raises(ValueError, match="ascending"):
            RecoveryLikelihood(levels, Langevin(0.1))
    with pytest.raises(ValueError, match="`steps`"):
        RecoveryLikelihood((0.1, 1.0), Langevin(0.1), 0)


def test_chains_down_the_levels_have_the_variance_of_their_linear_recursion():
    """Given y at the level above, x = a y + noise of variance b; a step of h multiplies by 1 - h (1 +
    g^2 / w), adds h y and noise of 2 h g^2. With many small steps the data's variance comes out.
    """
    field = Denoiser(lambda x, sigma: x * V / (V + column(sigma, x) ** 2))
    for inner, h, close in ((3, 0.3, False), (60, 0.05, True)):
        sampler = RecoveryLangevin(VarianceExploding(0.5, 4.0), 7, inner, h)
        variance = V + 4.0**2
        start = torch.randn(N, 1, generator=seeded(2), dtype=torch.float64) * variance**0.5
        for above, sigma in pairwise(sampler.ladder):
            g2, w = above**2 - sigma**2, V + sigma**2
            keep, a, b = 1 - h * (1 + g2 / w), 1.0, 0.0
            for _ in range(inner):
                a, b = a * keep + h, b * keep**2 + 2 * h * g2
            variance = a**2 * variance + b
        exact = variance * (V / (V + 0.5**2)) ** 2
        end = run(sampler, field, start, sampler.steps, seeded(3))
        assert abs(end.var() - exact) < 4 * exact * (2 / N) ** 0.5
        assert (abs(exact - V**2 / (V + 0.5**2)) < 0.1) == close

"""Learning to tell data from noise: what the optimum is, where the gradient vanishes, and what the
small-noise limit is.
"""

import math

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.core.targets import gaussian
from gradlogp.objectives import (
    ConditionalNoiseContrastive,
    EnergyDiscrepancy,
    GaussianNoise,
    NoiseContrastive,
)
from tests.physics.gaussian import grouped

V = 1.5  # the variance of the data


def data(n, seed=0):
    return torch.randn(n, 1, generator=seeded("data", seed), dtype=torch.float64) * V**0.5


class Unnormalised(nn.Module):
    """-E = theta x^2 + c, in which nothing but the data makes c the negative log Z."""

    def __init__(self, theta: float, c: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))

    def forward(self, x):
        return -(self.theta * x.square().sum(1) + self.c)


TRUTH = torch.tensor([-1 / (2 * V), -math.log(2 * math.pi * V) / 2], dtype=torch.float64)


def fit(ratio, n):
    """The minimum on n examples and a fixed draw of noise, by Newton's method, with its standard
    errors (sandwich).
    """
    noise = gaussian([0.0], [2.0])
    x = data(n)
    w = TRUTH.clone() * 0.7
    for _ in range(7):
        model = Unnormalised(*w.tolist())
        value = NoiseContrastive(noise, ratio)(model, Batch(x), seeded("noise")).value.mean()
        first = torch.autograd.grad(value, (model.theta, model.c), create_graph=True)
        second = torch.stack(
            [
                torch.stack(torch.autograd.grad(g, (model.theta, model.c), retain_graph=True))
                for g in first
            ]
        )
        w -= torch.linalg.solve(second, torch.stack(first).detach())
    y = noise.sample(ratio * n, seeded("noise"))
    parts = torch.zeros(n, 2, dtype=torch.float64)
    for u, sign in ((x, -1.0), *((part, 1.0) for part in y.chunk(ratio))):
        logit = w[0] * u[:, 0] ** 2 + w[1] + noise.energy(u) - math.log(ratio)
        parts += (
            sign
            * torch.sigmoid(sign * logit)[:, None]
            * torch.stack([u[:, 0] ** 2, torch.ones(n)], 1)
        )
    inverse = second.inverse()
    return w, (inverse @ parts.T.cov() @ inverse / n).diagonal().sqrt()


@pytest.mark.parametrize("ratio", [1, 4])
def test_nce_finds_the_precision_and_log_z(ratio):
    found, error = fit(ratio, 50_000)
    assert ((found - TRUTH).abs() / error).max() < 4
    assert error.max() < 0.01
    assert (
        abs(found[1] - TRUTH[1] - math.log(ratio)) / error[1] > 50 or ratio == 1
    )  # a lost log nu would end there


def test_a_fitted_gaussian_is_the_distribution_of_the_data():
    x = (
        torch.randn(20_000, 2, 2, generator=seeded(0), dtype=torch.float64)
        * torch.tensor([1.0, 3.0], dtype=torch.float64)
        + 1
    )
    density = GaussianNoise.fit(x)
    exact = gaussian([1.0] * 4, [1.0, 3.0, 1.0, 3.0])
    assert float((density.energy(x) - exact.energy(x.flatten(1))).mean().abs()) < 4 * (
        14 / 2 / 20_000
    )  # half a chi^2 with 14 degrees
    drawn = density.sample(20_000, seeded(1))
    assert drawn.shape == x.shape
    assert (
        float((density.energy(drawn).mean() - density.energy(x).mean()).abs())
        < 4 * (2 / 20_000 * 2) ** 0.5
    )
    wide = GaussianNoise.fit(x, widen=2.0)
    assert torch.allclose(wide.factor, 2 * density.factor)


class Precision(nn.Module):
    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return self.a * x.flatten(1).square().sum(1) / 2


def gradient(objective, a, n, seed=0):
    model = Precision(a)
    return grouped(objective(model, Batch(data(n, seed)), seeded("draws", seed)).value, model.a)


@pytest.mark.parametrize(
    "objective",
    [
        ConditionalNoiseContrastive(1.0),
        ConditionalNoiseContrastive(0.7, copies=5),
        EnergyDiscrepancy(1.0, 1),
        EnergyDiscrepancy(1.0, 4),
        EnergyDiscrepancy(2.0, 8),
    ],
    ids=str,
)
def test_the_gradient_vanishes_at_the_true_energy_alone(objective):
    value, error = gradient(objective, 1 / V, 100_000)
    assert abs(value) / error < 4
    for a in (0.8 / V, 1.25 / V):
        value, error = gradient(objective, a, 100_000)
        assert abs(value) / error > 8 and (value > 0) == (a > 1 / V)


def test_without_its_weight_energy_discrepancy_errs_with_few_candidates_and_not_with_many():
    few, error = gradient(EnergyDiscrepancy(1.0, 2, weight=0.0), 1 / V, 100_000)
    assert abs(few) / error > 10
    many, _ = gradient(EnergyDiscrepancy(1.0, 200, weight=0.0), 1 / V, 5_000)
    assert abs(many) < abs(few) / 20


def test_one_candidate_is_half_of_conditional_nce_at_root_two_the_noise():
    """Energy discrepancy blurs twice, conditional NCE once: the same law of the other point."""
    discrepancy, error = gradient(EnergyDiscrepancy(0.8, 1), 1.2, 200_000)
    conditional, other = gradient(ConditionalNoiseContrastive(0.8 * 2**0.5), 1.2, 200_000, seed=1)
    assert abs(discrepancy - conditional / 2) / math.hypot(error, other / 2) < 4
    single, other = gradient(ConditionalNoiseContrastive(0.8), 1.2, 200_000, seed=1)
    assert abs(discrepancy - single / 2) / math.hypot(error, other / 2) > 10


@pytest.mark.parametrize(
    ("objective", "slope"),
    [
        (ConditionalNoiseContrastive(0.1), 0.1**2 / 2),
        (ConditionalNoiseContrastive(0.1, copies=3), 0.1**2 / 2),
        (EnergyDiscrepancy(0.1, 1), 0.1**2 / 2),
        (EnergyDiscrepancy(0.1, 5), 0.1**2 * 5 / 6),
    ],
    ids=str,
)
def test_small_noise_is_implicit_score_matching(objective, slope):
    """Of 1/2 s^2 + s' = a^2 x^2 / 2 - a, the mean derivative in `a` is a v - 1."""
    a = 3.0
    value, error = gradient(objective, a, 200_000)
    assert (
        abs(value / slope - (a * V - 1)) < 4 * error / slope + 0.1 * a * V
    )  # noise, and what order sigma^2 adds
    assert error / slope < 0.2


def test_a_flat_energy_has_the_value_of_a_fair_guess():
    x, flat = data(5), lambda x: x.sum(1) * 0
    value = lambda objective: objective(flat, Batch(x), seeded(0)).value
    assert torch.allclose(
        value(ConditionalNoiseContrastive(0.3, 3)), torch.tensor(2 * math.log(2)).to(x), atol=1e-12
    )
    for m, w in ((1, 1.0), (7, 1.0), (7, 3.0), (7, 0.0)):
        assert torch.allclose(
            value(EnergyDiscrepancy(0.3, m, w)),
            torch.tensor(math.log((m + w) / m)).to(x),
            atol=1e-6,
        )


def test_images_and_what_cannot_be():
    x = torch.randn(6, 1, 2, 2, dtype=torch.float64)
    for objective in (ConditionalNoiseContrastive(0.3, 2), EnergyDiscrepancy(0.3, 2)):
        assert objective(Precision(1.0), Batch(x), seeded(0)).value.shape == (6,)
    with pytest.raises(ValueError, match="expected noise of shape"):
        NoiseContrastive(gaussian([0.0], [1.0]))(Precision(1.0), Batch(x), seeded(0))
    with pytest.raises(ValueError, match="one number per example"):
        EnergyDiscrepancy(0.3)(lambda x: x.sum(), Batch(x), seeded(0))
    with pytest.raises(ValueError, match="more examples"):
        GaussianNoise.fit(x[:3])
    with pytest.raises(ValueError, match="never varies"):
        GaussianNoise.fit(torch.ones(9, 2))
    for wrong in (
        lambda: NoiseContrastive(gaussian([0.0], [1.0]), 0),
        lambda: ConditionalNoiseContrastive(0.0),
        lambda: EnergyDiscrepancy(1.0, 0),
        lambda: EnergyDiscrepancy(1.0, 1, -1.0),
    ):
        with pytest.raises(ValueError, match=r"got (0|-1)"):
            wrong()

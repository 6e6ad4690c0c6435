"""Contrastive divergence on the Gaussian energy a x^2 / 2, whose gradient in `a` is known:
(E_data[x^2] - E_model[x^2]) / 2.
"""

import math

import pytest
import torch
from torch import nn

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.objectives import (
    ContrastiveDivergence,
    FromData,
    FromNoise,
    FromProposal,
    improved_contrastive_divergence,
    nearest_neighbour_entropy,
    persistent_contrastive_divergence,
)
from gradlogp.samplers import Langevin
from tests.physics.gaussian import Exact, grouped

N = 50_000


class Precision(nn.Module):
    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return self.a * x.square().sum(1) / 2


def gradient(a: float, data_var: float, starts, steps: int, h: float = 0.1) -> tuple[float, float]:
    """The gradient of the loss in `a`, and its standard error over 40 groups of examples."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, 1, generator=g, dtype=torch.float64) * data_var**0.5
    model = Precision(a)
    value = ContrastiveDivergence(Langevin(h), starts, steps, energy_l2=0.0)(
        model, Batch(x), g
    ).value
    return grouped(value, model.a)


def exact(a: float):
    """Chains that start from the model's own law (of the discretised chain) stay there."""
    var = 1 / a / (1 - 0.1 * a / 2)
    return (
        FromProposal(
            lambda batch, g: torch.randn(batch.x.shape, generator=g, dtype=torch.float64) * var**0.5
        ),
        var,
    )


@pytest.mark.parametrize(("a", "data_var"), [(1.0, 2.0), (2.0, 0.5), (0.5, 0.5)])
def test_with_exact_chains_the_gradient_is_the_likelihoods(a, data_var):
    starts, model_var = exact(a)
    value, error = gradient(a, data_var, starts, steps=3)
    assert abs(value - (data_var - model_var) / 2) / error < 4


def test_cd_k_follows_the_chain_from_the_data():
    """After k steps from the data the chains' variance is r^2k v + (1 - r^2k) v_model, with r = 1 -
    h a.
    """
    a = 1.0
    data_var = 3.0
    k = 4
    h = 0.1
    value, error = gradient(a, data_var, FromData(), k, h)
    r2k, model_var = (1 - h * a) ** (2 * k), 1 / a / (1 - h * a / 2)
    chain_var = r2k * data_var + (1 - r2k) * model_var
    assert abs(value - (data_var - chain_var) / 2) / error < 4
    assert (
        abs(value - (data_var - model_var) / 2) / error > 20
    )  # CD-4 is biased, and the test can see it


def test_negatives_carry_no_gradient_and_weights_stay_trainable():
    model = Precision(1.0)
    loss = ContrastiveDivergence(Langevin(0.1), FromData(), 2)(
        model, Batch(torch.ones(4, 1, dtype=torch.float64)), torch.Generator().manual_seed(0)
    )
    assert loss.value.requires_grad and model.a.requires_grad
    assert all(not v.requires_grad for v in loss.info.values())
    assert loss.info["gap"] == pytest.approx(
        float(loss.info["energy_chains"] - loss.info["energy_data"])
    )


def normal(n, var=1.0, seed=0):
    return torch.randn(n, 1, generator=seeded(seed), dtype=torch.float64) * var**0.5


@pytest.mark.parametrize("a", [0.7, 1.0, 1.3])
def test_the_gradient_vanishes_at_the_true_model_and_points_back_to_it_elsewhere(a):
    model = Precision(a)
    loss = ContrastiveDivergence(Exact(), FromData(), 1, energy_l2=0.0)(
        model, Batch(normal(N)), seeded(1)
    )
    value, error = grouped(loss.value, model.a)
    assert abs(value - (1 - 1 / a) / 2) / error < 4
    assert a == 1 or (
        abs(value) / error > 20 and (value > 0) == (a > 1)
    )  # too narrow a model is widened


class DividedByTheBatch:
    """The usual bug: the gradient of the *mean* energy, which makes the number of chains a
    temperature.
    """

    def init(self, field, x):
        return Langevin(0.1).init(field, x)

    def step(self, field, state, generator):
        return Langevin(0.1).step(field / len(state.x), state, generator)


@pytest.mark.parametrize("size", [10, 400])
def test_the_number_of_chains_is_no_temperature(size):
    def average(sampler):
        model, g = Precision(2.0), seeded(size)
        losses = (
            ContrastiveDivergence(sampler, FromData(), 8, 0.0)(model, Batch(x), g).value
            for x in normal(4000).split(size)
        )
        gradients = torch.stack([torch.autograd.grad(v.mean(), model.a)[0] for v in losses])
        return float(gradients.mean()), float(gradients.std() / len(gradients) ** 0.5)

    r2k, stays = (1 - 0.1 * 2) ** 16, 0.5 / (1 - 0.1)
    expected = (1 - (r2k + (1 - r2k) * stays)) / 2
    value, error = average(Langevin(0.1))
    assert abs(value - expected) / error < 4
    value, error = average(DividedByTheBatch())
    assert abs(value - expected) / error > 8


def test_persistent_chains_lead_to_the_maximum_likelihood():
    """Averaged over updates, `a` is where the chain's own variance 1 / a (1 - h a / 2) is the
    data's: 1.056 at h = .1, not 1.
    """
    n = 500
    h = 0.1
    model = Precision(0.6)
    g = seeded(0)
    x = normal(n)
    x = x / x.square().mean().sqrt()
    objective = persistent_contrastive_divergence(Langevin(h), torch.zeros_like(x))
    visited = []
    for i in range(1500):
        loss = objective(model, Batch(x), g).value.mean()
        (gradient,) = torch.autograd.grad(loss, model.a)
        model.a.data -= 0.5 / (1 + i / 50) ** 0.6 * gradient
        visited.append(float(model.a.detach()))
    kept = visited[300:]
    a = sum(kept) / len(kept)
    r2 = (1 - h) ** 2
    error = 2 * math.sqrt(
        0.5 / n * (1 + r2) / (1 - r2) / len(kept)
    )  # of mean(x^2) / 2, over the curvature 1 / 2
    assert abs(a - (1 - math.sqrt(1 - 2 * h)) / h) / error < 4
    assert abs(a - 1) / error > 4


@pytest.mark.parametrize(("dim", "std"), [(1, 1.0), (2, 1.0), (3, 0.5)])
def test_the_entropy_of_a_gaussian(dim, std):
    estimates = torch.stack(
        [
            nearest_neighbour_entropy(
                std * torch.randn(1000, dim, generator=g, dtype=torch.float64)
            ).mean()
            for g in (seeded(i) for i in range(12))
        ]
    )
    exact = dim / 2 * math.log(2 * math.pi * math.e) + dim * math.log(std)
    error = float(estimates.std() / 12**0.5)
    assert abs(float(estimates.mean()) - exact) < 4 * error
    assert error < 0.02  # which a lost factor of the dimension, or a lost constant, exceeds by far


class Quartic(nn.Module):
    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return (self.a * x.square() + self.a**2 * x**4).sum((1, 2))


@pytest.mark.parametrize("entropy", [0.0, 1.0])
def test_the_term_of_the_improved_one_is_the_derivative_through_the_last_step(entropy):
    """By finite differences: E with weights held fixed, at a last step x + h s_a(x) + tau z whose
    score alone depends on a.
    """
    x = normal(24).reshape(8, 3, 1)
    h = 0.05
    model = Quartic(0.4)

    def gradient(kl):
        loss = improved_contrastive_divergence(
            Langevin(h), FromNoise(lambda out, g: out.copy_(x)), 1, 0.0, kl, entropy
        )
        value = loss(model, Batch(x), seeded(1)).value.mean()
        return float(torch.autograd.grad(value, model.a)[0])

    z = torch.randn(x.shape, generator=seeded(1), dtype=torch.float64)

    def divergence(a):
        moved = x - h * (2 * a * x + 4 * a**2 * x**3) + math.sqrt(2 * h) * z
        return float(
            (Quartic(0.4)(moved) - entropy * nearest_neighbour_entropy(moved)).mean().detach()
        )

    expected = (divergence(0.4 + 1e-5) - divergence(0.4 - 1e-5)) / 2e-5
    assert gradient(1.0) - gradient(1e-12) == pytest.approx(expected, rel=1e-7)
    assert gradient(1e-12) == pytest.approx(gradient(0.0), rel=1e-9)


def test_a_last_step_without_a_gradient_is_refused():
    class Still(Exact):
        def step(self, field, state, generator):
            return state, None

    with pytest.raises(ValueError, match="carries no gradient"):
        improved_contrastive_divergence(Still(), FromData(), 1)(
            Precision(1.0), Batch(normal(4)), seeded(0)
        )


def test_chains_of_another_shape_are_refused():
    starts = FromProposal(lambda batch, g: batch.x[:2])
    with pytest.raises(ValueError, match="expected one chain per example"):
        ContrastiveDivergence(Langevin(0.1), starts)(Precision(1.0), Batch(normal(4)), seeded(0))


def test_the_entropy_of_few_points_is_the_formula():
    """In d dimensions d ln rho + ln((n - 1) V_d) + gamma: on a line V is 2, in a plane pi, and 3
    points have 2 others each.
    """
    line = torch.tensor([[0.0], [2.0], [5.0]], dtype=torch.float64)
    plane = torch.tensor([[0.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    gamma = 0.57721566490153286
    expected = torch.tensor([2.0, 2.0, 3.0], dtype=torch.float64).log() + math.log(2 * 2) + gamma
    torch.testing.assert_close(nearest_neighbour_entropy(line), expected, atol=1e-12, rtol=0)
    expected = torch.full((2,), 2 * math.log(3) + math.log(math.pi) + gamma, dtype=torch.float64)
    torch.testing.assert_close(nearest_neighbour_entropy(plane), expected, atol=1e-12, rtol=0)

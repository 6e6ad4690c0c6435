"""InfoNCE against its conditional likelihood, closed forms of tiny batches, and the bound on mutual
information.
"""

import math

import pytest
import torch
from torch import nn

from gradlogp.baselines.simclr import simclr
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.objectives.augment import Chain, Noise
from gradlogp.objectives.info_nce import NTXent, cosines, info_nce, nt_xent


def normal(seed, *shape):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_it_is_the_negative_log_of_the_gibbs_conditional():
    """E(a, b) = -sim / tau: E of the partner plus the log of the sum of e^-E over the batch."""
    a, b, tau = normal(0, 5, 3), normal(1, 5, 3), 0.2
    energy = -torch.tensor(
        [[float(x @ y / x.norm() / y.norm()) / tau for y in b] for x in a], dtype=torch.float64
    )
    expected = energy.diag() + (-energy).exp().sum(1).log()
    value = info_nce(cosines(a, b) / tau, torch.arange(5))
    torch.testing.assert_close(value, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [2, 3])
def test_equal_views_of_orthogonal_examples(n, tau):
    """Twins at cosine 1, all else at 0: ln(1 + (2 n - 2) e^(-1 / tau))."""
    views = 3 * torch.eye(n, dtype=torch.float64)
    value = nt_xent(views, 2 * views, tau)
    expected = math.log(1 + (2 * n - 2) * math.exp(-1 / tau))
    torch.testing.assert_close(value, torch.full_like(value, expected), atol=1e-12, rtol=0)


def test_at_high_temperature_every_other_view_is_as_likely():
    value = nt_xent(normal(0, 8, 4), normal(1, 8, 4), 1e9)
    torch.testing.assert_close(value, torch.full_like(value, math.log(15)), atol=1e-6, rtol=0)


def test_its_gradient():
    a, b = normal(0, 3, 2).requires_grad_(True), normal(1, 3, 2).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), (a, b))


def test_the_length_of_an_embedding_does_not_matter_and_the_views_may_change_places():
    a, b = normal(0, 6, 4), normal(1, 6, 4)
    torch.testing.assert_close(nt_xent(7 * a, b / 3, 0.5), nt_xent(b, a, 0.5))


def test_it_bounds_the_mutual_information_of_a_gaussian_pair():
    """With the log density ratio for sim / tau, ln n - loss is below I = -ln(1 - r^2) / 2 and, with
    n far above e^I, close to it.
    """
    r, n = 0.8, 400
    truth = -math.log(1 - r**2) / 2
    bounds = []
    for seed in range(40):
        x, z = normal(seed, n), normal(seed + 1000, n)
        y = r * x + math.sqrt(1 - r**2) * z
        ratio = (
            -math.log(1 - r**2) / 2
            - (y[None] - r * x[:, None]) ** 2 / (2 * (1 - r**2))
            + y[None] ** 2 / 2
        )
        bounds.append(math.log(n) - info_nce(ratio, torch.arange(n)).mean())
    bounds = torch.stack(bounds)
    stderr = bounds.std() / 40**0.5
    assert bounds.mean() < truth + 4 * stderr and bounds.mean() > truth - 0.02


def test_the_objective_is_the_loss_of_two_views_of_the_batch():
    torch.manual_seed(0)
    model = simclr((3, 8, 8), (4, 8), 8, 5)
    x = torch.rand(6, 3, 8, 8, generator=seeded(0))
    loss = NTXent(Noise(0.1), 0.5)(model, Batch(x), seeded(1))
    g = seeded(1)
    first, second = (model(Noise(0.1)(x, g)) for _ in range(2))
    torch.testing.assert_close(loss.value, nt_xent(first, second, 0.5))
    assert model.features(x).shape == (6, 8) and first.shape == (6, 5)


def test_without_changes_it_learns_to_scatter_examples_over_the_sphere():
    """Twins are equal, so only the others push: three points end at angles of 120 degrees, where
    the loss is ln(1 + 4 e^(-1.5 / tau)).
    """
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    x, objective = torch.eye(3), NTXent(Chain(()), 0.5)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(300):
        optimiser.zero_grad()
        loss = objective(model, Batch(x), seeded(1)).value.mean()
        loss.backward()
        optimiser.step()
    assert abs(float(loss.detach()) - math.log(1 + 4 * math.exp(-3))) < 1e-3


def test_a_temperature_is_positive():
    with pytest.raises(ValueError, match="is positive, got 0"):
        NTXent(temperature=0)

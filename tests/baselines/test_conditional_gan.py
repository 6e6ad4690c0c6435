"""The projection critic and the hinge on laws whose best critic is known."""

import math

import pytest
import torch
from torch import nn

from gradlogp.baselines.conditional_gan import ProjectionEnergy, conditional_gan
from gradlogp.baselines.gan import GAN, Adversarial
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded

MEANS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
N = 60_000


class Lines(nn.Module):
    """phi(x) = (x, 1): in it log p(x | y) - log q(x) is linear for Gaussians of one variance."""

    def forward(self, x):
        return torch.cat([x, torch.ones_like(x)], 1)


class Standard(nn.Module):
    """g(z, y) = z: the generator's law is N(0, 1), whatever the class."""

    latent = 1

    def forward(self, z, cond=None):
        return z


def data():
    y = torch.randint(3, (N,), generator=seeded(0))
    noise = torch.randn(N, generator=seeded(1), dtype=torch.float64)
    return Batch((MEANS[y] + noise)[:, None], y)


def best(scale=1.0):
    """D(x, y) = m x - m^2 / 2, the log of N(m, 1) over N(0, 1), times `scale`."""
    energy = ProjectionEnergy(Lines(), 2, 3, spectral=False).double()
    with torch.no_grad():
        energy.linear.weight.zero_()
        energy.linear.bias.zero_()
        energy.label.weight.copy_(scale * torch.stack([MEANS, -(MEANS**2) / 2], 1))
    return energy


def slopes(energy):
    """The mean over the batch of d loss / d v_y and its standard error, [3, 2] each."""
    batch = data()
    loss = Adversarial(every=2)(GAN(Standard(), energy), batch, seeded(2)).value
    label = energy.label.weight
    (mean,) = torch.autograd.grad(loss.mean(), label)
    z = torch.empty(N, 1, dtype=torch.float64).normal_(generator=seeded(2))
    real, fake = (-energy(x, batch.cond).detach() for x in (batch.x, z))
    each = -torch.sigmoid(-real)[:, None] * Lines()(batch.x)
    each = each + torch.sigmoid(fake)[:, None] * Lines()(z)
    rows = torch.stack([each * (batch.cond == y)[:, None] for y in range(3)])
    return mean, rows.std(1) / N**0.5


def test_at_the_log_ratio_of_two_gaussians_the_critic_is_at_rest_and_at_twice_it_not():
    mean, stderr = slopes(best())
    assert (mean / stderr).abs().max() < 4
    mean, stderr = slopes(best(2.0))
    assert (mean / stderr).abs().max() > 20


def test_the_gradient_of_the_projection_is_the_classes_vector_plus_the_shared_one():
    torch.manual_seed(0)
    energy = ProjectionEnergy(nn.Identity(), 4, 3, spectral=False)
    x, y = torch.randn(5, 4, generator=seeded(0), requires_grad=True), torch.arange(5) % 3
    (gradient,) = torch.autograd.grad(-energy(x, y).sum(), x)
    torch.testing.assert_close(gradient, energy.label.weight[y] + energy.linear.weight)


class Sign(nn.Module):
    """E = -sign(x - m / 2): the best hinge critic of N(m, 1) against N(0, 1)."""

    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return -torch.sign(x[:, 0] - self.m / 2)


@pytest.mark.parametrize("m", [0.5, 2.0])
def test_the_best_hinge_critic_pays_twice_the_overlap(m):
    """Its loss is 2 (1 - TV), TV = 2 Phi(m / 2) - 1; any other pays more."""
    x = m + torch.randn(N, 1, generator=seeded(3), dtype=torch.float64)
    value = lambda energy: (
        Adversarial("hinge", every=2)(GAN(Standard(), energy), Batch(x), seeded(4)).value
    )
    loss = value(Sign(m))
    expected = 2 - 2 * math.erf(m / math.sqrt(8))
    assert abs(loss.mean() - expected) / (loss.std() / N**0.5) < 4
    for scale in (0.5, 2.0):
        assert value(lambda x, scale=scale: scale * Sign(m)(x)).mean() > expected + 0.02


def test_the_hinge_moves_the_generator_by_the_critics_slope():
    z = torch.zeros(4, 1, dtype=torch.float64)
    hinge, wasserstein = (Adversarial(game)._generator(z) for game in ("hinge", "wasserstein"))
    assert torch.equal(hinge, wasserstein)


def test_every_weight_of_the_critic_has_norm_one():
    torch.manual_seed(0)
    model = conditional_gan((3, 8, 8), 4, trunk=(4, 8), width=8, channels=(8, 4))
    model.train()
    y = torch.arange(8) % 4
    for _ in range(60):  # each pass is one step of the power iteration
        model.critic(torch.randn(8, 3, 8, 8, generator=seeded(0)), y)
    for layer in (model.critic.linear, model.critic.label, model.critic.trunk.last):
        norm = torch.linalg.matrix_norm(layer.weight.detach(), 2)
        torch.testing.assert_close(norm, torch.ones(()), atol=1e-2, rtol=0)


def test_both_players_are_told_the_class_and_it_is_asked_for():
    torch.manual_seed(0)
    model = conditional_gan((1, 8, 8), 2, trunk=(4, 8), width=8, channels=(8, 4)).eval()
    z = torch.randn(3, 32, generator=seeded(0))
    zero, one = (torch.full((3,), y) for y in (0, 1))
    assert (model(z, zero) - model(z, one)).abs().max() > 1e-4
    x = model(z, zero)
    assert (model.critic(x, zero) - model.critic(x, one)).abs().max() > 1e-4
    with pytest.raises(ValueError, match="but got no `cond`"):
        model.critic(x)
    with pytest.raises(ValueError, match="one entry per example|one condition per example"):
        model(z, zero[:2])

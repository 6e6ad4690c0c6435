"""Adversarial losses in closed form: penalties of a linear critic, who moves whom, and who moves
when.
"""

import math

import pytest
import torch
from torch import nn

from gradlogp.baselines.decoder import Decode, OnePass
from gradlogp.baselines.gan import GAN, Adversarial, gan, steepness
from gradlogp.core.batch import Batch
from gradlogp.core.kernel import run


class LinearEnergy(nn.Module):
    """E = -w.x, so D(x) = w.x and |dD/dx| = |w|."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, x):
        return -x.flatten(1) @ self.w


class Shift(nn.Module):
    """g(z) = z + b, [B, 3]."""

    latent = 3

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(3))

    def forward(self, z):
        return z + self.b


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(w=(3.0, 0.0, 4.0)):
    return GAN(Shift(), LinearEnergy(w))


X = torch.randn(64, 3, generator=torch.Generator().manual_seed(5)) + 1


@pytest.mark.parametrize(
    ("game", "expected"), [("wasserstein", (5 - 1) ** 2), ("non_saturating", 5**2 / 2)]
)
def test_the_penalty_of_a_linear_critic(game, expected):
    loss = Adversarial(game, penalty=10.0)(linear(), Batch(X), seeded())
    torch.testing.assert_close(float(loss.info["penalty"]), float(expected), rtol=1e-5, atol=0)
    bare = Adversarial(game)(linear(), Batch(X), seeded())
    torch.testing.assert_close(
        loss.value.mean() - bare.value.mean(), torch.tensor(10.0 * expected), rtol=1e-4, atol=0
    )


def test_the_steepness_of_a_quadratic():
    x = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    torch.testing.assert_close(steepness(lambda x: x.square().sum(1) / 2, x), x.norm(dim=1))


def test_wasserstein_gradients_of_both_players():
    """Critic: d/dw [D(g(z)) - D(x)] = mean g(z) - mean x. Generator: d/db [-D(g(z))] = -w; neither
    moves the other.
    """
    model = linear()
    Adversarial("wasserstein")(model, Batch(X), seeded()).value.mean().backward()
    z = torch.empty(64, 3).normal_(generator=seeded())
    torch.testing.assert_close(model.critic.w.grad, (z.mean(0) - X.mean(0)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.decoder.b.grad, -model.critic.w.detach(), rtol=1e-5, atol=1e-6)


def test_the_non_saturating_game_at_an_undecided_critic():
    """D = 0: both terms of the critic and the generator's are ln 2, and the generator's slope is
    -w/2 (the minimax one's +w/2).
    """
    model = linear((1e-6, 0.0, 0.0))
    loss = Adversarial()(model, Batch(X), seeded())
    torch.testing.assert_close(
        float(loss.value.detach().mean()), 3 * math.log(2), rtol=1e-5, atol=0
    )
    loss.value.mean().backward()
    torch.testing.assert_close(
        model.decoder.b.grad, -0.5 * model.critic.w.detach(), rtol=1e-4, atol=1e-12
    )


def test_the_generator_moves_at_every_nth_update_and_the_count_is_remembered():
    objective, moved = Adversarial("wasserstein", every=3), []
    for _ in range(4):
        model = linear()
        objective(model, Batch(X), seeded()).value.mean().backward()
        moved.append(model.decoder.b.grad is not None and bool(model.decoder.b.grad.any()))
    assert moved == [False, False, True, False]
    other = Adversarial("wasserstein", every=3)
    other.load({name: t.clone() for name, t in objective.state().items()})
    assert int(other.updates) == 4


def test_settings_are_checked():
    with pytest.raises(ValueError, match="every >= 1"):
        Adversarial(every=0)


def test_shapes_and_one_step_of_drawing():
    torch.manual_seed(0)
    model = gan((1, 8, 12), 5, (4, 8), 8, (8, 4))
    z = torch.randn(3, 5, generator=seeded())
    x = run(Decode(), OnePass(model), z, 1, seeded())
    torch.testing.assert_close(x, model(z).detach())
    assert x.shape == (3, 1, 8, 12) and float(x.abs().max()) < 1 and model.critic(x).shape == (3,)
    value = Adversarial(penalty=1.0)(model, Batch(x), seeded()).value
    value.mean().backward()
    assert value.shape == (3,) and all(p.grad is not None for p in model.parameters())

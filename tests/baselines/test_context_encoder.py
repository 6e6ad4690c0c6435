"""Context encoders: what is hidden stays hidden, the best guess is the conditional mean, and the
game is the GAN's.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradlogp.baselines.context_encoder import (
    BlockHole,
    ContextEncoder,
    Hourglass,
    Inpainting,
    Scattered,
    context_encoder,
    hole_error,
)
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded

X = 2 * torch.rand(6, 3, 8, 8, generator=seeded(0)) - 1


def build(trunk=(4, 8)):
    torch.manual_seed(0)
    return context_encoder((3, 8, 8), (4, 8), trunk, 8)


def test_the_known_is_kept_and_the_hidden_never_looked_at():
    model, known = build(), BlockHole(4)(X, seeded(1))
    out = model(X, known)
    shown = known.expand_as(X)
    assert torch.equal(out[shown], X[shown]) and (out != X).any()
    assert torch.equal(out, model(torch.where(shown, X, 0.7), known))


def test_every_place_of_the_hole_sees_every_place_around_it():
    model = build()
    x = X[:1].clone().requires_grad_(True)
    known = BlockHole(2)(X[:1], seeded(1))
    (gradient,) = torch.autograd.grad(model(x, known)[0, :, 3, 3].sum(), x)
    assert (gradient[0].abs().sum(0)[known[0, 0]] > 0).all()
    assert (gradient[0][:, ~known[0, 0]] == 0).all()


class Slope(nn.Module):
    """Guess a * the place to the left, of pictures of two places."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return self.a * x[:, :1].roll(1, -1)


@pytest.mark.parametrize(("a", "rest"), [(0.8, True), (0.4, False)])
def test_the_error_is_least_at_the_conditional_mean(a, rest):
    """x2 given x1 has the mean .8 x1: there the slope of the loss is 0, and elsewhere it is not."""
    n = 20_000
    first = torch.randn(n, dtype=torch.float64, generator=seeded(2))
    second = 0.8 * first + 0.6 * torch.randn(n, dtype=torch.float64, generator=seeded(3))
    x = torch.stack([first, second], 1)[:, None]
    hides = lambda x, g: torch.tensor([True, False]).expand(len(x), 1, 2)
    network = Slope(a)
    Inpainting(hides)(ContextEncoder(network), Batch(x), seeded(1)).value.mean().backward()
    each = -2 * (second - a * first) * first
    z = network.a.grad / (each.std() / n**0.5)
    torch.testing.assert_close(network.a.grad, each.mean())
    assert abs(z) < 4 if rest else abs(z) > 20


def test_the_loss_by_hand():
    model, objective = build(), Inpainting(Scattered(0.5), 0.25)
    value = objective(model, Batch(X), seeded(4)).value
    known = Scattered(0.5)(X, seeded(4))
    filled = model(X, known)
    hidden = (~known).expand_as(X)
    rows = zip(X, filled, hidden, strict=True)
    error = torch.stack([(x - guess)[hole].square().mean() for x, guess, hole in rows])
    torch.testing.assert_close(error, hole_error(X, filled, known))
    real, fake = -model.critic(X), -model.critic(filled)
    game = F.softplus(-real) + F.softplus(fake)
    torch.testing.assert_close(value, 0.75 * error + 0.25 * F.softplus(-fake) + game)


def test_without_a_critic_it_is_the_error_alone():
    model = build(None)
    value = Inpainting(BlockHole(4))(model, Batch(X), seeded(1)).value
    known = BlockHole(4)(X, seeded(1))
    torch.testing.assert_close(value, hole_error(X, model(X, known), known))


def test_each_player_is_moved_by_its_own_part():
    """The critic's slope has no share of the generator's term, and the generator's none of the
    critic's.
    """
    model = build()
    Inpainting(BlockHole(4), 1.0)(model, Batch(X), seeded(1)).value.mean().backward()
    got = model.critic.head.linear.weight.grad.clone(), model.network.layers[0].weight.grad.clone()
    known = BlockHole(4)(X, seeded(1))
    model.zero_grad()
    filled = model(X, known)
    real, fake = -model.critic(X), -model.critic(filled.detach())
    (F.softplus(-real) + F.softplus(fake)).mean().backward()
    torch.testing.assert_close(model.critic.head.linear.weight.grad, got[0])
    model.zero_grad()
    F.softplus(model.critic(filled)).mean().backward()
    torch.testing.assert_close(model.network.layers[0].weight.grad, got[1])


@pytest.mark.parametrize("shape", [(1, 16), (3, 8, 12), (1, 8, 8, 8)], ids=str)
def test_it_serves_waves_pictures_and_volumes(shape):
    x = torch.rand(2, *shape, generator=seeded(0))
    assert Hourglass(shape, (4, 8))(torch.cat([x, x[:, :1]], 1)).shape == x.shape
    assert BlockHole(2, True)(x, seeded(1)).shape == (2, 1, *shape[1:])


def test_masks_hide_what_they_say():
    many = X[:1].expand(3000, -1, -1, -1)
    centre, anywhere = BlockHole(4)(many, seeded(1)), BlockHole(4, True)(many, seeded(1))
    assert (~centre).sum() == (~anywhere).sum() == 3000 * 16
    rows, columns = (~centre[0, 0]).any(1), (~centre[0, 0]).any(0)
    assert rows.tolist() == columns.tolist() == [False] * 2 + [True] * 4 + [False] * 2
    corner = (~anywhere[:, 0, 0, 0]).double().mean()
    assert abs(corner - 1 / 25) / (0.04 * 0.96 / 3000) ** 0.5 < 4
    hidden = (~Scattered(0.3)(many, seeded(2))).double().mean()
    assert abs(hidden - 0.3) / (0.21 / (3000 * 64)) ** 0.5 < 4


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="sizes of multiples of 4, got"):
        Hourglass((1, 6, 8), (4, 8))
    with pytest.raises(ValueError, match="does not fit into 8"):
        BlockHole(9)(X, seeded(1))
    with pytest.raises(ValueError, match="weight from 0 to 1"):
        Inpainting(BlockHole(2), 2.0)

"""Hiding a part of an example and filling it in: shares, known fills, and an energy's own distribution."""

import pytest
import torch

from gradlogp.core.fields import ClosedForm
from gradlogp.core.random import seeded
from gradlogp.core.targets import Gaussian
from gradlogp.harness.kinds import KINDS
from gradlogp.harness.recovery import (
    BLOCK,
    SHARE,
    by_copy,
    by_majority,
    by_model,
    hidden_at_random,
    hidden_block,
    wrong,
)
from gradlogp.samplers import Langevin
from gradlogp.tasks import Sampling

X = (torch.rand(40, 1, 8, 8, 8, generator=seeded(0)) < 0.3).float()


def test_seven_in_ten_are_hidden_at_random():
    hidden = hidden_at_random(X, 0)
    error = (SHARE * (1 - SHARE) / hidden.numel()) ** 0.5
    assert abs(float(hidden.float().mean()) - SHARE) < 4 * error
    coloured = hidden_at_random(torch.zeros(2, 3, 5, 5), 0)
    assert torch.equal(coloured[:, 0], coloured[:, 2])


@pytest.mark.parametrize("shape", [(16,), (8, 8), (8, 8, 8), (3, 9)])
def test_a_block_is_one_and_lies_anywhere(shape):
    hidden = hidden_block(torch.zeros(60, 2, *shape), 0)
    sides = [max(1, round(BLOCK * size)) for size in shape]
    for axis, (size, side) in enumerate(zip(shape, sides, strict=True)):
        others = [d for d in range(1, hidden.dim()) if d != axis + 2]
        along = hidden.sum(others) > 0  # [n, size]
        assert (along.sum(1) == side).all()
        first = along.float().argmax(1)
        assert set(first.tolist()) == set(range(size - side + 1))
    volume = torch.tensor(sides).prod() * 2
    assert (hidden.flatten(1).sum(1) == volume).all()


def test_the_majority_is_that_of_the_shown_neighbours():
    hidden = hidden_at_random(X, 1)
    filled = by_majority(X.masked_fill(hidden, 0), hidden)
    assert torch.equal(filled[~hidden], X[~hidden])
    for n, _, i, j, k in hidden.nonzero()[::977].tolist():
        around = tuple(slice(max(0, a - 1), a + 2) for a in (i, j, k))
        shown = ~hidden[n, 0][around]
        votes = X[n, 0][around][shown]
        assert float(filled[n, 0, i, j, k]) == float(votes.sum() > len(votes) / 2)
    every = torch.ones_like(hidden)
    assert by_majority(torch.zeros_like(X), every).sum() == 0


def test_a_copy_is_of_the_nearest_in_what_is_shown():
    hidden = hidden_block(X, 0)
    filled = by_copy(X)(X.masked_fill(hidden, 0), hidden)
    assert torch.equal(filled, X)  # each finds itself
    train = X[:5]
    filled = by_copy(train)(X.masked_fill(hidden, 0), hidden)
    apart = [((x - t).abs() * ~h).sum() for x, h in zip(X, hidden, strict=True) for t in train]
    nearest = torch.stack(apart).view(len(X), 5).argmin(1)
    assert torch.equal(filled[hidden], train[nearest][hidden])


def test_the_error_is_the_share_of_what_was_hidden():
    clean = torch.tensor([[[1.0, 1, 0, 0]], [[0.0, 0, 0, 0]]])
    hidden = torch.tensor([[[True, True, True, False]], [[True, False, False, False]]])
    filled = torch.tensor([[[0.6, 0.4, 0.6, 1.0]], [[0.0, 1.0, 1.0, 1.0]]])
    found = wrong(clean, filled, hidden)
    assert (float(found), found.n) == (pytest.approx(1 / 3), 2)


def test_a_model_fills_in_by_its_distribution_given_the_rest():
    """Two correlated entries of many: E[x1 | x0] = .9 x0, in model coordinates, four standard
    errors; what is shown stays.
    """
    covariance = 0.04 * torch.tensor([[1.0, 0.9], [0.9, 1.0]])
    target = Gaussian(torch.zeros(2), covariance)
    field = ClosedForm(target.energy, target.score)
    how = Sampling(
        lambda cond: field,
        Langevin(2e-3),
        lambda x, generator: x.zero_(),
        300,
        (2,),
        KINDS["volume"]().from_model,
    )
    x = torch.tensor([[0.6, 0.0]]).expand(500, 2)
    hidden = torch.tensor([[False, True]]).expand(500, 2)
    filled = by_model(how, KINDS["volume"](), 0)(x, hidden)
    assert torch.equal(filled[:, 0], x[:, 0])
    drawn = 2 * filled[:, 1] - 1
    assert abs(float(drawn.mean()) - 0.9 * 0.2) < 4 * float(drawn.std()) / 500**0.5
    expected = (0.04 * (1 - 0.81) / 3) ** 0.5  # of the mean of three
    assert abs(float(drawn.std()) / expected - 1) < 4 / (2 * 500) ** 0.5 + 0.1

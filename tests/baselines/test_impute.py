"""Imputers: exact on laws that they are made for, and what is known is kept to the last digit."""

import pytest
import torch

from gradlogp.baselines.impute import (
    IterativeImputer,
    LinearImputer,
    MajorityImputer,
    MeanImputer,
    NearestImputer,
    filled,
    gaussian_draws,
)
from gradlogp.core.random import seeded

ALL = [MeanImputer(), NearestImputer(), LinearImputer(), IterativeImputer(), MajorityImputer()]
NAMES = [type(a).__name__ for a in ALL]


def table(n=400, seed=0):
    """Correlated normal rows, [n, 4]."""
    mix = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [-0.5, 0.5, 1, 0], [0, 1, 0, 1]])
    return (torch.randn(n, 4, generator=seeded(seed)) @ mix.T + 3).double()


def mask(x, seed=1):
    return torch.rand(x.shape, generator=seeded(seed)) < 0.6


@pytest.mark.parametrize("imputer", ALL, ids=NAMES)
def test_the_known_is_kept_and_the_unknown_is_never_looked_at(imputer):
    x = table()
    x = (x > 3).double()[:, None] if isinstance(imputer, MajorityImputer) else x
    known, fill = mask(x), imputer.fit(x)
    out = fill(x, known)
    assert torch.equal(out[known], x[known]) and torch.isfinite(out).all()
    assert torch.equal(out, fill(torch.where(known, x, 1e6), known))
    with pytest.raises(ValueError, match="a mask of bools"):
        fill(x, known.double())


def test_the_mean_is_the_mean():
    x = table()
    out = MeanImputer().fit(x)(x, torch.zeros(1, 4, dtype=torch.bool))
    torch.testing.assert_close(out, x.mean(0).expand_as(x))


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_are_those_of_scikit_learn(k):
    from sklearn.impute import KNNImputer

    train, x = table(), table(60, 2)
    known = mask(x)
    known[:, 0] = True  # scikit-learn has another answer where nothing is known
    machine = KNNImputer(n_neighbors=k).fit(train.numpy())
    expected = torch.from_numpy(machine.transform(torch.where(known, x, torch.nan).numpy()))
    torch.testing.assert_close(NearestImputer(k).fit(train)(x, known), expected)


def test_one_neighbour_copies_a_picture_that_it_has_seen():
    x = torch.rand(30, 1, 6, 6, generator=seeded(0))
    known = torch.ones(6, 6, dtype=torch.bool)
    known[2:4, 2:4] = False
    torch.testing.assert_close(NearestImputer(1).fit(x)(x.clone(), known), x)


def test_the_linear_guess_is_the_conditional_mean_of_the_fitted_gaussian():
    """Written out for two columns, and worse than no other linear guess on the training rows."""
    x = table()[:, :2]
    known = torch.tensor([True, False])
    out = LinearImputer(0.0).fit(x)(x, known)
    slope = x.T.cov()[0, 1] / x[:, 0].var()
    expected = x[:, 1].mean() + slope * (x[:, 0] - x[:, 0].mean())
    torch.testing.assert_close(out[:, 1], expected, atol=1e-10, rtol=0)


def test_each_row_may_have_a_mask_of_its_own():
    x = table()
    known, fill = mask(x), LinearImputer().fit(x)
    rows = torch.cat([fill(x[i : i + 1], known[i : i + 1]) for i in range(50)])
    torch.testing.assert_close(fill(x[:50], known[:50]), rows)


def test_regressions_in_turn_are_the_linear_guess_where_one_column_is_unknown():
    train, x = table(2000), table(80, 3)
    known = torch.tensor([True, True, False, True])
    chained, linear = (i.fit(train)(x, known) for i in (IterativeImputer(), LinearImputer(0.0)))
    torch.testing.assert_close(chained, linear, atol=2e-2, rtol=0)
    assert (chained - MeanImputer().fit(train)(x, known)).abs().max() > 0.5


def test_trees_see_what_no_line_does():
    x = 4 * torch.rand(300, 1, generator=seeded(0), dtype=torch.float64) - 2
    rows, known = torch.cat([x, x**2], 1), torch.tensor([True, False])
    error = lambda imputer: (imputer.fit(rows[:200])(rows[200:], known) - rows[200:]).square().sum()
    assert error(IterativeImputer(2, trees=10)) < 0.1 * error(LinearImputer())


def test_a_majority_fills_a_solid_and_leaves_the_empty_empty():
    x = torch.full((2, 1, 8, 8, 8), -1.0)
    x[:, :, 2:6, 2:6, 2:6] = 1
    known = torch.rand(x.shape, generator=seeded(0)) < 0.3
    inside, outside = torch.zeros_like(x, dtype=torch.bool), x < 0
    inside[:, :, 3:5, 3:5, 3:5] = True
    outside[:, :, 1:7, 1:7, 1:7] = False
    out = MajorityImputer().fit(x)(x, known)
    assert (out == x)[inside | outside].all() and set(out.unique().tolist()) == {-1.0, 1.0}


def test_a_vote_is_counted_by_hand():
    x = torch.tensor([[[0.0, 1, 1], [0, 0, 1], [1, 0, 0]]])[None]
    known = torch.tensor([[True, True, True], [True, False, True], [False, True, True]])
    train = torch.stack([torch.zeros(1, 3, 3), torch.ones(1, 3, 3), torch.zeros(1, 3, 3)])
    out = MajorityImputer().fit(train)(x, known)
    assert out[0, 0, 1, 1] == 0  # three ones against four zeros
    assert out[0, 0, 2, 0] == 0  # two zeros, none against them


def test_rows_with_holes_are_filled_by_the_line_that_they_lie_on():
    """Of two columns on one line, and at the median where nothing of a row is known; neither is
    moved by an outlier.
    """
    t = torch.linspace(-1, 1, 201, dtype=torch.float64)
    x = torch.stack([t, 100 + 5 * t], 1)
    x[100, 0] = 1e6
    holed = x.clone()
    holed[3::20, 0] = holed[7::20, 1] = torch.nan
    fill = filled(holed)
    found = fill(holed)
    assert torch.equal(found[~holed.isnan()], x[~holed.isnan()])
    assert (found[3::20, 0] - x[3::20, 0]).abs().max() < 0.15
    assert (found[7::20, 1] - x[7::20, 1]).abs().max() < 0.75
    nothing = fill(torch.full((2, 2), torch.nan, dtype=torch.float64))
    torch.testing.assert_close(nothing, holed.nanmedian(0).values.expand(2, 2), rtol=0, atol=0.1)
    assert torch.equal(fill(x), x)


def test_gaussian_draws_have_the_conditional_mean_and_covariance():
    """40,000 draws of two entries given two others, against the closed form."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(3000, 4, generator=generator, dtype=torch.float64) @ mix + 1
    draw = gaussian_draws(x, share=1e-3)
    y = torch.tensor([[0.5, 7.0, -1.0, 7.0]], dtype=torch.float64).repeat(40_000, 1)
    known = torch.tensor([True, False, True, False])
    drawn = draw(y, known.expand_as(y), generator)
    covariance = torch.cov(x.T, correction=0)
    covariance = covariance + 1e-3 * covariance.diagonal().mean() * torch.eye(4)
    k, u = known, ~known
    gain = covariance[u][:, k] @ covariance[k][:, k].inverse()
    mean = x.mean(0)[u] + gain @ (y[0] - x.mean(0))[k]
    left = covariance[u][:, u] - gain @ covariance[k][:, u]
    error = (left.diagonal() / len(y)).sqrt()
    assert bool(((drawn[:, u].mean(0) - mean).abs() < 4 * error).all())
    scale = left.diagonal().outer(left.diagonal()).add(left.square()) / len(y)
    assert bool(((torch.cov(drawn[:, u].T) - left).abs() < 4 * scale.sqrt()).all())
    torch.testing.assert_close(drawn[:, k], y[:, k], rtol=1e-12, atol=1e-12)

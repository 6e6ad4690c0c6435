"""The Gaussian copula on laws that are one: its columns, its ties, and what it cannot know."""

import math

import pytest
import torch

from gradlogp.baselines.copula import GaussianCopula, normal_scores
from gradlogp.core.random import seeded

RHO, N = 0.7, 20_000


def rows(n=4000, seed=0):
    """A Gaussian copula of correlation .7 with exponential and uniform columns."""
    z = torch.randn(n, 2, generator=seeded(seed), dtype=torch.float64)
    second = RHO * z[:, 0] + math.sqrt(1 - RHO**2) * z[:, 1]
    u = torch.special.ndtr(torch.stack([z[:, 0], second], 1))
    return torch.stack([-(1 - u[:, 0]).log(), u[:, 1]], 1)


def ranks(x):
    return x.argsort(0).argsort(0).double()


def test_the_rank_correlation_is_that_of_the_gaussian():
    """Spearman's is 6 / pi asin(rho / 2); its standard error is about (1 - rho^2) / sqrt(n)."""
    drawn = GaussianCopula.fit(rows()).sample(N, seeded(1))
    noise = drawn + 1e-9 * torch.rand(drawn.shape, generator=seeded(2), dtype=torch.float64)
    spearman = ranks(noise).T.corrcoef()[0, 1]
    expected = 6 / math.pi * math.asin(RHO / 2)
    assert abs(spearman - expected) / ((1 - expected**2) * (1 / N + 1 / 4000) ** 0.5) < 4


def test_the_fitted_correlation_is_the_one_that_drew_the_rows():
    root = GaussianCopula.fit(rows(), ridge=0.0).root
    assert abs((root @ root.T)[0, 1] - RHO) / ((1 - RHO**2) / 4000**0.5) < 4


def test_each_column_has_the_training_values_each_equally_often():
    x = rows(50)
    drawn = GaussianCopula.fit(x).sample(N, seeded(1))
    for column, own in zip(drawn.T, x.T, strict=True):
        values, counts = column.unique(return_counts=True)
        assert torch.equal(values, own.sort().values)
        z = (counts / N - 1 / 50) / (0.02 * 0.98 / N) ** 0.5
        assert z.abs().max() < 4


def test_normal_scores_are_symmetric_and_ties_share_their_rank():
    scores = normal_scores(torch.tensor([3.0, 1.0, 2.0, 2.0]))
    expected = torch.special.ndtri(torch.tensor([3.5, 0.5, 2.0, 2.0], dtype=torch.float64) / 4)
    torch.testing.assert_close(scores, expected)


def test_categories_come_back_as_one_hot_with_their_shares_and_their_tie():
    number = torch.randn(4000, 1, generator=seeded(0), dtype=torch.float64)
    kind = (number[:, 0] > 1).long() + (number[:, 0] > 2).long()
    x = torch.cat([number, torch.nn.functional.one_hot(kind, 3).double()], 1)
    drawn = GaussianCopula.fit(x, (slice(0, 1), slice(1, 4))).sample(N, seeded(1))
    assert torch.equal(drawn[:, 1:].sum(1), torch.ones(N, dtype=torch.float64))
    shares, truth = drawn[:, 1:].mean(0), x[:, 1:].mean(0)
    assert ((shares - truth) / (truth * (1 - truth) * (1 / N)) ** 0.5).abs().max() < 4
    high = drawn[drawn[:, 1] == 0, 0].mean()
    assert high > 0.8 and drawn[:, 0].mean().abs() < 0.1


def test_a_tie_that_is_not_monotone_is_lost():
    x = torch.randn(4000, 1, generator=seeded(0), dtype=torch.float64)
    drawn = GaussianCopula.fit(torch.cat([x, x**2], 1)).sample(N, seeded(1))
    assert drawn[:, 0].square().sub(drawn[:, 1]).square().mean() > 1


def test_rows_are_refused_that_are_none():
    with pytest.raises(ValueError, match="two rows or more"):
        GaussianCopula.fit(torch.zeros(3))

"""NDB: the nominal level where laws are equal, and missing modes counted."""

import pytest
import torch

from gradlogp.core.random import seeded
from gradlogp.metrics.bins import ndb, shares


def test_equal_distributions_differ_in_one_bin_of_twenty():
    """Bins are fitted to one half of the real: the share of the other half's is then fair."""
    values = []
    for seed in range(12):
        x = torch.randn(3000, 3, generator=seeded(seed), dtype=torch.float64)
        values.append(ndb(x[:1500], x[1500:], bins=40, seed=seed).value)
    mean = torch.tensor(values).mean()
    assert abs(mean - 0.05) / (0.05 * 0.95 / (12 * 40)) ** 0.5 < 4


def modes(n, weights, seed):
    g = seeded(seed)
    kind = torch.multinomial(torch.tensor(weights), n, True, generator=g)
    return 20 * torch.eye(4, dtype=torch.float64)[kind] + torch.randn(
        n, 4, generator=g, dtype=torch.float64
    )


def test_a_missing_mode_makes_all_bins_differ_and_two_swapped_weights_two():
    even = modes(4000, [0.25] * 4, 0)
    assert ndb(even, modes(4000, [1 / 3, 1 / 3, 1 / 3, 0.0], 1), bins=4).value == 1
    swapped = modes(4000, [0.15, 0.35, 0.25, 0.25], 2)
    assert ndb(even, swapped, bins=4).value in (0.5, 0.75)


def test_the_shares_are_those_of_the_modes():
    p, q = shares(modes(4000, [0.25] * 4, 0), modes(4000, [0.1, 0.2, 0.3, 0.4], 1), 4)
    assert p.sum() == q.sum() == 1 and (p - 0.25).abs().max() < 4 * (0.19 / 4000) ** 0.5
    expected = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    assert (q.sort().values - expected).abs().max() < 4 * (0.24 / 4000) ** 0.5


def test_the_test_statistic_by_hand():
    """60 of 100 against 40 of 100: z = .2 / sqrt(.25 * .02) = 2.83; 53 against 47: .85."""
    line = lambda ones: torch.cat([torch.zeros(100 - ones, 1), torch.ones(ones, 1)]).double()
    assert ndb(line(60), line(40), bins=2).value == 1
    assert ndb(line(53), line(47), bins=2).value == 0


def test_few_examples_are_refused():
    with pytest.raises(ValueError, match="at least 6 examples"):
        ndb(torch.zeros(5, 2), torch.zeros(30, 2))

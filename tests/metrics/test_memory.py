"""Copies score 0, fresh draws 1."""

import pytest
import torch
from torch import Tensor

from gradlogp.metrics import memory
from gradlogp.metrics.memory import memorisation, nearest


def pictures(n: int, seed: int) -> Tensor:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def test_nearest_by_brute_force(monkeypatch):
    x, train = pictures(30, 0), pictures(50, 1)
    expected = (x[:, None] - train[None]).flatten(2).norm(dim=2).min(1).values
    assert torch.allclose(nearest(x, train), expected, atol=1e-5)
    monkeypatch.setattr(memory, "CELLS", 7 * 50)
    assert torch.allclose(nearest(x, train), expected, atol=1e-5)


def test_a_copied_training_set_is_at_exactly_zero():
    train = 100 + pictures(200, 0)  # far from the origin, where the matrix product alone would err
    got = memorisation(train[:50].clone(), train, 100 + pictures(50, 1))
    assert (got.value, got.reference, got.better) == (0, 1, "none")
    assert nearest(train[:50].clone(), train).max() == 0


def test_fresh_draws_meet_the_reference():
    """The mean of 40 ratios within 4 standard errors of 1, and single ratios scatter as their
    spread says.
    """
    train = pictures(300, 0)
    runs = [memorisation(pictures(200, 100 + s), train, pictures(150, 500 + s)) for s in range(40)]
    values = torch.tensor([float(r) for r in runs])
    assert ((values.mean() - 1) / (values.std() / 40**0.5)).abs() <= 4
    stderr = torch.tensor([r.stderr for r in runs]).mean()
    assert 0.6 < stderr / values.std() < 1.6


def test_the_ratio_is_of_generated_over_test():
    """One training image, generated at distance 3 and test at distance 2 from it."""
    train = torch.zeros(1, 1, 1, 4)
    at = lambda distance: torch.full((9, 1, 1, 4), distance / 2)  # |(a, a, a, a)| = 2 a
    assert float(memorisation(at(3.0), train, at(2.0))) == pytest.approx(1.5)


def test_a_test_set_inside_the_training_set_is_refused():
    train = pictures(50, 0)
    with pytest.raises(ValueError, match=r"not in `train`.*held-out"):
        memorisation(pictures(20, 1), train, train[:20])
    with pytest.raises(ValueError, match=r"one shape.*one data set"):
        nearest(torch.zeros(2, 3, 6, 6), train)

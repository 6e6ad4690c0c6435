"""Recall at k: by hand, by chance, and with several right ones."""

import pytest
import torch

from gradlogp.core.random import seeded
from gradlogp.metrics.retrieval import by_chance, recall_at

SIMILARITY = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.2, 0.3], [0.1, 0.2, 0.3]])
KEYS = torch.arange(3)


def test_ranks_by_hand():
    """The right one is first, third and first."""
    values = [recall_at(k, SIMILARITY, KEYS, KEYS).value for k in (1, 2, 3)]
    assert values == [pytest.approx(2 / 3), pytest.approx(2 / 3), 1.0]


def test_any_item_of_the_querys_key_will_do():
    gallery = torch.tensor([1, 1, 0])
    assert recall_at(1, SIMILARITY[:2], torch.tensor([1, 1]), gallery).value == 1
    assert recall_at(1, SIMILARITY[:1], torch.tensor([7]), gallery).value == 0


@pytest.mark.parametrize(("k", "r"), [(1, 1), (5, 1), (5, 4), (40, 11)])
def test_random_similarity_finds_as_many_as_chance_says(k, r):
    n, m = 4000, 50
    similarity = torch.rand(n, m, generator=seeded(0))
    gallery = torch.where(torch.arange(m) < r, 0, 1)
    got = recall_at(k, similarity, torch.zeros(n, dtype=torch.long), gallery)
    assert got.trivial == pytest.approx(float(by_chance(k, torch.tensor([r]), m)))
    stderr = max((got.trivial * (1 - got.trivial) / n) ** 0.5, 1e-9)
    assert abs(got.value - got.trivial) / stderr < 4 or got.value == got.trivial == 1
    if r == 1:
        assert got.trivial == pytest.approx(k / m)


def test_a_constant_finds_nothing():
    assert recall_at(2, torch.zeros(3, 3), KEYS, KEYS).value == 0


def test_keys_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="k from 1 to 3, got"):
        recall_at(4, SIMILARITY, KEYS, KEYS)
    with pytest.raises(ValueError, match=r"expected keys \[3\] of the queries"):
        recall_at(1, SIMILARITY, KEYS[:2], KEYS)

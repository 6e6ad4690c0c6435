"""Neighbours, probes and clusters on features whose classes are known to lie so or so."""

import math

import pytest
import torch

from gradlogp.core.random import seeded
from gradlogp.metrics.representation import (
    agreement_of,
    clustering,
    knn_accuracy,
    linear_probe,
    matched,
)


def blobs(n, gap, seed, classes=3):
    y = torch.arange(n) % classes
    noise = torch.randn(n, classes, generator=seeded(seed))
    return gap * torch.eye(classes)[y] + noise, y


def test_far_classes_are_found_by_all_and_noise_by_chance():
    far, near = (blobs(600, 10, 0), blobs(600, 10, 1)), (blobs(600, 0, 0), blobs(600, 0, 1))
    for accuracy in (knn_accuracy, linear_probe):
        assert accuracy(*far[0], *far[1]).value > 0.99
        value = accuracy(*near[0], *near[1]).value
        assert abs(value - 1 / 3) / (2 / 9 / 600) ** 0.5 < 4
    assert [m.value > 0.98 for m in clustering(*far[0])] == [True] * 3
    assert abs(clustering(*near[0])[2].value) < 0.02


def test_a_probe_of_two_gaussians_reaches_their_overlap():
    """Means at +-(a, 0): the best accuracy is Phi(a), here .841."""
    y = torch.arange(8000) % 2
    x = torch.randn(8000, 2, generator=seeded(0)) + (2 * y[:, None] - 1) * torch.tensor([1.0, 0])
    value = linear_probe(x[:4000], y[:4000], x[4000:], y[4000:]).value
    best = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert abs(value - best) / (best * (1 - best) / 4000) ** 0.5 < 4


def test_neighbours_vote_by_angle_and_not_by_length():
    train = torch.tensor([[1.0, 0.0], [100.0, 1.0], [0.0, 1.0]])
    test = torch.tensor([[0.0, 50.0], [0.1, 0.0]])
    got = knn_accuracy(train, torch.tensor([0, 0, 1]), test, torch.tensor([1, 0]), k=1)
    assert (
        got.value == 1
        and knn_accuracy(train, torch.tensor([0, 0, 1]), test, torch.tensor([1, 0]), k=3).value
        == 0.5
    )


def test_clusters_are_matched_one_to_one():
    """Counts [[3, 1], [2, 0]]: by majority both clusters were class 0; matched, one must be 1."""
    found = torch.tensor([0, 0, 0, 0, 1, 1])
    labels = torch.tensor([0, 0, 0, 1, 0, 0])
    assert (matched(found, labels) == labels).sum() == 3
    names = {"cluster_accuracy": 0.5}
    assert agreement_of(found, labels)[0].value == names["cluster_accuracy"]


def test_a_renamed_partition_agrees_wholly_and_a_cluster_too_many_is_wrong():
    labels = torch.arange(30) % 3
    assert [m.value for m in agreement_of((labels + 1) % 3, labels)] == pytest.approx([1, 1, 1])
    more = labels.clone()
    more[:3] = torch.tensor([3, 3, 3])
    assert (matched(more, labels)[:3] == -1).all()


def test_the_adjusted_index_by_hand():
    """{a, b}, {c, d} against {a, b}, {c}, {d}: pairs 1, expected 2 * 1 / 6, greatest 1.5."""
    found, labels = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])
    assert agreement_of(found, labels)[2].value == pytest.approx((1 - 1 / 3) / (1.5 - 1 / 3))


def test_labels_that_do_not_fit_are_refused():
    x, y = blobs(30, 1, 0)
    with pytest.raises(ValueError, match="one integer label for each of its 30 features"):
        knn_accuracy(x, y[:3], x, y)
    with pytest.raises(ValueError, match="one integer label"):
        clustering(x, y.float())

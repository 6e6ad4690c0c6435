"""Sets of volumes: intersections by hand, and what each of the three measures sees."""

import pytest
import torch

from gradlogp.core.random import seeded
from gradlogp.metrics.volumes import iou, told_apart, volume_sets


def volumes(n, seed, share=0.3):
    return (torch.rand(n, 1, 4, 4, 4, generator=seeded(seed)) < share).float()


def test_the_overlap_by_hand():
    a = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]])
    b = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    expected = torch.tensor([[1 / 3, 1.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(iou(a, b), expected)


def test_it_is_jaccards_of_scikit_learn():
    from sklearn.metrics import jaccard_score

    a, b = volumes(5, 0), volumes(5, 1)
    each = [jaccard_score(x.flatten(), y.flatten()) for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(iou(a, b).diag().double(), torch.tensor(each, dtype=torch.float64))


def measures(real, fake):
    return {m.metric: m.value for m in volume_sets(real, fake)}


def test_a_copy_of_the_real_is_covered_at_distance_none_and_is_known_for_a_copy():
    x = volumes(40, 0)
    assert measures(x, x.flip(0)) == {"cov_iou": 1.0, "mmd_iou": 0.0, "1nna_iou": 0.0}


def test_one_volume_covers_one_and_other_shapes_are_told_apart():
    real = volumes(40, 0)
    halves = torch.zeros(1, 1, 4, 4, 4)
    halves[:, :, :2] = 1
    assert measures(real, real[:1].expand(40, -1, -1, -1, -1))["cov_iou"] == 1 / 40
    apart = measures(halves * real, (1 - halves) * volumes(40, 1))
    assert apart["1nna_iou"] > 0.95 and apart["mmd_iou"] == 1


def test_equal_distributions_are_a_coin():
    values = torch.tensor(
        [measures(volumes(60, s, 0.5), volumes(60, 99 + s, 0.5))["1nna_iou"] for s in range(20)]
    )
    assert abs(values.mean() - 0.5) / (values.std() / 20**0.5) < 4


def test_neighbours_on_a_line():
    """Real at 0, 1, 5, generated at 2.1, 6.1, 7: those next to them are 1, 0, 6.1, 1, 7 and 6.1."""
    real, fake = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[2.1], [6.1], [7.0]])
    same = told_apart(torch.cdist(real, real), torch.cdist(fake, fake), torch.cdist(real, fake))
    assert same.tolist() == [True, True, False, False, True, True]


def test_what_is_not_binary_is_refused():
    with pytest.raises(ValueError, match="threshold them first"):
        iou(volumes(2, 0) / 2, volumes(2, 1))
    with pytest.raises(ValueError, match="3 of each kind or more, got 2"):
        volume_sets(volumes(2, 0), volumes(5, 1))

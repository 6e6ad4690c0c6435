"""Who lies in whose balls: hand-drawn cases, and the identities for two samples of one law."""

import pytest
import torch
from torch import Tensor

from gradlogp.metrics import balls
from gradlogp.metrics.prdc import (
    coverage,
    density,
    expected_coverage,
    prdc,
    precision,
    recall,
    values,
)


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_case_by_hand():
    """Reals 0, 1, 3, 7, 20 with k = 1 have radii 1, 1, 2, 4, 13; fakes .5, 4, 100 have radii 3.5,
    3.5, 96.
    """
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0], [20.0]])
    fake = torch.tensor([[0.5], [4.0], [100.0]])
    got = {name: float(x) for name, x in prdc(real, fake, k=1).items()}
    assert got == pytest.approx(values(real, fake, k=1))
    assert got["precision"] == pytest.approx(2 / 3)  # 100 is in no real ball
    assert got["density"] == pytest.approx(
        4 / 3
    )  # .5 in the balls of 0 and 1; 4 in those of 3 and 7; 100 in none
    assert got["recall"] == 1.0  # 0, 1, 3 by .5; 7 by 4; 20 by 100
    assert got["coverage"] == pytest.approx(4 / 5)  # not 20
    assert [float(f(real, fake, k=1)) for f in (precision, recall, density, coverage)] == list(
        got.values()
    )


@pytest.mark.parametrize(("n", "m", "k"), [(300, 300, 5), (400, 200, 5), (200, 400, 3)])
def test_one_distribution_meets_its_references(n, m, k):
    """60 pairs of samples: |z| <= 4 by the standard error over pairs, floors estimated on each pair
    included.
    """
    runs = [prdc(normal(n, 4, s), normal(m, 4, 1000 + s), k) for s in range(60)]
    for name in ("precision", "density", "coverage") + ("recall",) * (n == m):
        gap = torch.tensor([r[name].value - r[name].reference for r in runs])
        z = gap.mean() / (gap.std() / len(gap) ** 0.5)
        assert z.abs() <= 4, name
    assert runs[0]["density"].reference == 1 and runs[0]["coverage"].reference == expected_coverage(
        n, m, k
    )


def test_expected_coverage_in_plain_numbers():
    assert expected_coverage(10, 10, 1) == pytest.approx(
        1 - 9 / 19
    )  # the nearest of 19 others is one of 9 reals
    assert expected_coverage(500, 500) == pytest.approx(0.969, abs=5e-4)  # 1 - 2^-5 for many


def test_the_reference_of_precision_is_by_leaving_one_out():
    real = normal(40, 3, 0)
    left_out = [
        precision(torch.cat([real[:i], real[i + 1 :]]), real[i].expand(6, 3)).value
        for i in range(40)
    ]
    assert precision(real, normal(6, 3, 1)).reference == pytest.approx(sum(left_out) / 40)


def test_far_fakes_score_nothing():
    got = prdc(normal(100, 4, 0), normal(100, 4, 1) + 50)
    assert all(float(x) == 0 for x in got.values())


def test_one_mode_has_precision_without_recall():
    real = torch.cat([normal(150, 3, 0), normal(150, 3, 1) + 20])
    got = prdc(real, normal(300, 3, 2))
    assert (
        got["precision"].value > 0.85
        and 0.4 < got["recall"].value < 0.5
        and 0.4 < got["coverage"].value < 0.5
    )


def test_copies_of_the_real_sample_lie_on_the_rims():
    """Ties count as inside and are exact, far from the origin too: every ball holds its centre and
    k neighbours.
    """
    real = normal(200, 8, 0) + 1e4
    got = prdc(real, real.clone(), k=5)
    assert [float(x) for x in got.values()] == pytest.approx([1, 1, 6 / 5, 1])


def test_points_that_repeat_have_balls_of_radius_zero():
    """Far from the origin a distance by |x|^2 + |y|^2 - 2 x.y is 1e-4 where this one is 0 or 1e-6."""
    real = (normal(20, 8, 0) + 1e4).repeat(6, 1)
    assert float(precision(real, real[:20])) == 1
    assert float(precision(real, real[:20] + 1e-6)) == 0


def test_blocks_change_nothing(monkeypatch):
    real, fake = normal(70, 4, 0), normal(50, 4, 1)
    whole = prdc(real, fake)
    monkeypatch.setattr(balls, "CELLS", 7 * 50)
    assert prdc(real, fake) == whole


def test_a_standard_error_needs_quarters_that_have_balls():
    whole = prdc(normal(100, 4, 0), normal(24, 4, 1) + 1)
    assert all(m.stderr is not None and m.stderr >= 0 for m in whole.values())
    few = prdc(normal(100, 4, 0), normal(23, 4, 1) + 1)
    assert all(m.stderr is None for m in few.values())


def test_the_reference_is_exact_where_points_come_in_pairs():
    """Each point has its copy on the rim of its closed ball, of radius 0 with k = 1."""
    x = normal(50, 4, 0)
    found = prdc(x.repeat(2, 1), x.repeat(2, 1), k=1)
    assert found["precision"].value == found["precision"].reference == 1
    assert "closed balls" in found["precision"].protocol


def test_k_is_at_least_one_and_below_the_sample_size():
    with pytest.raises(ValueError, match="`k` needs to be at least 1, but is 0"):
        prdc(normal(10, 2, 0), normal(10, 2, 1), k=0)
    with pytest.raises(ValueError, match="`fake` needs at least 6 examples, but has 5; draw more"):
        prdc(normal(10, 2, 0), normal(5, 2, 1))

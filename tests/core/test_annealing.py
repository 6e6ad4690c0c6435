"""The planning of NCSNv2, against what its paper published and against its own definitions."""

import math

import pytest
import torch

from gradlogp.core.annealing import (
    geometric_ratio,
    max_distance,
    ncsnv2,
    plan,
    shell_overlap,
    technique_4,
    variance_ratio,
)
from gradlogp.core.noise import VarianceExploding


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: geometric_ratio(4), "5 dimensions or more"),
        (lambda: geometric_ratio(784, 1.0), "overlap between 0 and"),
        (lambda: ncsnv2(torch.ones(10, 9)), "0 < sigma_min < sigma_max"),
    ],
)
def test_wrong_settings_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_technique_1_is_the_largest_distance():
    x = (
        torch.randn(300, 2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        + 100
    )
    exact = float((x.flatten(1)[:, None] - x.flatten(1)).square().sum(-1).sqrt().max())
    assert max_distance(x, block=64) == pytest.approx(exact, rel=1e-10)
    assert max_distance(torch.tensor([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5)
    line = torch.arange(1000.0)[:, None]  # evenly spaced rows hold both ends
    assert max_distance(line, limit=10) == pytest.approx(999)


@pytest.mark.parametrize(
    ("top", "dim", "published", "half", "steps", "step_size"),
    [
        (50, 3 * 32**2, 232, 220, 5, 6.2e-6),
        (90, 3 * 64**2, 500, 473, 5, 3.3e-6),
        (190, 3 * 128**2, 1086, 1026, 3, 1.77e-6),
        (16, 784, 100, 95, 5, 1.07e-5),
    ],
)
def test_techniques_2_and_4_give_what_was_published(top, dim, published, half, steps, step_size):
    """The configurations of Song & Ermon (2020), app. B, and MNIST's; their levels overlap by .566
    to .567.
    """
    found = plan(VarianceExploding(0.01, top), dim, steps, 0.566)
    assert found.levels == published
    assert found.step_size == pytest.approx(step_size, rel=0.015)
    assert plan(VarianceExploding(0.01, top), dim, steps).levels == half
    ladder = found.process.ladder(published)
    assert 0.566 < shell_overlap(ladder[0] / ladder[1], dim) < 0.5675


@pytest.mark.parametrize("share", [0.05, 0.5, 0.567, 0.9])
@pytest.mark.parametrize("dim", [5, 64, 784, 3072])
def test_the_ratio_has_the_overlap_that_was_asked(dim, share):
    assert shell_overlap(geometric_ratio(dim, share), dim) == pytest.approx(share, abs=1e-10)
    root = math.sqrt(2 * dim)
    assert geometric_ratio(dim) == pytest.approx(
        root / (root - 3), rel=1e-3
    )  # eq. 5 with its first term 1


def test_the_overlap_is_a_share_of_a_gaussians_radii():
    """Radii of fine noise, N(sqrt(D), 1/2), that fall within the coarser shell: counted, to 4
    standard errors.
    """
    dim = 784
    gamma = 1.0774
    n = 40_000
    radius = math.sqrt(dim) + torch.randn(
        n, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ) / math.sqrt(2)
    inside = ((radius - math.sqrt(dim) * gamma).abs() < 3 * gamma / math.sqrt(2)).double().mean()
    share = shell_overlap(gamma, dim)
    assert share == pytest.approx(0.567, abs=1e-3)
    assert abs(inside - share) < 4 * (share * (1 - share) / n) ** 0.5


@pytest.mark.parametrize(("gamma", "steps"), [(1.0378, 5), (1.3, 1), (3.0, 10), (1.009, 3)])
def test_technique_4_is_the_minimum(gamma, steps):
    rho = technique_4(gamma, steps)
    ratio = lambda rho: variance_ratio(rho, gamma, steps)
    assert 1 < ratio(rho) < min(ratio(rho * 0.999), ratio(rho * 1.001))


def test_the_data_choose_the_plan():
    x = torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = ncsnv2(x, steps_per_level=3)
    assert found.process == VarianceExploding(0.01, max_distance(x)) and found.steps_per_level == 3
    assert found.step_ratio == technique_4(
        (found.process.sigma_max / 0.01) ** (1 / (found.levels - 1)), 3
    )
    wide = ncsnv2(10 * x, steps_per_level=3)
    assert (
        wide.process.sigma_max == pytest.approx(10 * found.process.sigma_max)
        and wide.levels > found.levels
    )

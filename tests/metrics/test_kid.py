"""Kernel distance: unbiased, cubic, and honest about its scatter."""

import torch
from torch import Tensor

from gradlogp.metrics.base import jackknife
from gradlogp.metrics.kid import kid


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_mean_over_all_pairs():
    x, y = normal(43, 3, 0), 1.5 * normal(31, 3, 1) + 0.3
    k = lambda a, b: (sum(p * q for p, q in zip(a.tolist(), b.tolist(), strict=True)) / 3 + 1) ** 3
    mean = lambda values: sum(values) / len(values)
    within = lambda z: mean([k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j])
    expected = within(x) + within(y) - 2 * mean([k(a, b) for a in x for b in y])
    assert abs(kid(x, y).value - expected) < 1e-10


def test_zero_on_average_for_one_distribution():
    """Standard error over 200 pairs of samples; a V-statistic, which keeps i = j, would sit 30
    errors above.
    """
    values = torch.tensor(
        [kid(normal(60, 5, s), normal(90, 5, 1000 + s)).value for s in range(200)]
    )
    assert (values.mean() / (values.std() / 200**0.5)).abs() <= 4
    assert values.min() < 0


def test_the_known_value_of_a_shift():
    """One feature, N(0, 1) against N(c, 1): E (1 + x y)^3 for independent x, y is 1 + 3 m m' + 3 s
    s' + t t', m, s, t the first three moments.
    """
    c = 0.5
    moments = lambda c: (c, 1 + c**2, c**3 + 3 * c)
    k = lambda a, b: 1 + 3 * a[0] * b[0] + 3 * a[1] * b[1] + a[2] * b[2]
    zero, far = moments(0), moments(c)
    expected = k(zero, zero) + k(far, far) - 2 * k(zero, far)
    values = torch.tensor(
        [kid(normal(200, 1, s), normal(200, 1, 1000 + s) + c).value for s in range(200)]
    )
    assert ((values.mean() - expected) / (values.std() / 200**0.5)).abs() <= 4


def test_the_standard_error_is_a_jackknife():
    x, y = normal(45, 3, 0), 1.5 * normal(63, 3, 1)
    keep = lambda z, g: z[torch.arange(len(z)) % 20 != g]
    left_out = torch.tensor(
        [float(kid(keep(x, g), keep(y, g))) for g in range(20)], dtype=torch.float64
    )
    assert abs(kid(x, y).stderr - jackknife(left_out)) < 1e-10


def test_the_standard_error_is_the_scatter_over_samples():
    measures = [kid(normal(200, 4, s), normal(150, 4, 1000 + s) + 0.5) for s in range(100)]
    scatter = torch.tensor([float(x) for x in measures]).std()
    stderr = torch.tensor([x.stderr for x in measures]).mean()
    assert 0.75 < stderr / scatter < 1.33

"""Convex fits end where their gradient is zero, and principal components are white."""

import torch

from gradlogp import data
from gradlogp.baselines.linear import Principal, difference, fit_convex
from gradlogp.core.random import seeded


def test_a_convex_fit_ends_where_its_gradient_is_zero_wherever_it_begins():
    """X^T (p - y) / n + decay w = 0, the bias not decayed."""
    x = torch.randn(300, 6, generator=seeded(0), dtype=torch.float64)
    y = torch.arange(300) % 2
    x[:, 0] += 3 * y
    for decay in (1e-4, 1e-1):
        ends = [
            difference(fit_convex(x, y, decay, begin))
            for begin in (None, torch.full((7,), -0.3, dtype=torch.float64))
        ]
        for w in ends:
            gap = (x @ w[:-1] + w[-1]).sigmoid() - y
            assert (
                x.T @ gap / 300 + decay * w[:-1]
            ).abs().max() < 1e-10 and gap.mean().abs() < 1e-10
        torch.testing.assert_close(*ends, rtol=0, atol=1e-6)


def test_principal_components_have_unit_variance():
    x = data.load("digits").train.scaled()
    z = Principal.fit(x, 5, squares=True)(x)
    assert z.shape[1] == 5 + 15
    torch.testing.assert_close(
        z[:, :5].T.cov(), torch.eye(5, dtype=torch.float64), atol=1e-9, rtol=0
    )

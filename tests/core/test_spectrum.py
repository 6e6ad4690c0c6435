"""Principal components: the covariance comes back, and its coordinates are uncorrelated."""

import math

import pytest
import torch

from gradlogp.core.random import seeded
from gradlogp.core.spectrum import Spectrum


@pytest.mark.parametrize("ddof", [0, 1])
def test_components_are_the_covariance_taken_apart(ddof):
    mixing = torch.randn(6, 6, generator=seeded(0), dtype=torch.float64)
    x = torch.randn(50, 2, 3, generator=seeded(1), dtype=torch.float64).flatten(1) @ mixing
    found = Spectrum.fit(x.unflatten(1, (2, 3)), ddof)
    covariance = found.directions @ found.variances.diag() @ found.directions.T
    torch.testing.assert_close(covariance, x.T.cov(correction=ddof), rtol=1e-10, atol=1e-10)
    assert (found.variances.diff() <= 0).all()
    torch.testing.assert_close(
        found.coordinates(x).T.cov(correction=ddof),
        found.variances.diag(),
        rtol=1e-10,
        atol=1e-10,
    )


def test_the_nats_are_those_of_the_gaussian():
    x = torch.randn(40, 3, generator=seeded(2), dtype=torch.float64)
    found = Spectrum.fit(x)
    variances = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    z = found.coordinates(x)
    exact = torch.distributions.Normal(0.0, variances.sqrt()).log_prob(z).sum(1).mean()
    assert found.nats(z.square().mean(0), variances) == pytest.approx(-float(exact), abs=1e-10)
    assert math.isfinite(found.nats(z.square().mean(0), found.variances))

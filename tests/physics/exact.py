"""What the tests of samplers share: exact stationary laws of linear steps, and z-scores of samples."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlogp.core.fields import ClosedForm
from gradlogp.core.random import Streams

DOUBLE = {"dtype": torch.float64}


@dataclass
class Given(Streams):
    """Noise that is given, not drawn: normal draws are the rows of `z`."""

    z: Tensor | None = None

    def fill(self, out: Tensor, distribution: str) -> Tensor:
        return out.copy_(self.z) if distribution == "normal_" else out.fill_(0.5)


def harmonic(*variances: float) -> ClosedForm:
    """N(0, diag(variances))."""
    var = torch.tensor(variances, **DOUBLE)
    return ClosedForm(lambda x: (x**2 / var).sum(1) / 2, lambda x: -x / var)


def quartic() -> ClosedForm:
    """p ~ exp(-sum x^4 / 4): E x^2 = 2 Gamma(3/4) / Gamma(1/4)."""
    return ClosedForm(lambda x: x.pow(4).sum(1) / 4, lambda x: -x.pow(3))


QUARTIC_VARIANCE = 2 * math.gamma(0.75) / math.gamma(0.25)


def quartic_samples(n: int, g: torch.Generator) -> Tensor:
    """Exact: |x|^4 / 4 is Gamma(1/4), by Marsaglia's boost of squares of normals; here by inverse
    CDF on a fine grid.
    """
    grid = torch.linspace(-6, 6, 200_001, **DOUBLE)
    cdf = (-grid.pow(4) / 4).exp().cumsum(0)
    at = torch.searchsorted(cdf / cdf[-1], torch.rand(n, generator=g, **DOUBLE)).clamp(
        1, len(grid) - 1
    )
    return grid[at][:, None]


def stationary(push: Tensor, noise: Tensor) -> Tensor:
    """The covariance S = A S A' + B B' of x' = A x + B z."""
    n = len(push)
    system = torch.eye(n * n, **DOUBLE) - torch.kron(push, push)
    return torch.linalg.solve(system, (noise @ noise.T).flatten()).view(n, n)


def z_mean(values: Tensor, mean: float) -> float:
    """How many standard errors the mean of independent values [n] is from `mean`."""
    return float((values.mean() - mean) / (values.std() / len(values) ** 0.5))


def uniformity(ranks: Tensor, bins: int) -> float:
    """The p-value of the chi^2 test that ranks 0 ... bins - 1 are uniform."""
    expected = len(ranks) / bins
    chi2 = (
        ((torch.bincount(ranks.long(), minlength=bins) - expected) ** 2 / expected).sum().double()
    )
    return float(torch.special.gammaincc(torch.tensor((bins - 1) / 2, **DOUBLE), chi2 / 2))

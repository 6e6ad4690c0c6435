"""The Gaussian closed form, and what two samples of one law score."""

import pytest
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics.frechet import (
    BLOCK,
    _moments,
    fd,
    frechet,
    frechet_distance,
    reference_fd,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=seeded(seed), dtype=torch.float64)


def rotation(d: int) -> Tensor:
    return torch.linalg.qr(normal(d, d, 0))[0]


def test_diagonal_gaussians():
    a = torch.tensor([4.0, 0.25, 9.0]).double()
    b = torch.tensor([1.0, 1.0, 9.0]).double()
    shift = torch.tensor([0.5, 0.0, 2.0]).double()
    expected = ((a.sqrt() - b.sqrt()) ** 2).sum() + (shift**2).sum()  # 1 + .25 + 4.25
    u = rotation(3)
    for basis in (torch.eye(3).double(), u):
        got = frechet(basis @ shift, basis * a @ basis.T, torch.zeros(3), basis * b @ basis.T)
        assert got == pytest.approx(float(expected), abs=1e-12)


# tr (A^1/2 B A^1/2)^1/2 = sum of the roots of the eigenvalues of AB
def test_covariances_that_do_not_commute():
    a = torch.cov(normal(50, 6, 1).T)
    b = 3 * torch.cov(normal(50, 6, 2).T)
    root = torch.linalg.eigvals(a @ b).real.sqrt().sum()
    expected = float(a.trace() + b.trace() - 2 * root)
    assert frechet(torch.zeros(6), a, torch.zeros(6), b) == pytest.approx(expected, abs=1e-10)


def test_singular_covariances_are_no_trouble():
    flat = rotation(8)[:, :3]
    one = flat @ flat.T
    two = 4 * flat @ flat.T  # rank 3 in 8 dimensions
    zero = torch.zeros(8)
    assert frechet(zero, one, zero, one) == pytest.approx(0, abs=1e-12)
    assert frechet(zero, one, zero, two) == pytest.approx(3.0, abs=1e-7)
    assert frechet(zero, one, zero, 0 * one) == pytest.approx(3.0, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2, BLOCK, 2 * BLOCK + 7])
def test_moments_in_blocks_are_those_of_the_whole(n: int, dtype: torch.dtype):
    """Far from 0, and sorted, so that the first block tells little of the rest."""
    x = (100 + 10 * normal(n, 5, 5).sort(0).values).to(dtype)
    mean, cov = _moments(x, "x")
    torch.testing.assert_close(mean, x.double().mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(cov, torch.cov(x.double().T), rtol=1e-10, atol=1e-10)


def test_what_is_not_finite_is_refused_in_whatever_block():
    x = normal(BLOCK + 5, 3, 6)
    x[-1, 1] = float("nan")
    with pytest.raises(UserError, match="`fake` needs finite numbers, but 1 of"):
        frechet_distance(normal(10, 3, 7), x)


def test_torchmetrics_agrees():
    fid = pytest.importorskip("torchmetrics.image.fid")
    a = normal(300, 16, 3)
    b = 1.5 * normal(400, 16, 4) @ rotation(16) + 0.2
    moments = [torch.as_tensor(m) for m in (a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))]
    assert frechet_distance(a, b) == pytest.approx(float(fid._compute_fid(*moments)), rel=1e-9)


def test_the_reference_of_a_standard_normal():
    n = 500
    m = 250
    d = 64  # (d^2 + 5 d) / 4 (1/n + 1/m)
    got = reference_fd(normal(100_000, d, 5), n, m)
    assert got == pytest.approx((d**2 + 5 * d) / 4 * (1 / n + 1 / m), rel=0.005)


DISTRIBUTIONS = {
    "normal": lambda n, g: torch.randn(n, 6, generator=g, dtype=torch.float64) * torch.arange(1, 7),
    "exponential": lambda n, g: torch.empty(n, 6, dtype=torch.float64).exponential_(generator=g),
    "saturated": lambda n, g: (3 * torch.randn(n, 6, generator=g, dtype=torch.float64)).tanh(),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_reference_is_what_equal_distributions_score(distribution):
    """Standard error of the mean of 300 distances, some 1.5 % of it; leading order in 1/n adds 1 %."""
    draw = DISTRIBUTIONS[distribution]
    g = seeded(6)
    n = 800
    m = 500
    scores = torch.tensor([frechet_distance(draw(n, g), draw(m, g)) for _ in range(300)])
    z = (scores.mean() - reference_fd(draw(100_000, g), n, m)) / (scores.std() / 300**0.5)
    assert z.abs() <= 4


def test_the_standard_error_is_the_scatter_over_samples():
    measures = [fd(normal(300, 4, s), normal(400, 4, 1000 + s) + 0.4) for s in range(100)]
    scatter = torch.tensor([float(x) for x in measures]).std()
    stderr = torch.tensor([x.stderr for x in measures]).mean()
    assert (
        0.75 < stderr / scatter < 1.33
    )  # a standard deviation of 100 values has a standard error of 7 %


def test_the_measure_carries_its_reference():
    a, b = normal(300, 4, 7), normal(200, 4, 8)
    got = fd(a, b, network="lenet 1a2b")
    assert got.reference == reference_fd(a, 300, 200) and got.value == frechet_distance(a, b)
    assert "lenet 1a2b" in got.protocol and "300 real" in got.protocol and got.n == 200


def test_moments_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"means \[d\] and covariances \[d, d\].*frechet_distance"):
        frechet(torch.zeros(3), torch.eye(3), torch.zeros(3), torch.eye(4))

import pytest
import torch

from gradlogp.core.calculus import (
    divergence,
    draw_probes,
    hessian_vector,
    jacobian,
    laplacian,
    products,
    with_divergence,
)
from gradlogp.core.fields import Energy, Score
from gradlogp.core.random import Streams, seeded
from gradlogp.core.targets import GaussianMixture

A = torch.tensor(
    [[1.0, 2.0, -0.5, 0.3], [0.4, -2.0, 1.1, 0.0], [2.2, 0.7, 0.6, -1.0], [0.1, 0.2, 0.9, 1.5]],
    dtype=torch.float64,
)
S = (A + A.T) / 2
linear = lambda x: x @ A.T
cubic = lambda x: (
    (x**3).flatten(1).cumsum(1).reshape(x.shape)
)  # J is lower triangular: the divergence is 3 |x|^2
close = lambda a, b: torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (1, 2, 3), (1, 2, 1, 2)])
def test_the_divergence_is_exact_on_any_shape(shape):
    x = normal(5, *shape)
    value, div = with_divergence(cubic, x)
    close(value, cubic(x))
    close(div, 3 * x.flatten(1).square().sum(1))
    rows = jacobian(cubic, x)
    close(rows.diagonal(dim1=1, dim2=2).sum(1), div)
    close(rows, 3 * x.flatten(1)[:, None].square().expand_as(rows).tril())


def test_the_laplacian_of_a_mixture_is_the_trace_of_its_hessian():
    distribution = GaussianMixture(
        normal(3, 2), normal(3, 2, seed=1).abs() + 0.5, torch.full((3,), 1 / 3, dtype=torch.float64)
    )
    x, v = normal(6, 2, seed=2), normal(6, 2, seed=3)
    hessian = torch.stack(
        [
            torch.autograd.functional.hessian(lambda y: distribution.energy(y[None])[0], row)
            for row in x
        ]
    )
    for field in (distribution.at(), Energy(distribution.energy), Score(distribution.score)):
        close(laplacian(field, x), hessian.diagonal(dim1=1, dim2=2).sum(1))
        close(hessian_vector(field, x, v), torch.einsum("bij,bj->bi", hessian, v))


def test_products_are_with_the_transposed_jacobian():
    x, v = normal(7, 4), normal(7, 4, seed=1)
    value, (row,) = products(linear, x, [v])
    close(value, x @ A.T)
    close(row, v @ A)


@pytest.mark.parametrize(
    ("distribution", "variance"),
    [
        ("rademacher", 2 * (S - S.diag().diag()).square().sum()),
        ("gaussian", 2 * S.square().sum()),
    ],
)
def test_hutchinson_has_the_mean_and_the_variance_of_its_probes(distribution, variance):
    """n estimates: the mean within 4 standard errors, the variance within 4 of its own, from the
    fourth moment.
    """
    n = 60_000
    x = torch.zeros(n, 4, dtype=torch.float64)
    estimate = divergence(
        linear, x, draw_probes(x, 1, seeded("hutchinson", distribution), distribution)
    )
    away = (estimate - A.trace()) ** 2
    assert abs(estimate.mean() - A.trace()) < 4 * (variance / n).sqrt()
    assert abs(away.mean() - variance) < 4 * away.std() / n**0.5 < 0.1 * variance
    four = divergence(linear, x[: n // 4], draw_probes(x[: n // 4], 4, seeded(1), distribution))
    assert four.var() == pytest.approx(float(variance) / 4, rel=0.1)


def test_rademacher_is_exact_where_the_jacobian_is_diagonal_and_gaussian_is_not():
    x = normal(9, 4)
    exact = divergence(lambda x: x**3, x)
    close(divergence(lambda x: x**3, x, draw_probes(x, 1, seeded(0))), exact)
    assert (
        divergence(lambda x: x**3, x, draw_probes(x, 1, seeded(0), "gaussian")) - exact
    ).abs().min() > 1e-6


def test_probes_are_signs_or_normal_and_the_same_whatever_the_batch():
    x = torch.zeros(100, 3)
    signs = draw_probes(x, 50, seeded(0))
    assert signs.shape == (50, 100, 3) and set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 4 / signs.numel() ** 0.5
    assert abs(draw_probes(x, 50, seeded(0), "gaussian").var() - 1) < 4 * (2 / signs.numel()) ** 0.5
    part = draw_probes(x[40:], 2, Streams(3, 40, 60))
    assert torch.equal(draw_probes(x, 2, Streams(3, 0, 100))[:, 40:], part)


@pytest.mark.parametrize("probes", [None, 3])
def test_results_carry_a_graph_only_where_gradients_are_enabled(probes):
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    energy = Energy(lambda x: weight * (x**4).sum(1))  # Laplacian 12 w |x|^2
    x = normal(5, 3)
    v = None if probes is None else draw_probes(x, probes, seeded(0))
    (slope,) = torch.autograd.grad(laplacian(energy, x, v).sum(), weight)
    close(slope, 12 * x.square().sum())
    (slope,) = torch.autograd.grad(laplacian(energy, x.requires_grad_(True), v).sum(), x)
    close(slope, 48 * x)
    with torch.no_grad():
        value, div = with_divergence(energy.score, x, v)
    assert not value.requires_grad and not div.requires_grad


def test_constant_fields_have_no_divergence():
    x = normal(3, 2)
    assert divergence(lambda x: torch.ones_like(x), x).tolist() == [0, 0, 0]
    assert hessian_vector(Energy(lambda x: x.sum(1)), x, x).tolist() == [[0, 0]] * 3
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert divergence(lambda x: weight.expand_as(x), x).tolist() == [0, 0, 0]


def test_wrong_shapes_and_distributions_are_errors():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="not the energy"):
        divergence(lambda x: x.sum(1), x)
    with pytest.raises(ValueError, match="expected a vector of the shape of x"):
        hessian_vector(Energy(lambda x: x.square().sum(1)), x, torch.zeros(2))
    with pytest.raises(ValueError, match="'rademacher' or 'gaussian'"):
        draw_probes(x, 1, seeded(0), "sphere")

"""Every continuous target against quadratures, identities and samples that share no line with it."""

import math

import numpy as np
import pytest
import torch

from gradlogp.core.calculus import jacobian
from gradlogp.core.fields import Energy
from gradlogp.core.random import seeded
from gradlogp.core.targets import (
    TARGETS,
    Banana,
    DoubleWell,
    Funnel,
    Gaussian,
    Lattice,
    Product,
    Rings,
    correlated_gaussian,
    double_well,
    grid_of_gaussians,
    ring_of_gaussians,
)

EXAMPLES = {name: make() for name, make in TARGETS.items() if not issubclass(type(make()), Lattice)}
PLANE = {name: target for name, target in EXAMPLES.items() if target.shape == (2,)} | {
    "funnel": Funnel(2)
}
# sqrt(n) times the largest distance between the sample's and the law's CDF: above it once in a
# thousand
KS = 1.95


def noisy_samples(target, sigma, n=12, seed=0):
    x = target.sample(n, seeded("clean", seed))
    return x + sigma * torch.randn(x.shape, generator=seeded("noise", seed), dtype=x.dtype)


def plane_noise(nodes=64):
    """Nodes u [N, 2] and weights [N] of Gauss and Hermite for N(0, I) in the plane."""
    u, w = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(nodes))
    return torch.cartesian_prod(u, u), torch.outer(w, w).flatten() / (2 * math.pi)


@pytest.mark.parametrize("sigma", [0.0, 0.4])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_score_is_minus_the_gradient_of_the_energy(name, sigma):
    target, x = EXAMPLES[name], noisy_samples(EXAMPLES[name], sigma)
    by_autograd = Energy(lambda y: target.energy(y, sigma)).score(x)
    torch.testing.assert_close(target.score(x, sigma), by_autograd, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.1), (0.3, 0.2), (1.0, 0.6)])
@pytest.mark.parametrize("name", PLANE)
def test_noise_is_convolution_and_tweedie_gives_mean_and_covariance(name, first, second):
    """p at sqrt(first^2 + second^2) is p at `first`, blurred by `second`; so are E and Cov of x at
    `first`, given what is blurred.

    Tweedie: E = y + s^2 score, and Cov = s^2 I + s^4 times the Hessian of log p (the usual slip:
    s^2 for s^4).
    """
    target, sigma = PLANE[name], math.hypot(first, second)
    y, (u, w) = noisy_samples(target, sigma, 4), plane_noise()
    before = y[:, None] - second * u
    density = (-target.energy(before.flatten(0, 1), first)).exp().view(len(y), -1) * w
    total = density.sum(1)
    torch.testing.assert_close((-target.energy(y, sigma)).exp(), total, atol=0, rtol=1e-7)

    share = (density / total[:, None])[..., None]
    mean = (share * before).sum(1)
    torch.testing.assert_close(y + second**2 * target.score(y, sigma), mean, atol=1e-7, rtol=0)
    centred = before - mean[:, None]
    covariance = (share * centred).transpose(1, 2) @ centred
    hessian = jacobian(lambda x: target.score(x, sigma), y)
    torch.testing.assert_close(
        second**2 * torch.eye(2) + second**4 * hessian, covariance, atol=1e-7, rtol=0
    )


@pytest.mark.parametrize("sigma", [0.002, 0.2, 80.0])
@pytest.mark.parametrize(
    "target",
    [Banana(), Banana(2.0, -0.5, 0.1), Funnel(), DoubleWell(), DoubleWell(6.0, 1.5)],
    ids=repr,
)
def test_distributions_without_closed_form_agree_with_a_brute_quadrature(target, sigma):
    """The energy and the posterior mean of the first coordinate, over a grid so fine that it needs
    no care.
    """
    x = noisy_samples(target, sigma, 3)
    edge = 36.0 if isinstance(target, Funnel) else 24.0
    t = torch.linspace(-edge, edge, 400_001, dtype=torch.float64)
    h = t[1] - t[0]
    for row in x:
        rest = row[1:]
        match target:
            case Banana(s, b, r):
                var = r**2 + sigma**2
                log_p = -(t**2 / s**2 + (rest - b * (t**2 - s**2)) ** 2 / var) / 2 - math.log(
                    2 * math.pi * s * math.sqrt(var)
                )
            case Funnel(dim, s):
                var = t.exp() + sigma**2
                log_p = -(
                    t**2 / s**2 + rest.square().sum() / var + (dim - 1) * var.log()
                ) / 2 - math.log(s)
                log_p = log_p - dim / 2 * math.log(2 * math.pi)
            case _:
                log_p = -target.a * (t**2 - target.b) ** 2
                log_p = log_p - (log_p.logsumexp(0) + h.log())
        log_p = (
            log_p - (row[0] - t) ** 2 / (2 * sigma**2) - math.log(math.sqrt(2 * math.pi) * sigma)
        )
        log_z = log_p.logsumexp(0) + h.log()
        torch.testing.assert_close(
            target.energy(row[None], sigma)[0], -log_z, atol=1e-10, rtol=1e-10
        )
        mean = ((log_p - log_p.max()).softmax(0) * t).sum()
        torch.testing.assert_close(
            target.denoise(row[None], sigma)[0, 0], mean, atol=1e-10, rtol=1e-10
        )


@pytest.mark.parametrize("sigma", [0.05, 0.7, 20.0])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_score_and_the_posterior_mean_are_one(name, sigma):
    """Curved laws find them by two quadratures."""
    target, x = EXAMPLES[name], noisy_samples(EXAMPLES[name], sigma)
    torch.testing.assert_close(
        target.denoise(x, sigma), x + sigma**2 * target.score(x, sigma), atol=1e-10, rtol=1e-10
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_one_level_per_example_is_the_level_of_each(name):
    target = EXAMPLES[name]
    x = noisy_samples(EXAMPLES[name], 0.5, 3)
    levels = torch.tensor([0.1, 0.5, 4.0], dtype=torch.float64)
    for method in (target.energy, target.score, target.denoise):
        each = torch.cat([method(x[i : i + 1], float(levels[i])) for i in range(3)])
        torch.testing.assert_close(method(x, levels), each, atol=1e-12, rtol=1e-12)
        with pytest.raises(ValueError, match="one number per example"):
            method(x, levels[:2])


@pytest.mark.parametrize("name", EXAMPLES)
def test_float32_stays_float32(name):
    target, x = EXAMPLES[name], noisy_samples(EXAMPLES[name], 0.5)
    for sigma in (0.0, 0.5, torch.full((len(x),), 0.5)):
        exact = target.score(x, sigma)
        found = target.score(x.float(), sigma)
        assert found.dtype == target.energy(x.float(), sigma).dtype == torch.float32
        torch.testing.assert_close(found.double(), exact.double(), atol=1e-3, rtol=1e-3)
    assert target.denoise(x.float(), 0.5).dtype == torch.float32


@pytest.mark.parametrize("sigma", [0.0, 0.5])
@pytest.mark.parametrize("name", EXAMPLES)
def test_samples_and_score_are_of_one_distribution(name, sigma):
    """Stein: E[f_i' + s_i f_i] = 0 with f_i = tanh x_i; half or twice the score is far off."""
    target, n = EXAMPLES[name], 20_000
    x = noisy_samples(target, sigma, n)
    s, f = target.score(x, sigma), x.tanh()

    def z(score):
        stein = (1 - f**2 + score * f).sum(1)
        return abs(stein.mean()) / (stein.std() / n**0.5)

    assert z(s) < 4 < min(z(s / 2), z(2 * s))


def normal_cdf(z):
    return torch.special.ndtr(z)


def distance(uniform):
    """The statistic of Kolmogorov and Smirnov for numbers that ought to be uniform on [0, 1]."""
    u, n = uniform.sort().values, len(uniform)
    return float((u - (torch.arange(n) + 0.5) / n).abs().max() * n**0.5)


def whitened(target, x):
    """Independent N(0, 1) numbers made of x, one column for each coordinate."""
    match target:
        case Gaussian(mean, covariance):
            return torch.linalg.solve_triangular(
                torch.linalg.cholesky(covariance), (x - mean).T, upper=False
            ).T
        case Banana(s, b, r):
            return torch.stack([x[:, 0] / s, (x[:, 1] - b * (x[:, 0] ** 2 - s**2)) / r], 1)
        case Funnel(_, s):
            return torch.cat([x[:, :1] / s, x[:, 1:] / (x[:, :1] / 2).exp()], 1)


@pytest.mark.parametrize(
    "target", [correlated_gaussian(0.8, 3), Banana(), Banana(2.0, -0.3, 1.5), Funnel(4)], ids=repr
)
def test_samples_whiten(target):
    z = whitened(target, target.sample(20_000, seeded("whiten")))
    assert all(distance(normal_cdf(column)) < KS for column in z.T)
    covariance = z.T @ z / len(z) - torch.eye(z.shape[1])
    assert (covariance.abs() * len(z) ** 0.5 / (1 + torch.eye(z.shape[1])).sqrt()).max() < 4
    assert not distance(normal_cdf(z[:, 1] / 2**0.5)) < KS


@pytest.mark.parametrize(
    "target", [DoubleWell(), DoubleWell(4.0, 0.6), DoubleWell(0.1, 0.5)], ids=repr
)
def test_samples_of_the_double_well_have_its_cdf(target):
    t = torch.linspace(-6, 6, 40_001, dtype=torch.float64)
    cdf = torch.cumulative_trapezoid((-target.energy(t[:, None])).exp(), t)
    assert abs(cdf[-1] - 1) < 1e-7
    x = target.sample(20_000, seeded("well"))[:, 0]
    assert distance(cdf[torch.searchsorted(t, x) - 1]) < KS


def test_samples_of_the_rings_have_the_radii_and_all_directions():
    target = Rings()
    x = target.sample(20_000, seeded("rings"))
    rho = torch.linspace(0, 5, 40_001, dtype=torch.float64)
    cdf = torch.cumulative_trapezoid(
        2 * math.pi * rho * (-target.energy(torch.stack([rho, 0 * rho], 1))).exp(), rho
    )
    assert abs(cdf[-1] - 1) < 1e-7
    assert distance(cdf[torch.searchsorted(rho, x.norm(dim=1)) - 1]) < KS
    assert distance(torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi) + 0.5) < KS
    second = x.square().sum(1)
    assert abs(second.mean() - (1 + 2.5**2) / 2 - 2 * 0.15**2) < 4 * second.std() / len(x) ** 0.5


def test_the_rings_are_smooth_at_the_centre():
    origin = torch.zeros(1, 2, dtype=torch.float64)
    assert torch.equal(Rings().score(origin, 0.5), origin)
    hessian = jacobian(
        lambda x: Rings().score(x, 0.5), torch.full((1, 2), 1e-9, dtype=torch.float64)
    )
    torch.testing.assert_close(
        jacobian(lambda x: Rings().score(x, 0.5), origin), hessian, atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("target", [ring_of_gaussians(), grid_of_gaussians(3)])
def test_samples_of_a_mixture_fall_on_its_modes_alike(target):
    x = target.sample(20_000, seeded("modes"))
    modes = len(target.means)
    nearest = (x[:, None] - target.means).square().sum(2).argmin(1)
    expected = len(x) / modes
    chi2 = ((nearest.bincount(minlength=modes) - expected) ** 2 / expected).sum()
    assert chi2 < modes - 1 + 4 * (2 * (modes - 1)) ** 0.5
    radius = (x - target.means[nearest]).square().sum(1) / target.stds[0, 0] ** 2
    assert abs(radius.mean() - 2) < 4 * 2 / len(x) ** 0.5


def test_the_square_of_a_gaussian_score_is_the_trace_of_the_precision():
    """tr Sigma^-1 by its eigenvalues 1 - rho (D - 1 times) and 1 + (D - 1) rho."""
    target = correlated_gaussian(0.7, 4)
    rho = 0.7
    d = 4
    square = target.score(target.sample(20_000, seeded("fisher"))).square().sum(1)
    trace = (d - 1) / (1 - rho) + 1 / (1 + (d - 1) * rho)
    assert abs(square.mean() - trace) < 4 * square.std() / len(square) ** 0.5
    assert abs(square.mean() - d) > 40 * square.std() / len(square) ** 0.5


def test_a_gaussian_is_torchs_gaussian_at_every_level():
    target = correlated_gaussian(0.7, 4)
    x = torch.randn(5, 4, dtype=torch.float64)
    for sigma in (0.0, 1.3):
        covariance = target.covariance + sigma**2 * torch.eye(4, dtype=torch.float64)
        exact = torch.distributions.MultivariateNormal(target.mean, covariance).log_prob(x)
        torch.testing.assert_close(-target.energy(x, sigma), exact, atol=1e-12, rtol=0)


def test_a_product_is_its_parts_side_by_side():
    target = double_well(1.0, 2.0, wells=2, gaussians=3)
    x = torch.randn(4, 5, dtype=torch.float64)
    well = DoubleWell(1.0, 2.0)
    exact = (
        well.energy(x[:, :1], 0.3)
        + well.energy(x[:, 1:2], 0.3)
        + (x[:, 2:].square() / 1.09 + math.log(2 * math.pi * 1.09)).sum(1) / 2
    )
    torch.testing.assert_close(target.energy(x, 0.3), exact, atol=1e-12, rtol=0)
    assert target.shape == (5,) and Product((target, well)).shape == (6,)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_distribution_at_a_level_is_a_field_with_energy(name):
    target, x = EXAMPLES[name], noisy_samples(EXAMPLES[name], 0.5)
    field = target.at(0.5)
    energy, score = field.energy_and_score(x)
    assert (
        field.has_energy
        and torch.equal(energy, target.energy(x, 0.5))
        and torch.equal(score, target.score(x, 0.5))
    )
    assert (
        torch.equal(target.at().energy(x), target.energy(x))
        and target.log_z() == 0.0
        and x.shape[1:] == target.shape
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(torch.zeros(2), torch.ones(2)), "symmetric matrix of shape"),
        (
            lambda: Gaussian(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]])),
            "symmetric matrix",
        ),
        (lambda: correlated_gaussian(-0.9, 3), "positive eigenvalues"),
        (lambda: DoubleWell(1.0, -1.0), "for one well"),
    ],
)
def test_distributions_that_are_none_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Histograms wired into a diffusion model: Bayes' rule, moments' derivatives, and the bound."""

import math

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import seeded
from gradlogp.models import (
    MarginalDiffusion,
    Marginals,
    TwoValued,
    check_values,
    fit_marginals,
    marginals,
)
from gradlogp.models.marginals import SHARPNESS, TiltedMoments
from gradlogp.objectives import DiscreteDiffusion
from gradlogp.tasks.likelihood import variational_bound

F64 = torch.float64


def untilted(x, level, cond=None):
    return x.new_zeros(len(x), 2 * x.shape[1], *x.shape[2:])


def codes(n, generator):
    """n rows of three entries of 17 values, each of another distribution."""
    shares = torch.rand(3, 17, generator=generator) ** 6
    return torch.stack([torch.multinomial(s, n, True, generator=generator) for s in shares], 1)


@pytest.fixture
def fitted():
    generator = torch.Generator().manual_seed(0)
    x = codes(400, generator).to(F64) / 8 - 1
    model = MarginalDiffusion(untilted, Marginals(3, 17)).to(F64)
    fit_marginals(model, lambda: Batch(x))
    return model, x


def test_the_shares_are_counts_with_one_more_for_each_value(fitted):
    model, x = fitted
    for i in range(3):
        counts = torch.bincount(((x[:, i] + 1) * 8).long(), minlength=17)
        expected = (counts + 1) / (len(x) + 17)
        torch.testing.assert_close(model.marginals.log_shares[i].exp(), expected.to(F64))


def test_without_a_network_it_is_bayes_rule(fitted):
    model, _ = fitted
    x = torch.tensor([[0.3, -0.9, 0.1], [1.4, 0.0, -2.0]], dtype=F64)
    sigma = torch.tensor([0.2, 0.7], dtype=F64)
    mean, variance = model.field().moments(x, sigma)
    values = torch.linspace(-1, 1, 17, dtype=F64)
    for b in range(2):
        for i in range(3):
            chance = (-((x[b, i] - values) ** 2) / (2 * sigma[b] ** 2)).exp()
            p = chance * model.marginals.log_shares[i].exp()
            p = p / p.sum()
            expected = (p * values).sum()
            torch.testing.assert_close(mean[b, i], expected, rtol=1e-10, atol=1e-10)
            square = (p * (values - expected) ** 2).sum()
            torch.testing.assert_close(variance[b, i], square, rtol=1e-10, atol=1e-10)


def test_derivatives_of_the_moments_are_moments():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 5, 3, generator=generator, dtype=F64).requires_grad_(True)
    shares = torch.randn(3, 17, generator=generator, dtype=F64)
    values = torch.linspace(-1, 1, 17, dtype=F64)
    assert torch.autograd.gradcheck(lambda a, b: TiltedMoments.apply(a, b, shares, values), (a, b))


def test_two_values_alike_are_the_two_valued_score():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 1, 3, generator=generator, dtype=F64)
    sigma = torch.tensor([0.5, 1.0, 2.0, 8.0], dtype=F64)

    def tilt(x, level, cond=None):
        return torch.cat([torch.sin(level)[:, None, None].expand_as(x) / SHARPNESS, 0 * x], 1)

    def odds(x, level, cond=None):
        return torch.sin(level)[:, None, None].expand_as(x)

    found = MarginalDiffusion(tilt, Marginals(3, 2).to(F64))(x, sigma)
    torch.testing.assert_close(found, TwoValued(odds, 1.0)(x, sigma), rtol=1e-10, atol=1e-10)


def test_without_a_network_the_bound_is_the_histograms_likelihood(fitted):
    """Over 200 levels of ratio 1.04; what is above is the price of Gaussian steps."""
    model, x = fitted
    levels = tuple(VarianceExploding(0.03, 60.0).ladder(200))
    chain = DiscreteDiffusion(levels, "learned", bins=17)
    bound = variational_bound(model, x, chain, torch.Generator().manual_seed(3))
    index = ((x + 1) * 8).long()
    shares = model.marginals.log_shares
    exact = -torch.stack([shares[i][index[:, i]] for i in range(3)]).sum(0)
    gap = (bound.nats - exact) / math.log(2) / 3
    stderr = float(gap.std()) / math.sqrt(len(x))
    assert -4 * stderr < float(gap.mean()) < 0.03 + 4 * stderr
    assert stderr < 0.05


def test_the_variance_never_vanishes(fitted):
    model, x = fitted
    _, variance = model.moments(x, torch.full((len(x),), 1e-4, dtype=F64))
    torch.testing.assert_close(variance, torch.full_like(x, (0.125 / 8) ** 2))


@pytest.mark.parametrize("x", [[0.03], [1.2], [-1.2], [float("nan")]])
def test_other_values_are_refused(x):
    check_values(torch.linspace(-1, 1, 17), 17)
    with pytest.raises(UserError, match="17 values"):
        check_values(torch.tensor(x), 17)


def test_autocast_leaves_the_moments_as_they_are():
    marginals = Marginals(6, 256)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    words = x, torch.full((5,), 0.05), 0 * x, 0 * x
    plain = marginals.moments(*words)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(marginals.moments(*words), plain)


def test_single_precision_is_enough_at_little_noise():
    """Noise of an eighth of the step between 256 values, entries half-way between two of them."""
    generator = torch.Generator().manual_seed(4)
    marginals = Marginals(50, 256)
    marginals.log_shares.copy_(torch.randn(50, 256, generator=generator))
    place = torch.randint(0, 255, (20, 50), generator=generator) + 0.5
    x = (place + 0.1 * torch.randn(20, 50, generator=generator)) * 2 / 255 - 1
    tilt = torch.randn(2, 20, 50, generator=generator)
    sigma = torch.full((20,), 0.001)
    found = marginals.moments(x, sigma, *tilt)
    exact = marginals.to(F64).moments(x.to(F64), sigma.to(F64), *tilt.to(F64))
    torch.testing.assert_close(found[0].to(F64), exact[0], atol=5e-6, rtol=0)
    torch.testing.assert_close(found[1].to(F64), exact[1], atol=0, rtol=5e-3)


def test_distributions_held_a_few_at_once_have_the_same_moments_and_derivatives(monkeypatch):
    a, b = (torch.randn(5, 7, generator=seeded("at once", k)).requires_grad_() for k in (0, 1))
    shares = torch.randn(7, 4, generator=seeded("shares")).log_softmax(1)

    def found():
        mean, variance = TiltedMoments.apply(a, b, shares, torch.linspace(-1, 1, 4))
        return mean, variance, *torch.autograd.grad((mean * variance).sum(), (a, b))

    whole = found()
    monkeypatch.setattr(marginals, "AT_ONCE", 3 * 4)  # three entries
    assert all(torch.allclose(x, y) for x, y in zip(found(), whole, strict=True))

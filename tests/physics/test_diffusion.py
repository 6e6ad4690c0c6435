"""The variational bound of a diffusion on Gaussian data, term by term, and against the formulas of
DDPM in its own coordinates.
"""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from gradlogp.core.batch import Batch
from gradlogp.core.fields import NoisyField, column
from gradlogp.core.noise import Cosine, ddpm_ladder
from gradlogp.core.parametrise import NoiseLevel, Predicts, convert
from gradlogp.core.random import seeded
from gradlogp.objectives import (
    FlowMatching,
    HybridBound,
    VariationalBound,
    ddpm_simple,
)
from gradlogp.objectives.diffusion import DiscreteDiffusion

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
LEVELS = tuple(ddpm_ladder(BETAS.tolist()))


class Gaussian(NoisyField):
    """The posterior of N(0, v) data."""

    def __init__(self, v: float) -> None:
        self.v = v

    def denoise(self, x, sigma):
        return self.moments(x, sigma)[0]

    def moments(self, x, sigma):
        s2 = column(sigma, x) ** 2
        return x * self.v / (self.v + s2), (self.v * s2 / (self.v + s2)).expand(x.shape)


def expected_terms(chain: DiscreteDiffusion, v: float, nodes: int = 4) -> torch.Tensor:
    """The mean of each term over x0 ~ N(0, v) and eps, exactly: they are of second degree. [T]"""
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    z, w = torch.from_numpy(z), torch.from_numpy(w / w.sum())
    x0, eps = torch.meshgrid(z * v**0.5, z, indexing="ij")
    k = torch.arange(len(chain)).repeat_interleave(nodes**2)
    x0, eps = (a.reshape(-1, 1).repeat(len(chain), 1) for a in (x0, eps))
    step = chain.at(k, x0)
    terms = chain.nats(k, step, x0, *chain.denoise(Gaussian(v), x0, eps, step))
    return (terms.reshape(len(chain), -1) * torch.outer(w, w).flatten()).sum(1)


def exact(v: float) -> float:
    """Entropy of N(0, v) and the KL divergence of what is left of it at the end: the bound where
    the reverse is exact.
    """
    top = LEVELS[0] ** 2
    ratio = (v + top) / (1 + top)
    return 0.5 * math.log(2 * math.pi * math.e * v) + (ratio - 1 - math.log(ratio)) / 2


def bound(chain: DiscreteDiffusion, v: float) -> float:
    """Its mean over x0: the sum of the terms and of the prior's, which is linear in x0^2."""
    return float(
        expected_terms(chain, v).sum() + chain.prior(torch.tensor([[v**0.5]], dtype=torch.float64))
    )


@pytest.mark.parametrize("v", [0.25, 1.0, 2.0])
def test_with_the_best_variance_the_bound_is_tight(v):
    assert abs(bound(DiscreteDiffusion(LEVELS, v), v) - exact(v)) < 1e-10
    assert abs(bound(DiscreteDiffusion(LEVELS, "learned"), v) - exact(v)) < 1e-10


@pytest.mark.parametrize(("v", "large"), [(0.25, 0.0011), (1.0, 0.0), (2.0, 0.0002)])
def test_what_fixed_variances_cost(v, large):
    assert abs(bound(DiscreteDiffusion(LEVELS, 1.0), v) - exact(v) - large) < 1e-4
    assert abs(bound(DiscreteDiffusion(LEVELS, 0.0), v) - exact(v) - 0.575) < 0.01


def test_the_terms_are_those_of_ddpm():
    """In the coordinates of DDPM, with its own coefficients, by torch.distributions."""
    betas = torch.linspace(1e-3, 0.3, 12, dtype=torch.float64)
    T = 12
    bar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), bar[:-1]])
    x0, eps = (torch.randn(T, 5, dtype=torch.float64, generator=seeded(i)) for i in (0, 1))

    class Crooked(NoisyField):
        def denoise(self, x, sigma):
            return (x + column(sigma, x)).sin()

    def mean(xt, x0):
        return (
            (before.sqrt() * betas)[:, None] * x0
            + ((1 - betas).sqrt() * (1 - before))[:, None] * xt
        ) / (1 - bar)[:, None]

    xt = bar.sqrt()[:, None] * x0 + (1 - bar).sqrt()[:, None] * eps
    x0_hat = (xt / bar.sqrt()[:, None] + ((1 - bar) / bar).sqrt()[:, None]).sin()
    small = (betas * (1 - before) / (1 - bar))[:, None]
    k = torch.arange(T)
    for v, variance in ((1.0, betas[:, None]), (0.0, small)):
        chain = DiscreteDiffusion(tuple(ddpm_ladder(betas.tolist())), v)
        step = chain.at(k, x0)
        terms = chain.nats(k, step, x0, *chain.denoise(Crooked(), x0, eps, step))
        q = Normal(mean(xt, x0)[1:], small[1:].sqrt())
        p = Normal(mean(xt, x0_hat)[1:], variance[1:].sqrt())
        assert torch.allclose(terms[1:], kl_divergence(q, p).sum(1), rtol=1e-10)
        if v == 1:
            assert torch.allclose(
                terms[:1], -Normal(x0_hat[:1], betas[0].sqrt()).log_prob(x0[:1]).sum(1), rtol=1e-10
            )
        else:  # Nichol & Dhariwal: at the first step the variance of the second
            first = -Normal(x0_hat[:1], small[1].sqrt()).log_prob(x0[:1]).sum(1)
            assert torch.allclose(terms[:1], first, rtol=1e-10)
    end = Normal(bar[-1].sqrt() * x0, (1 - bar[-1]).sqrt())
    standard = Normal(torch.zeros_like(x0), torch.ones_like(x0))
    assert torch.allclose(chain.prior(x0), kl_divergence(end, standard).sum(1), rtol=1e-10)


N = 40_000


def estimates(objective, v: float = 0.25, seed: int = 1):
    x0 = v**0.5 * torch.randn(N, 1, dtype=torch.float64, generator=seeded(0))
    return objective(Gaussian(v), Batch(x0), seeded(seed)).value


def test_one_step_for_each_example_estimates_the_bound():
    """Uniform steps and importance-sampled ones have one mean; the latter, once the losses are
    known, less variance.
    """
    chain = DiscreteDiffusion(tuple(Cosine().ladder(50)), 0.25)
    whole = bound(chain, 0.25)
    even = VariationalBound(chain)
    by_loss = VariationalBound(chain, importance=True)
    estimates(by_loss, seed=5)
    plain, weighted = estimates(even), estimates(by_loss)
    for found in (plain, weighted):
        groups = found.reshape(100, -1).mean(1)
        assert abs((groups.mean() - whole) / (groups.std() / 10)) < 4
    assert weighted.var() < plain.var() / 2


def test_the_decoder_is_a_distribution_over_the_values_of_a_pixel():
    chain = DiscreteDiffusion((2.0, 1.0), bins=256)
    pixels = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for mean, std in ((0.2, 0.3), (-0.97, 0.01), (1.4, 0.5), (0.1, 1e-4)):
        nats = chain.decoder(pixels, torch.full_like(pixels, mean), torch.full_like(pixels, std**2))
        assert torch.isfinite(nats).all() and abs((-nats).exp().sum() - 1) < 1e-12
    mean = torch.zeros(256, dtype=torch.float64, requires_grad=True)
    chain.decoder(pixels, mean, torch.full_like(pixels, 0.01)).sum().backward()
    assert torch.isfinite(mean.grad).all()


class Learned(NoisyField):
    def __init__(self):
        self.mean, self.stderr = (
            torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 0.4)
        )

    def denoise(self, x, sigma):
        return self.mean * x

    def moments(self, x, sigma):
        return self.denoise(x, sigma), self.stderr * torch.ones_like(x)


def test_the_hybrid_learns_the_mean_by_the_simple_loss_and_the_variance_by_the_bound():
    levels = tuple(Cosine().ladder(10))
    batch = Batch(torch.randn(30, 2, dtype=torch.float64, generator=seeded(0)))
    field, chain = Learned(), DiscreteDiffusion(levels, "learned")

    def slopes(objective):
        return torch.autograd.grad(
            objective(field, batch, seeded(1)).value.mean(),
            [field.mean, field.stderr],
            allow_unused=True,
        )

    hybrid = slopes(HybridBound(chain, weight=0.01))
    whole = slopes(VariationalBound(chain))
    assert torch.allclose(hybrid[1], 0.01 * whole[1], rtol=1e-12)
    x0, g = batch.x, seeded(1)
    k, _ = VariationalBound(chain).steps.draw(30, g, x0)
    eps = torch.randn(x0.shape, generator=g, dtype=torch.float64)
    level = chain.at(k, x0).level[:, None]
    simple = ((x0 + level * eps) * field.mean - x0).square().sum(1) / (2 * level[:, 0] ** 2)
    assert torch.allclose(hybrid[0], torch.autograd.grad(simple.mean(), field.mean)[0], rtol=1e-12)


def test_the_simple_loss_is_half_the_error_of_eps():
    """At the optimum, over levels l: v / (2 (v + l^2)) for each dimension."""
    v, levels = 0.25, Cosine().ladder(30)
    x0 = v**0.5 * torch.randn(N, 1, dtype=torch.float64, generator=seeded(0))
    found = ddpm_simple(levels)(Gaussian(v), Batch(x0), seeded(1)).value
    exact = sum(v / (v + level**2) / 2 for level in levels) / 30
    groups = found.reshape(100, -1).mean(1)
    assert abs((groups.mean() - exact) / (groups.std() / 10)) < 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscreteDiffusion((1.0,)),
        lambda: DiscreteDiffusion((1.0, 2.0)),
        lambda: DiscreteDiffusion((1.0, 0.0)),
        lambda: DiscreteDiffusion((2.0, 1.0), -1.0),
        lambda: HybridBound(DiscreteDiffusion((2.0, 1.0))),
        lambda: DiscreteDiffusion((2.0, 1.0), "large"),
    ],
)
def test_a_chain_that_is_none_is_refused(make):
    with pytest.raises(ValueError, match="got|learns the reverse variance"):
        make()


class Flat(Gaussian):
    def moments(self, x, sigma):
        return x, torch.ones(len(x), 1)


def test_moments_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="have the shape of x"):
        VariationalBound(DiscreteDiffusion((2.0, 1.0), "learned"))(
            Flat(1.0), Batch(torch.zeros(2, 3)), seeded(0)
        )


@pytest.mark.parametrize("kind", ["eps", "v", "score", "sigma_score", "velocity"])
def test_whatever_the_network_predicts_the_loss_is_one(kind):
    """Networks of x0 and of `kind`, in the coordinates of the cosine process, that stand for one
    field.
    """
    process = Cosine()
    x0 = torch.randn(40, 3, dtype=torch.float64, generator=seeded(0))

    def network(kind):
        def net(xt, t):
            alpha, sigma = process.alpha(t), process.sigma(t)
            place = NoiseLevel(alpha, sigma, process.rates(t))
            return convert(
                Gaussian(0.5).denoise(xt / alpha[:, None], sigma / alpha), xt, "x0", kind, place
            )

        return Predicts(net, kind, process)

    for objective in (
        ddpm_simple(process.ladder(9)),
        VariationalBound(DiscreteDiffusion(tuple(process.ladder(9)))),
        FlowMatching(),
    ):
        a, b = (objective(network(k), Batch(x0), seeded(1)).value for k in ("x0", kind))
        assert torch.allclose(a, b, rtol=1e-10)


def test_a_field_that_knows_the_mean_only_cannot_learn_the_variance():
    with pytest.raises(ValueError, match="moments"):
        VariationalBound(DiscreteDiffusion((2.0, 1.0), "learned"))(
            lambda x, sigma: x, Batch(torch.zeros(2, 1)), seeded(0)
        )

"""Denoising score matching on a Gaussian: the loss at the true score, and nowhere lower; what each
weight and law is worth.
"""

import math

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.fields import NoisyEnergy, column
from gradlogp.core.noise import PROCESSES, Cosine, VarianceExploding, VariancePreserving
from gradlogp.core.parametrise import Predicts
from gradlogp.core.random import seeded
from gradlogp.core.targets import GaussianMixture
from gradlogp.objectives import (
    DenoisingScoreMatching,
    FromProcess,
    Ladder,
    LogNormal,
    SingleLevel,
    Uncertainty,
)

S = 0.8
DIM = 3
N = 60_000


def shrink(scale: float = 1.0, std: float = S):
    """The denoiser of N(0, std^2), x std^2 / (std^2 + sigma^2), times `scale`."""
    return lambda x, sigma: scale * x * std**2 / (std**2 + column(sigma, x) ** 2)


def loss(scale: float, sigma: float, weight: str = "sigma2") -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    x0 = S * torch.randn(N, DIM, generator=g, dtype=torch.float64)
    return DenoisingScoreMatching(SingleLevel(sigma), weight, S)(shrink(scale), Batch(x0), g).value


@pytest.mark.parametrize("weight", ["none", "sigma2"])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 3.0])
def test_the_minimum_of_the_loss(sigma, weight):
    """E = (d/2) s^2 / (sigma^2 (s^2 + sigma^2)), times lambda = sigma^2."""
    value = loss(1.0, sigma, weight)
    expected = DIM / 2 * S**2 / (S**2 + sigma**2) / (sigma**2 if weight == "none" else 1)
    assert abs((value.mean() - expected) / (value.std() / N**0.5)) < 4


def test_edm_weights_make_every_level_cost_the_same_at_first():
    """With lambda = sigma^2 (sigma^2 + s^2) / s^2 the minimum is d / 2 at every level."""
    for sigma in (0.1, 3.0):
        value = loss(1.0, sigma, "edm")
        assert abs((value.mean() - DIM / 2) / (value.std() / N**0.5)) < 4


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_the_true_score_is_the_minimum(scale):
    assert (loss(scale, 0.5) - loss(1.0, 0.5)).mean() > 0


class Seen:
    """A crooked denoiser that keeps what it was shown."""

    def __call__(self, x, sigma):
        self.x, self.sigma = x, sigma
        self.out = (x + column(sigma, x)).sin()
        return self.out


def seen(weight, distribution, **settings):
    """The loss [B], and x0, x, sigma [B, 1], and what a `Seen` made of them."""
    x0 = torch.randn(50, 4, dtype=torch.float64, generator=seeded(0))
    model = Seen()
    value = DenoisingScoreMatching(distribution, weight, **settings)(
        model, Batch(x0), seeded(1)
    ).value
    return value, x0, model.x, model.sigma[:, None], model.out


def test_it_is_the_loss_of_a_denoising_autoencoder():
    """With s = (r(x) - x) / sigma^2: 1/2 |s - (x0 - x) / sigma^2|^2 = 1/2 |r(x) - x0|^2 / sigma^4."""
    value, x0, x, sigma, r = seen("none", LogNormal())
    score, target = (r - x) / sigma**2, (x0 - x) / sigma**2
    assert torch.allclose(value, (score - target).square().sum(1) / 2, rtol=1e-12)
    assert torch.allclose(value, (r - x0).square().sum(1) / (2 * sigma[:, 0] ** 4), rtol=1e-12)


@pytest.mark.parametrize("process", [Cosine(), VariancePreserving()])
def test_sigma2_is_the_error_of_eps_in_the_coordinates_of_the_process(process):
    """A network of eps, fed x_t = alpha x0 + sigma eps at the time t, has the loss 1/2 |eps_theta -
    eps|^2.
    """
    fed = []
    x0 = torch.randn(50, 4, dtype=torch.float64, generator=seeded(0))

    def net(xt, t):
        fed.append((xt, t[:, None], xt.sin()))
        return fed[0][2]

    model = Predicts(net, "eps", process)
    value = DenoisingScoreMatching(FromProcess(process))(model, Batch(x0), seeded(1)).value
    xt, t, predicted = fed[0]
    eps = (xt - process.alpha(t) * x0) / process.sigma(t)
    assert torch.allclose(value, (predicted - eps).square().sum(1) / 2, rtol=1e-9)


def test_min_snr_is_the_error_of_x0_by_the_clipped_snr():
    for gamma in (1.0, 5.0):
        value, x0, _, sigma, out = seen("min_snr", LogNormal(), gamma=gamma)
        snr = sigma[:, 0] ** -2
        assert (snr > gamma).any() and (snr < gamma).any()
        assert torch.allclose(
            value, snr.clamp(max=gamma) * (out - x0).square().sum(1) / 2, rtol=1e-12
        )


DISTRIBUTIONS = {name: FromProcess(process()) for name, process in PROCESSES.items()} | {
    "importance": FromProcess(VariancePreserving(), importance=True),
    "log-normal": LogNormal(-0.4, 1.2),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_growth_is_the_slope_of_the_variance(distribution):
    u = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    h = 1e-5
    slope = (distribution.quantile(u + h) ** 2 - distribution.quantile(u - h) ** 2) / (2 * h)
    assert torch.allclose(distribution.growth(distribution.quantile(u)), slope, rtol=1e-6)


def gap_of_kl(distribution, model_std: float) -> float:
    """KL(data + noise || model + noise) at the least level of the law, less that at its greatest."""

    def kl(level: float) -> float:
        ratio = (S**2 + level**2) / (model_std**2 + level**2)
        return DIM / 2 * (ratio - 1 - math.log(ratio))

    low, high = distribution.quantile(torch.tensor([1e-6, 1 - 1e-6], dtype=torch.float64)).tolist()
    return kl(low) - kl(high)


@pytest.mark.parametrize("name", ["vp", "cosine", "rectified", "importance"])
def test_likelihood_weights_integrate_the_fall_of_the_divergence(name):
    """d KL / d sigma^2 = -1/2 E|s - s_theta|^2, so the loss of a wrong model less that of the right
    one is a gap in KL.
    """
    distribution, wrong = DISTRIBUTIONS[name], 1.5
    x0 = S * torch.randn(N, DIM, generator=seeded(0), dtype=torch.float64)
    objective = DenoisingScoreMatching(distribution, "likelihood")
    right_loss, wrong_loss = (
        objective(shrink(std=std), Batch(x0), seeded(1)).value for std in (S, wrong)
    )
    groups = (
        (wrong_loss - right_loss).reshape(60, -1).mean(1)
    )  # strata are in random order: groups are all alike
    error, exact = groups.std() / 60**0.5, gap_of_kl(distribution, wrong)
    assert abs((groups.mean() - exact) / error) < 4
    assert error < 0.1 * exact  # a factor of two would show


def test_importance_sampled_levels_have_the_lower_variance():
    x0 = S * torch.randn(N, DIM, generator=seeded(0), dtype=torch.float64)
    levels = [FromProcess(VariancePreserving(), importance) for importance in (False, True)]
    plain, sampled = (
        DenoisingScoreMatching(distribution, "likelihood")(shrink(), Batch(x0), seeded(1)).value
        for distribution in levels
    )
    assert sampled.var() < plain.var() / 5
    assert abs(plain.mean() - sampled.mean()) < 4 * (plain.var() / N + sampled.var() / N) ** 0.5


def test_the_best_uncertainty_is_the_log_of_the_levels_loss():
    """The loss is convex in u; Newton's method finds u(sigma) = ln(loss per dimension) at a knot."""
    u = Uncertainty(knots=7)  # knots at 1e-3 ... 1e3, one of them at 1
    objective = DenoisingScoreMatching(SingleLevel(1.0), "sigma2", uncertainty=u.double())
    x0 = S * torch.randn(500, DIM, generator=seeded(0), dtype=torch.float64)
    for _ in range(30):
        loss = objective(shrink(), Batch(x0), seeded(1))
        slope = torch.autograd.grad(loss.value.mean(), u.values)[0]
        with torch.no_grad():
            u.values -= slope / DIM
    assert abs(u(torch.ones(1))[0] - loss.info["loss_per_dim"].log()) < 1e-10
    assert abs(loss.value.mean() - DIM * (1 + loss.info["loss_per_dim"].log())) < 1e-9


def test_energies_and_denoisers_of_one_distribution_have_one_loss():
    distribution = GaussianMixture(
        torch.tensor([[-1.0, 0.5], [1.0, 0.0]]).double(),
        torch.tensor([[0.5, 0.3], [0.7, 1.0]]).double(),
        torch.tensor([0.4, 0.6]).double(),
    )

    x0 = distribution.sample(40, seeded(0))
    for objective in (
        DenoisingScoreMatching(LogNormal(), "edm"),
        DenoisingScoreMatching(FromProcess(Cosine()), "likelihood"),
    ):
        a, b = (
            objective(model, Batch(x0), seeded(1)).value
            for model in (distribution, NoisyEnergy(distribution.energy))
        )
        assert torch.allclose(a, b, rtol=1e-10)
    single = DenoisingScoreMatching(SingleLevel(0.7))
    a, b = (
        single(model, Batch(x0), seeded(1)).value for model in (distribution, distribution.at(0.7))
    )
    assert torch.allclose(a, b, rtol=1e-10)


def test_levels_follow_their_distribution():
    g = torch.Generator().manual_seed(0)
    x = LogNormal(0.3, 1.2).sample(20_000, g).log()
    assert (
        abs(x.mean() - 0.3) < 1e-3 and abs(x.std() - 1.2) < 1e-3
    )  # stratified: far closer than independent draws
    process = VarianceExploding(0.1, 10.0)
    for ladder in (Ladder(process, 5), Ladder(levels=tuple(process.ladder(5)))):
        levels = ladder.sample(1000, g)
        assert sorted(set(levels.tolist())) == pytest.approx(sorted(process.ladder(5)), rel=1e-6)
        assert torch.bincount(levels.unique(return_inverse=True)[1]).tolist() == [200] * 5
    t = process.time(FromProcess(process).sample(20_000, g))
    assert abs(t.mean() - 0.5) < 1e-3 and abs(t.std() - 12**-0.5) < 1e-3

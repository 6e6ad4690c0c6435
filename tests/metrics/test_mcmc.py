"""AR(1) chains have closed forms: correlation rho^k, integrated time (1 + rho) / (1 - rho)."""

import math

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.metrics.mcmc import (
    autocorrelation,
    effective_samples,
    ess,
    normal_scores,
    rhat,
    split_rhat,
)


def ar1(rho: float, chains: int, steps: int, seed: int = 0) -> torch.Tensor:
    """Stationary AR(1) chains of unit variance, [chains, steps]."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(steps, chains, generator=g, dtype=torch.float64)
    out = [z[0]]
    for noise in z[1:]:
        out.append(rho * out[-1] + math.sqrt(1 - rho**2) * noise)
    return torch.stack(out, 1)


@pytest.mark.parametrize("rho", [0.8, 0.5, 0.0, -0.4])
def test_the_effective_size_of_an_ar1_chain(rho):
    """At rho = .8, which is Langevin with h = .2 on N(0, 1), the integrated time is 9."""
    x = ar1(rho, 4, 50_000)
    assert x.numel() / effective_samples(x) == pytest.approx((1 + rho) / (1 - rho), rel=0.05)


def test_the_autocorrelation_is_that_of_the_definition():
    x = ar1(0.7, 3, 200)
    centred = x - x.mean(1, keepdim=True)
    direct = torch.stack([(centred[:, : 200 - k] * centred[:, k:]).sum(1) for k in range(200)], 1)
    assert (autocorrelation(x) - direct / direct[:, :1]).abs().max() < 1e-12


def test_the_autocorrelation_of_ar1():
    rho = autocorrelation(ar1(0.8, 200, 2000)).mean(0)
    assert all(abs(rho[k] - 0.8**k) < 0.03 for k in (1, 2, 5, 10))


def test_the_error_of_the_mean_is_what_the_effective_size_says():
    """Var(mean) x ESS = 1 for unit variance: over 400 replications of two chains."""
    x = ar1(0.6, 800, 400).unflatten(0, (400, 2))
    sizes = torch.stack([effective_samples(pair) for pair in x[:50]])
    assert float(x.mean((1, 2)).var() * sizes.mean()) == pytest.approx(1, abs=4 * (2 / 400) ** 0.5)


def test_rhat_is_one_for_one_law_and_grows_with_the_distance():
    x = torch.randn(4, 2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert abs(split_rhat(x) - 1) < 0.005 and abs(split_rhat(x, rank=True) - 1) < 0.005
    apart = x + torch.tensor([0.0, 0.0, 2.0, 2.0], dtype=torch.float64)[:, None]
    within = 1.0
    between = 8 / 7  # eight halves at 0, 0, 2, 2, ...: variance of their means 8/7
    assert split_rhat(apart) == pytest.approx(math.sqrt(1 + between / within), rel=0.01)


def test_splitting_sees_a_drift_and_ranks_see_a_scale():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2000, generator=g, dtype=torch.float64)
    drift = x + torch.linspace(-1, 1, 2000)
    assert split_rhat(drift) > 1.1
    scaled = x * torch.tensor([1.0, 1.0, 1.0, 4.0])[:, None]
    assert split_rhat(scaled) < 1.01 < 1.1 < split_rhat(scaled, rank=True)


def test_normal_scores_keep_the_order_and_are_standard():
    x = torch.rand(4, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
    z = normal_scores(x)
    assert torch.equal(z.flatten().argsort(), x.flatten().argsort()) and abs(z.std() - 1) < 0.01


def test_each_quantity_has_its_own_number_and_the_measure_is_the_worst():
    x = torch.stack(
        [
            ar1(0.9, 8, 4000),
            ar1(0.0, 8, 4000, seed=1),
            torch.full((8, 4000), 0.1, dtype=torch.float64),
        ],
        2,
    )
    sizes = effective_samples(x)
    assert sizes[0] < sizes[1] and sizes[2].isnan() and split_rhat(x)[2].isnan()
    assert float(ess(x)) == pytest.approx(float(sizes[0])) and float(rhat(x)) == pytest.approx(
        float(split_rhat(x)[:2].max())
    )
    assert 0 < ess(x).stderr < float(sizes[0]) / 3


def test_chains_that_disagree_are_worth_little():
    x = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert effective_samples(x + 10 * torch.arange(4)[:, None]) < 10 < 2000 < effective_samples(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5), r"x\[None\]"),
        (torch.zeros(2, 3), "at least 4 steps"),
        (torch.full((2, 9), math.nan), "finite numbers"),
        (torch.zeros(2, 9), "chains that move"),
    ],
)
def test_traces_that_say_nothing_are_refused(x, message):
    for measure in (ess, rhat):
        with pytest.raises(UserError if x.ndim > 1 else ValueError, match=message):
            measure(x)

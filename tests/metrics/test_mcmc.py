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

# of arviz-stats 0.8 for `wave` below: ess with method "mean", rhat "split" and "rank"
ARVIZ = {
    (2, 101): (55.34755609759355, 0.9930117732306646, 0.9934108402663536),
    (4, 400): (488.06135436019804, 0.9982410648645842, 0.9984023210191277),
    (3, 8): (33.12506980107854, 1.8340929290753776, 1.551073086832757),
    (2, 4): (7.224719895935548, 0.7700215665054733, 1.1952318775572817),
}


def wave(chains: int, steps: int) -> torch.Tensor:
    """Chains that anybody can make again: sums of sines of the logistic map."""
    x = torch.linspace(0.1, 0.4, chains, dtype=torch.float64)
    out = []
    for _ in range(steps):
        x = 3.99 * x * (1 - x)
        out.append(x)
    return torch.stack(out, 1).cumsum(1).sin()


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


def test_rhat_is_one_for_one_distribution_and_grows_with_the_distance():
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


def test_ties_share_their_mean_rank():
    g = torch.Generator().manual_seed(0)
    rare = (torch.rand(4, 1000, generator=g) < 0.05).double()
    assert split_rhat(rare, rank=True) == pytest.approx(1, abs=0.005)
    same = torch.full((2, 4), 3.0, dtype=torch.float64)
    assert normal_scores(same).abs().max() < 1e-12
    assert normal_scores(torch.tensor([[1.0, 2.0, 2.0, 3.0]]))[0, 1:3].tolist() == [0, 0]


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize("of", [effective_samples, split_rhat, autocorrelation])
def test_the_unit_of_a_trace_does_not_matter(of, scale):
    x = ar1(0.8, 4, 500)
    assert torch.allclose(of(scale * x), of(x), rtol=1e-9, atol=1e-9)


def test_the_origin_of_a_trace_does_not_matter():
    x = ar1(0.8, 4, 500).mul(8).round() * 2**-46  # exact beside 1
    assert effective_samples(1 + x) == pytest.approx(float(effective_samples(x)), rel=1e-9)


def test_a_chain_that_drifts_is_split():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1000, generator=g, dtype=torch.float64) + torch.linspace(-2, 2, 1000)
    halves = torch.cat([x[:, :500], x[:, 500:]])
    assert effective_samples(x) < 12
    assert effective_samples(x) < 1.01 * effective_samples(halves)


def test_a_stuck_chain_among_two_has_values_and_no_standard_error():
    x = torch.stack([ar1(0.0, 1, 100)[0], torch.zeros(100, dtype=torch.float64)])
    for measure in (ess, rhat):
        got = measure(x)
        assert math.isfinite(got.value) and got.stderr is None


def test_what_never_moves_is_said_to_be_left_out():
    x = torch.stack([ar1(0.0, 8, 100), torch.ones(8, 100, dtype=torch.float64)], 2)
    for measure in (ess, rhat):
        assert "1 quantities that move (1 that never do left out)" in measure(x).protocol


@pytest.mark.parametrize(("chains", "steps"), ARVIZ)
def test_the_definitions_are_those_of_arviz(chains, steps):
    x = wave(chains, steps)
    found = [effective_samples(x), split_rhat(x), split_rhat(x, rank=True)]
    assert [float(v) for v in found] == pytest.approx(ARVIZ[chains, steps], rel=1e-9)

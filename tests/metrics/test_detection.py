"""Detection of anomalies: two unit Gaussians at a distance have known figures."""

import math

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.metrics.detection import auprc, auroc, auroc_difference, fpr95, lowest_auprc


def phi(z):
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def scores(distance, n=4000, m=3000, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator=g), distance + torch.randn(m, generator=g)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.5])
def test_auroc_of_two_gaussians(distance):
    got = auroc(*scores(distance))
    assert abs(got.value - phi(distance / math.sqrt(2))) < 4 * got.stderr < 0.04


def test_ties_count_half_and_the_order_is_fixed():
    assert auroc(torch.tensor([0.0, 0.0]), torch.tensor([0.0, 0.0])).value == 0.5
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0])).value == 1
    assert auroc(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])).value == 0
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])).value == 0.875


def test_delong_is_the_scatter_of_fresh_samples():
    runs = [auroc(*scores(1.0, 200, 100, seed)) for seed in range(200)]
    assert 0.85 < runs[0].stderr / torch.tensor([float(r) for r in runs]).std() < 1.18


def test_the_paired_difference_knows_that_its_scores_go_together():
    """A score and its noisy copy: the difference scatters far less than independence would have it."""

    def difference(seed):
        normal, anomalous = scores(1.0, 300, 300, seed)
        g = torch.Generator().manual_seed(1000 + seed)
        noise = [0.3 * torch.randn(len(s), generator=g) for s in (normal, anomalous)]
        return auroc_difference((normal, normal + noise[0]), (anomalous, anomalous + noise[1]))

    runs = [difference(seed) for seed in range(150)]
    scatter = torch.tensor([d for d, _ in runs]).std()
    assert 0.8 < runs[0][1] / scatter < 1.25
    assert runs[0][1] < 0.5 * auroc(*scores(1.0, 300, 300)).stderr * 2**0.5
    mean = sum(d for d, _ in runs) / len(runs)
    exact = phi(1 / math.sqrt(2)) - phi(1 / math.sqrt(2 * 1.09))
    assert abs(mean - exact) < 4 * scatter / len(runs) ** 0.5


def test_the_worst_order_has_the_lowest_auprc():
    """Boyd et al. (2012), theorem 1: .2255 at the prevalence .388 of digit 1 among held-out digits."""
    assert lowest_auprc(0.388) == pytest.approx(0.2255, abs=1e-4)
    n, m = 6120, 3880
    got = auprc(torch.ones(n), torch.zeros(m) - torch.arange(m) / m)
    assert (
        got.value == pytest.approx(lowest_auprc(0.388), abs=1e-3)
        and got.trivial == 0.388
        and "0.388" in got.protocol
    )


def test_a_coin_scores_the_prevalence_and_a_perfect_score_one():
    normal, anomalous = scores(0.0, 6000, 2000)
    got = auprc(normal, anomalous)
    assert abs(got.value - 0.25) < 4 * got.stderr < 0.06
    assert auprc(torch.zeros(5), torch.ones(5)).value == 1


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0])
def test_fpr95_of_two_gaussians(distance):
    got = fpr95(*scores(distance, 40_000, 40_000))
    exact = 1 - phi(distance - 1.6449)
    assert abs(got.value - exact) < 4 * got.stderr + 1e-4


@pytest.mark.parametrize("measure", [auroc, auprc, fpr95])
def test_one_anomaly_has_a_value_and_no_standard_error(measure):
    normal = torch.arange(10.0)
    got = measure(normal, torch.tensor([6.5]))
    exact = {auroc: 0.7, auprc: 0.25, fpr95: 0.3}[measure]
    assert got.value == pytest.approx(exact) and got.stderr is None
    value, error = auroc_difference((normal, -normal), (torch.tensor([6.5]), torch.tensor([-6.5])))
    assert value == pytest.approx(0.4) and math.isnan(error)


def test_the_threshold_of_fpr95_is_uncertain_too():
    """Against f (1 - f) / n + .05 x .95 / m (p_normal / p_anomalous)^2 for many, and the scatter of
    fresh samples for few, where the threshold held fixed would have a fifth of it.
    """
    n, m, z = 40_000, 20_000, 1.6449
    f = 1 - phi(2 - z)
    ratio = math.exp(-((2 - z) ** 2) / 2 + z**2 / 2)
    exact = math.sqrt(f * (1 - f) / n + 0.05 * 0.95 / m * ratio**2)
    assert fpr95(*scores(2.0, n, m)).stderr == pytest.approx(exact, rel=0.1)
    runs = [fpr95(*scores(2.0, 1000, 100, seed)) for seed in range(200)]
    scatter = float(torch.tensor([r.value for r in runs]).std())
    stated = float(torch.tensor([r.stderr for r in runs]).square().mean().sqrt())
    assert stated == pytest.approx(scatter, rel=0.25)
    f = 1 - phi(2 - z)
    assert math.sqrt(f * (1 - f) / 1000) < 0.3 * scatter


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match=r"one score per example, shape \[n\], but has \[3, 2\]"):
        auroc(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(UserError, match="finite numbers"):
        auprc(torch.zeros(3), torch.tensor([0.0, math.nan]))

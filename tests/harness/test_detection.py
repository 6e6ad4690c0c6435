"""Thresholds that normal examples cross as often as asked, and what speaks for a score."""

import math

import pytest
import torch
from torch import nn

from gradlogp.baselines.detectors import DETECTORS, PICTURES, cross_fitted
from gradlogp.core.errors import UserError
from gradlogp.harness.detection import bulk_tail, occluded, patches, threshold


def exponential(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return -torch.rand(n, generator=generator, dtype=torch.float64).log()


def test_the_tail_of_an_exponential_is_its_own() -> None:
    share = 0.003
    quantiles = torch.arange(0, 1, 1e-5, dtype=torch.float64)
    scores = 2 - 3 * (1 - quantiles).log()
    assert bulk_tail(scores, share) == pytest.approx(2 - 3 * math.log(share), abs=5e-3)


@pytest.mark.parametrize("share", [0.003, 0.01, 0.1])
def test_clean_scores_are_flagged_as_often_as_was_asked(share: float) -> None:
    n, fresh = 4000, exponential(100_000, 1)
    found = threshold(exponential(n), share)
    assert found.outliers == 0 and str(n)[0] in found.says
    error = math.sqrt(share * (1 - share) * (1 / n + 1 / len(fresh)))
    assert abs(float((fresh > found.value).double().mean()) - share) / error <= 4


def test_outliers_among_the_held_out_do_not_lift_the_threshold() -> None:
    scores = torch.cat([exponential(9700), 50 + exponential(300, 2)])
    dirty, clean = threshold(scores, 0.01), threshold(scores, 0.01, clean=True)
    assert dirty.value < 6 < 50 < clean.value  # -ln .01 is 4.6
    assert dirty.outliers == pytest.approx(0.04, abs=0.005)


def test_the_tail_of_a_gaussian_is_within_an_eighth_of_its_own() -> None:
    """And stays there with units of any size, and with a twentieth of outliers."""
    share, n = 0.01, 20_000
    s = torch.linspace(0.5 / n, 1 - 0.5 / n, n, dtype=torch.float64)
    normal = math.sqrt(2) * torch.erfinv(2 * s - 1)
    true = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * (1 - share) - 1)))
    for given in (normal, torch.cat([normal, torch.full((n // 19,), 9.0)])):
        for scale in (1e-3, 1.0, 1e6):
            assert bulk_tail(scale * given - 7, share) == pytest.approx(
                scale * true - 7, abs=0.125 * scale * true
            )


@pytest.mark.parametrize("name", [d for d in DETECTORS if d not in PICTURES])
def test_every_detector_flags_outliers_and_few_normal_rows(name: str) -> None:
    """Thresholds of cross-fitted scores of a table with 5 % outliers: of fresh normal rows at most
    3 % are flagged, of outliers nearly as many as the true quantile flags.
    """
    g = torch.Generator().manual_seed(0)
    scales = torch.linspace(0.3, 2, 6)
    rows, fresh = (torch.randn(n, 6, generator=g) * scales for n in (800, 4000))
    far = 6 * scales * nn.functional.normalize(torch.randn(300, 6, generator=g), dim=1) * 6**0.5
    table = torch.cat([rows, far[:40]])
    detector = DETECTORS[name]()
    found = threshold(cross_fitted(detector, table), 0.01)
    score = detector.fit(table)
    normal, outlying = score(fresh).double(), score(far[40:]).double()
    assert float((normal > found.value).double().mean()) <= 0.03
    right = float((outlying > normal.quantile(0.99)).double().mean())
    if name != "cluster_means":  # what lies beyond an outer cluster is normal to it
        assert float((outlying > found.value).double().mean()) > 0.9 * right


@pytest.mark.parametrize("share", [0.0, 0.5, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="between 0 and 0.5"):
        threshold(exponential(100), share)


def test_a_sum_of_squares_is_shared_by_its_terms() -> None:
    usual = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    x = usual + torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found = occluded(
        lambda x: (x - usual).square().sum(1), x, torch.eye(3, dtype=torch.bool), usual
    )
    expected = torch.tensor([[9 / 25, 0, 16 / 25], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 30, 17), (1, 5, 64)])
def test_patches_cover_every_pixel_once(shape: tuple[int, ...]) -> None:
    masks, names = patches(shape)
    assert (masks.sum(0) == 1).all() and len(masks) == len(set(names))

"""Each detector against a closed form on Gaussians, or against what it is known to find."""

import math

import pytest
import torch

from gradlogp.baselines.detectors import (
    DETECTORS,
    PICTURES,
    ClusterMeans,
    Detector,
    Isolation,
    Mahalanobis,
    NearestNeighbours,
    NoisedEnergy,
    OneClassSVM,
    PrincipalComponents,
    Spectrum,
    cross_fitted,
    probabilistic,
    robust,
)
from gradlogp.baselines.picture_detectors import GaussianField, WhitenedNeighbours
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Denoiser
from gradlogp.core.random import seeded
from gradlogp.core.score_features import LEVELS, FieldNeighbours, score_features
from gradlogp.metrics.detection import auroc

ALL = [
    NoisedEnergy(),
    ClusterMeans(3),
    NearestNeighbours(),
    PrincipalComponents(2),
    PrincipalComponents(None),
    Mahalanobis(),
    Mahalanobis(None),
    Isolation(50),
    OneClassSVM(most=500),
]


def draw(n, *stds):
    return torch.tensor(stds) * torch.randn(n, len(stds), generator=seeded("detectors", n))


@pytest.mark.parametrize("detector", ALL, ids=lambda d: type(d).__name__)
def test_high_is_anomalous_and_nothing_but_normal_is_seen(detector):
    normal = draw(600, 3, 2, 0.1, 0.1)
    held_out = draw(100, 3, 2, 0.1, 0.1)
    fresh = draw(300, 3, 2, 0.1, 0.1)
    score = detector.fit(normal, held_out)
    far = torch.tensor([9.0, 9.0, 3.0, 3.0]) * torch.sign(draw(200, 1, 1, 1, 1))
    assert score(fresh).shape == (300,)
    assert auroc(score(fresh), score(far)).value > 0.97
    assert torch.equal(score(fresh), detector.fit(normal, held_out)(fresh))  # the seed decides


def test_mahalanobis_tells_gaussians_apart_as_well_as_theory_says():
    """Two dimensions, variances 1 and 4: squared distances are exponential, so the AUROC is 4 / 5."""
    score = Mahalanobis(None).fit(draw(5000, 1, 5), draw(500, 1, 5))
    found = auroc(score(draw(4001, 1, 5)), score(2 * draw(4002, 1, 5)))
    assert abs(found.value - 0.8) < 4 * found.stderr


def test_the_principal_error_is_what_lies_outside_the_leading_components():
    normal = draw(5000, 3, 2, 0.5, 0.1)
    score = PrincipalComponents(2).fit(normal, normal[:10])
    outside = float(score(torch.eye(4))[2:].mean())
    assert abs(outside - 1) < 0.05 and float(score(torch.eye(4))[:2].max()) < 0.05


def test_the_rank_is_the_one_of_the_distribution():
    """Three strong directions in ten: probabilistic PCA finds them on held-out draws."""
    stds = (3, 2, 1.5, *[0.2] * 7)
    chosen = PrincipalComponents(None, (1, 2, 3, 6, 9)).choose(
        Spectrum.fit(draw(2000, *stds)), draw(1000, *stds)
    )
    assert chosen == 3
    assert probabilistic(torch.tensor([4.0, 1.0, 3.0]), 1).tolist() == [4, 2, 2]


def test_neighbours_find_a_hole_that_a_gaussian_does_not():
    angle = 2 * math.pi * torch.rand(1000, generator=seeded("ring"))
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    middle = 0.1 * draw(50, 1, 1)
    neighbours = NearestNeighbours(1).fit(ring[:800], ring[800:])
    distance = Mahalanobis().fit(ring[:800], ring[800:])
    assert auroc(neighbours(ring[800:]), neighbours(middle)).value == 1
    assert auroc(distance(ring[800:]), distance(middle)).value == 0


def test_far_means_count_for_less_than_near_ones():
    """Two clusters at -9 and 1 of one line: between the law of each and that of all at the centre,
    log odds of equal Gaussians.
    """
    normal = torch.cat(
        [draw(900, 0.1, 0.1) + torch.tensor([1.0, 0]), draw(100, 0.1, 0.1) - torch.tensor([9.0, 0])]
    )
    score = ClusterMeans(2).fit(normal, normal[:10])
    x = torch.tensor([[1.0, 0.0], [-9.0, 0.0], [1.0, 2.0]])
    mean = normal.mean(0)
    near = torch.stack([normal[:900].mean(0), normal[900:].mean(0), normal[:900].mean(0)])
    expected = (x - near).square().sum(1) - (near - mean).square().sum(1)
    assert torch.allclose(score(x), expected, atol=1e-3)


def every() -> list[Detector]:
    return [DETECTORS[name]() for name in NAMES]


NAMES = [name for name in DETECTORS if name not in PICTURES]


@pytest.mark.parametrize("detector", every(), ids=NAMES)
def test_rows_come_in_any_form(detector):
    normal, x = draw(100, 3, 2, 1), draw(20, 3, 2, 1)
    whole = detector.fit(normal)(x)
    assert whole.shape == (20,) and detector.fit(normal)(x[:0]).shape == (0,)
    for form in (lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.clone().requires_grad_()):
        found = detector.fit(form(normal))(form(x))
        assert not found.requires_grad and torch.allclose(found.double(), whole.double(), rtol=1e-3)
    held = normal.half()
    low = detector.fit(held)(x.half())
    assert torch.allclose(low, detector.fit(held.float())(x.half().float()))
    few = detector.fit((10 * normal).round().int())((10 * x).round().int())
    assert auroc(few[:0].new_zeros(1), few.sort().values).value >= 0 and few.isfinite().all()


@pytest.mark.parametrize("detector", every(), ids=NAMES)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x.index_fill(0, torch.tensor([3]), math.nan), "finite numbers, but 1 of"),
        (lambda x: x * (1 + 1j), "real numbers"),
        (lambda x: x[:, :2], "same columns"),
    ],
)
def test_what_is_no_row_is_refused_by_fit_and_by_score(detector, spoil, message):
    normal, x = draw(100, 3, 2, 1), draw(20, 3, 2, 1)
    with pytest.raises(ValueError, match=message):
        detector.fit(normal, spoil(normal))
    with pytest.raises(ValueError, match=message):
        detector.fit(normal)(spoil(x))
    if "columns" not in message:
        with pytest.raises(UserError, match=message):
            detector.fit(spoil(normal))


@pytest.mark.parametrize("detector", every(), ids=NAMES)
def test_a_single_row_teaches_nothing_and_says_so(detector):
    with pytest.raises(UserError, match="two normal rows at least, got 1"):
        detector.fit(draw(1, 1, 1))


@pytest.mark.parametrize("detector", every(), ids=NAMES)
def test_huge_rows_are_scored_or_refused_and_never_lost(detector):
    normal, x = draw(100, 3, 2, 1), draw(20, 3, 2, 1)
    for scale in (1e25, 1e-25):
        try:
            found = detector.fit(scale * normal)(scale * x)
        except UserError as error:
            assert "finite" in str(error)
        else:
            assert found.isfinite().all()
    far = x.double().index_fill(0, torch.tensor([4]), 1e39)
    with pytest.raises(UserError, match="more than torch.float32 can"):
        detector.fit(normal)(far)
    with pytest.raises(UserError, match="finite"):
        detector.fit(normal)(far.clamp(max=1e38).float() * 10)


def test_what_is_chosen_without_held_out_rows_is_chosen_by_a_fifth():
    stds = (3, 2, 1.5, *[0.2] * 7)
    normal = draw(1000, *stds)
    fifth = torch.arange(1000) % 5 == 4
    for detector in (PrincipalComponents(None), Mahalanobis(None)):
        apart = detector.fit(normal[~fifth], normal[fifth])
        assert torch.equal(detector.fit(normal)(normal), apart(normal))


def test_the_noised_energy_is_the_density_of_the_rows_with_noise():
    rows = draw(50, 1, 3).double()
    x = draw(7, 1, 3).double()
    middle, deviation = robust(rows)
    gaps = ((x - middle) / deviation)[:, None] - ((rows - middle) / deviation)[None]
    exact = (-gaps.square().sum(2) / 2).exp().mean(1) / (2 * math.pi)
    assert torch.allclose(NoisedEnergy().fit(rows)(x), -exact.log(), atol=1e-10)


def test_robust_deviations_are_those_of_a_gaussian_whatever_a_tenth_of_the_rows_says():
    rows = draw(20_000, 3).double()
    rows[:2000] = 1e6
    middle, deviation = robust(torch.cat([rows, torch.zeros(20_000, 1)], 1))
    assert abs(float(middle[0])) < 0.6 and 3 < float(deviation[0]) < 3.7 and deviation[1] == 1
    mostly = torch.tensor([0.0] * 9 + [5.0])[:, None]
    assert float(robust(mostly)[1]) == pytest.approx(float(mostly.std()))


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_the_noised_energy_finds_outliers_like_those_it_unknowingly_learned(share):
    """Two clusters and unmarked outliers all about them, some far away: scored as new rows and,
    cross-fitted, as the rows of the table themselves.
    """
    g = seeded("dirty")
    normal = draw(1000, 1, 1, 1, 1, 1)
    normal[::2] += 4
    strange = 12 * (torch.rand(1000, 5, generator=g) - 0.4)
    strange[::5] *= 100
    count = round(1000 * share)
    table = torch.cat([normal[:1000], strange[:count]])
    fresh = draw(500, 1, 1, 1, 1, 1)
    fresh[::2] += 4
    score = NoisedEnergy().fit(table)
    assert auroc(score(fresh), score(strange[500:])).value > 0.93
    own = cross_fitted(NoisedEnergy(), table)
    assert auroc(own[:1000], own[1000:]).value > 0.93


def test_cross_fitting_scores_every_row_by_what_has_not_seen_it():
    rows = draw(40, 1, 1)
    found = cross_fitted(NearestNeighbours(1), rows, folds=20)
    exact = torch.cdist(rows, rows).fill_diagonal_(math.inf).min(1).values
    assert (found >= exact - 1e-4).all() and (found < exact + 1e-4).float().mean() > 0.8
    with pytest.raises(UserError, match="2 folds or more"):
        cross_fitted(NearestNeighbours(1), rows, folds=21)


def drawn(n, *shape):
    """Pictures whose neighbouring pixels are alike."""
    return torch.randn(n, *shape, generator=seeded("drawn", n)).cumsum(-1).cumsum(-2)


def test_whitened_directions_know_angles_and_no_lengths():
    normal, x = drawn(300, 2, 4, 4) + 15, drawn(50, 2, 4, 4)
    score = WhitenedNeighbours(share=0.01).fit(normal)
    mean = normal.mean(0)
    assert torch.allclose(score(mean + 3 * x), score(mean + x), atol=1e-3)
    spectrum = Spectrum.fit(normal)
    ridge = 0.01 * spectrum.variances.mean()
    whitened = [spectrum.coordinates(z) / (spectrum.variances + ridge).sqrt() for z in (normal, x)]
    angle = torch.nn.functional.cosine_similarity(whitened[1][:, None], whitened[0][None], dim=2)
    assert torch.allclose(score(x).double(), (2 - 2 * angle.max(1).values).sqrt(), atol=1e-3)


def test_the_gaussian_field_is_that_of_the_training_pictures():
    """The score -(C + sigma^2 I)^{-1} (x - mu) by the inverse of their own covariance."""
    normal, x = drawn(300, 2, 8, 8), drawn(20, 2, 8, 8)
    mean = normal.mean(0)
    flat = (normal - mean).flatten(1).double()
    covariance = flat.T @ flat / len(flat)
    unit = torch.eye(len(covariance)).double()

    def denoised(x, sigma):
        variance = sigma[0].double() ** 2
        precision = torch.linalg.inv(covariance + variance * unit)
        return x - (variance * x.double().flatten(1) @ precision).view_as(x)

    levels = [float(flat.square().mean().sqrt()) * k for k in LEVELS]
    noisy = Denoiser(denoised)
    known, new = (score_features(noisy, z - mean, levels) for z in (normal, x))
    exact = FieldNeighbours(known).score(new)
    assert torch.allclose(GaussianField().fit(normal)(x), exact, rtol=1e-3)


@pytest.mark.parametrize("name", PICTURES)
def test_detectors_of_pictures_tell_other_pictures_and_mind_no_units(name):
    normal, x = drawn(600, 1, 8, 8), drawn(200, 1, 8, 8)
    strange = x.flip(2)  # grows from below: the same numbers, another covariance
    plain = DETECTORS[name]().fit(normal)
    assert auroc(plain(x), plain(strange)).value > 0.6
    for scale in (1e-25, 1e25):
        found = DETECTORS[name]().fit(scale * normal)(scale * x)
        assert torch.allclose(found.double(), plain(x).double(), rtol=1e-3)


@pytest.mark.parametrize("name", PICTURES)
def test_a_place_that_never_changes_outweighs_no_others_beyond_measure(name):
    """A frame of one grey: it was 1e13 times the usual score for a hundredth of a deviation in it."""
    normal, x = (drawn(n, 1, 12, 12) for n in (400, 100))
    for z in (normal, x):
        z[..., :3, :] = 0.3
    changed = x.clone()
    changed[..., 0, 0] += 0.01 * float(normal.std())
    score = DETECTORS[name]().fit(normal)
    usual, slightly = (float(score(z).median()) for z in (x, changed))
    assert usual <= slightly < 4 * usual


@pytest.mark.parametrize("name", PICTURES)
def test_rows_and_large_pictures_are_refused_with_what_to_do(name):
    with pytest.raises(UserError, match="is for pictures .* take noised_energy"):
        DETECTORS[name]().fit(draw(20, 1, 1))
    with pytest.raises(UserError, match="at most 4096 numbers a picture, got 12288.*--size 32"):
        DETECTORS[name]().fit(torch.zeros(3, 3, 64, 64))

"""Each detector against a closed form on Gaussians, or against what it is known to find."""

import math

import pytest
import torch

from gradlogp.baselines.detectors import (
    ClusterMeans,
    Isolation,
    Mahalanobis,
    NearestNeighbours,
    OneClassSVM,
    PrincipalComponents,
    Spectrum,
    probabilistic,
)
from gradlogp.core.random import seeded
from gradlogp.metrics.detection import auroc

ALL = [
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


def test_the_rank_is_the_one_of_the_law():
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

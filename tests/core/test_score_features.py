"""Features of a Gaussian's score are known; each tells what one norm cannot."""

import math

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.core.fields import Denoiser, column
from gradlogp.core.random import seeded
from gradlogp.core.score_features import NOTHING, FieldNeighbours, score_features
from gradlogp.metrics.detection import auroc
from gradlogp.tasks import detect

V = 2.0  # N(0, V I)
LEVELS = (0.3, 1.0, 3.0)
gaussian = Denoiser(lambda x, sigma: V / (V + column(sigma, x) ** 2) * x)


def pictures(n, channels=1):
    return torch.randn(n, channels, 8, 8, generator=seeded("pictures", n))


def test_the_features_of_a_gaussian_are_known():
    """s = -x / (V + sigma^2), of pictures of two channels at 2 x 2 places."""
    x = pictures(3, 2).double()
    found = score_features(gaussian, x, LEVELS, cells=2)
    shrunk = torch.tensor([s / (V + s**2) for s in LEVELS], dtype=torch.float64)
    cell = x[:, :, :4, 4:].square().mean((2, 3))  # the upper right one
    norms = found["norms"].view(3, len(LEVELS), 2, 2, 2)[..., 0, 1]
    exact = (shrunk[:, None] ** 2 * cell[:, None] + NOTHING**2).log() / 2
    assert torch.allclose(norms, exact)
    means = found["means"].view(3, len(LEVELS), 2)
    assert torch.allclose(means, -shrunk[:, None] * x.mean((2, 3))[:, None])
    towards = -x.flatten(1) / x.flatten(1).norm(dim=1, keepdim=True)
    assert torch.allclose(found["direction"], towards)


def test_features_are_the_pictures_own(monkeypatch):
    x = pictures(20)
    whole = score_features(gaussian, x, LEVELS)
    monkeypatch.setattr("gradlogp.core.score_features.BLOCK", 7)
    for name, part in score_features(gaussian, x.flip(0), LEVELS).items():
        assert torch.allclose(part.flip(0), whole[name])


@pytest.mark.parametrize("part", ["norms", "means", "direction"])
def test_the_field_tells_what_one_norm_cannot(part):
    """Strange pictures of the same norm: their energy in another half, another sign, another
    direction.
    """
    half = torch.ones(1, 1, 8, 8)
    half[..., 4:] = 0.1
    noise = pictures(900)
    stripes = torch.ones(1, 1, 8, 8)
    stripes[..., ::2, :] = -1
    normal, strange = {
        "norms": (half * noise[:800], (half * noise[800:]).flip(3)),
        "means": (0.3 * noise[:800] + 1, -0.3 * noise[800:] - 1),
        "direction": (0.3 * noise[:800] + stripes, 0.3 * noise[800:] - stripes),
    }[part]
    usual, other = (score_features(gaussian, x, LEVELS) for x in (normal, strange))
    model = FieldNeighbours({name: x[:600] for name, x in usual.items()}, {part: 1.0})
    scores = model.score({name: x[600:] for name, x in usual.items()})
    assert auroc(scores, model.score(other)).value > 0.99
    norms = [detect.score_norms(gaussian, x, LEVELS) for x in (normal, strange)]
    msma = detect.NormNeighbours(norms[0][:600])
    found = auroc(msma.score(norms[0][600:]), msma.score(norms[1]))
    assert abs(found.value - 0.5) < 4 * found.stderr


def test_parts_have_length_one_and_weigh_as_told():
    """Squared distances between two examples are twice the squared weight on average."""
    features = score_features(gaussian, pictures(2000), LEVELS)
    for name, weight in (("norms", 1), ("means", 1), ("direction", 2)):
        alone = FieldNeighbours(features, {name: weight}).joined(features)
        gap = (alone[:1000] - alone[1000:]).square().sum(1)
        error = float(gap.std()) / math.sqrt(1000)
        assert abs(float(gap.mean()) - 2 * weight**2) < 4 * error + 0.01
    same = FieldNeighbours(features).score(features)
    assert torch.allclose(same, torch.zeros(2000).double(), atol=1e-6)


def test_the_features_are_those_of_pictures_at_two_levels():
    for x, levels in ((torch.zeros(3, 5), LEVELS), (pictures(3), (1.0,))):
        with pytest.raises(UserError, match=r"pictures \[n, C, H, W\] at two levels"):
            score_features(gaussian, x, levels)

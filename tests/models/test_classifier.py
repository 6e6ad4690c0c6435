"""Classifiers: one face, features under a linear head, and invariances that their shape promises."""

import pytest
import torch

from gradlogp.core.random import seeded
from gradlogp.core.spectrogram import LogMel
from gradlogp.models import (
    Classifier,
    ConvClassifier,
    MLPClassifier,
    ResidualClassifier,
    SpectrogramClassifier,
)
from gradlogp.models.nets.resnet import ResNetTrunk

CASES = {
    "pictures": (lambda: ConvClassifier((3, 20, 20), 4, (4, 8), 8), (3, 20, 20), 8),
    "volumes": (lambda: ConvClassifier((1, 18, 18, 18), 4, (4, 8), 8), (1, 18, 18, 18), 8),
    "residual": (lambda: ResidualClassifier((3, 16, 16), 4, (4, 8)), (3, 16, 16), 8),
    "rows": (lambda: MLPClassifier(7, 4, (16, 8)), (7,), 8),
    "sounds": (
        lambda: SpectrogramClassifier((1, 512), 4, LogMel(bands=16), (4, 8), 8),
        (1, 512),
        8,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_are_linear_in_the_features(name):
    torch.manual_seed(0)
    make, shape, width = CASES[name]
    model = make().eval()
    x = torch.randn(5, *shape, generator=seeded(0))
    features = model.features(x)
    assert isinstance(model, Classifier) and features.shape == (5, width)
    torch.testing.assert_close(
        model(x), features @ model.head.weight.T + model.head.bias, atol=1e-6, rtol=1e-5
    )


def test_a_residual_trunk_begins_with_normalised_channels_and_averages_over_places():
    """In training mode batch normalisation gives every channel mean 0 and variance 1 before its
    ReLU, whatever the scale of x.
    """
    torch.manual_seed(0)
    trunk = ResNetTrunk((3, 16, 16), (8,), patch=2)
    x = torch.randn(32, 3, 16, 16, generator=seeded(0))
    first = trunk.layers[0][:2](100 * x + 3).transpose(0, 1).flatten(1)
    torch.testing.assert_close(first.mean(1), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(first.var(1, correction=0), torch.ones(8), atol=1e-3, rtol=0)
    trunk.eval()
    torch.testing.assert_close(trunk(x), trunk.layers(x).mean((2, 3)))


@pytest.mark.parametrize(("patch", "side"), [(1, 32), (2, 16), (4, 8)])
def test_the_stem_divides_every_size_by_the_patch_and_each_stage_by_two(patch, side):
    trunk = ResNetTrunk((3, 32, 32), (4, 8), patch).eval()
    stem = trunk.layers[0](torch.zeros(1, 3, 32, 32))
    assert stem.shape == (1, 4, side, side)
    assert trunk.layers(torch.zeros(1, 3, 32, 32)).shape == (1, 8, side // 2, side // 2)


def test_a_sounds_class_is_learned_from_its_pitch():
    """Two tones of random phase, which no linear map of the samples tells apart, in 40 steps."""
    torch.manual_seed(0)
    model = SpectrogramClassifier((1, 512), 2, LogMel(bands=16), (4, 8), 16)
    g, t = seeded(0), torch.arange(512) / 8000
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)

    def tones(n):
        y = torch.randint(2, (n,), generator=g)
        phase = 6.283 * torch.rand(n, 1, generator=g)
        return torch.sin(6.283 * (500 + 700 * y[:, None]) * t + phase)[:, None], y

    for _ in range(40):
        x, y = tones(32)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    x, y = tones(200)
    assert (model(x).argmax(1) == y).float().mean() > 0.97

"""Augmentations: what each may change, and what it leaves alone to the last digit."""

import math

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.models import ConvClassifier
from gradlogp.objectives import CrossEntropy
from gradlogp.objectives.augment import (
    CROPS_AND_COLOURS,
    FLIPS_AND_SHIFTS,
    Augmented,
    Chain,
    ColourJitter,
    Flip,
    Grey,
    Noise,
    ResizedCrop,
    Shift,
    turned,
)

X = 2 * torch.rand(64, 3, 12, 12, generator=seeded(0), dtype=torch.float64) - 1
ALL = [
    Flip(),
    Shift(3),
    ResizedCrop(),
    ColourJitter(),
    Grey(),
    Noise(),
    FLIPS_AND_SHIFTS,
    CROPS_AND_COLOURS,
]
NAMES = [type(a).__name__ for a in ALL]


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_the_generator_decides_and_the_input_is_left_alone(augmentation):
    x = X.clone()
    once, again = (augmentation(x, seeded(1)) for _ in range(2))
    other = augmentation(x, seeded(2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert torch.equal(x, X) and once.shape == X.shape and once.dtype == X.dtype


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_each_example_is_changed_by_draws_of_its_own(augmentation):
    same = X[:1].expand(64, -1, -1, -1).clone()
    assert len({tuple(row.flatten().tolist()) for row in augmentation(same, seeded(1))}) > 1


@pytest.mark.parametrize(
    "off",
    [
        Flip(0.0),
        Shift(0),
        ResizedCrop((1.0, 1.0), (1.0, 1.0)),
        ColourJitter(0.0, 0.0, 0.0, 0.0),
        Grey(0.0),
        Noise(0.0),
        Chain(()),
    ],
    ids=lambda a: type(a).__name__,
)
def test_switched_off_it_changes_nothing(off):
    torch.testing.assert_close(off(X, seeded(1)), X, atol=1e-12, rtol=0)


def test_half_are_flipped_and_a_flip_is_its_own_inverse():
    many = X[:1].expand(4000, -1, -1, -1)
    flipped = (Flip()(many, seeded(3)) != many).flatten(1).any(1).double()
    assert abs(flipped.mean() - 0.5) / (0.25 / 4000) ** 0.5 < 4
    assert torch.equal(Flip(1.0)(Flip(1.0)(X, seeded(1)), seeded(2)), X)


def test_a_shift_moves_a_ramp_by_whole_places_each_equally_often():
    ramp = torch.arange(12.0)[None, None, None].expand(3000, 1, 12, 12).clone()
    moved = Shift(2)(ramp, seeded(4))[:, 0, 0, 5] - 5
    counts = torch.stack([(moved == k).double().mean() for k in range(-2, 3)])
    assert counts.sum() == 1 and ((counts - 0.2) / (0.16 / 3000) ** 0.5).abs().max() < 4


def test_a_shift_serves_waves_and_volumes():
    for shape in ((5, 2, 9), (5, 1, 6, 7, 8)):
        x = torch.randn(shape, generator=seeded(0))
        out = Shift(2)(x, seeded(1))
        assert out.shape == x.shape and torch.isin(out[0], x[0]).all()


def test_a_crop_of_a_plane_is_a_plane_whose_slopes_are_its_sides():
    """Bilinear resizing is exact on planes: the slopes say how wide and high the window was, and
    its area and ratio are those asked for.
    """
    size = 64
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    plane = torch.stack([place[None].expand(size, size), place[:, None].expand(size, size)])
    out = ResizedCrop((0.2, 0.5), (0.75, 4 / 3))(plane.expand(500, 2, size, size), seeded(5))
    middle = slice(size // 4, 3 * size // 4)
    width = out[:, 0, middle, middle].diff(dim=2) * size
    height = out[:, 1, middle, middle].diff(dim=1) * size
    assert (width - width[:, :1, :1]).abs().max() < 1e-9
    area, ratio = width[:, 0, 0] * height[:, 0, 0], width[:, 0, 0] / height[:, 0, 0]
    assert area.min() >= 0.2 - 1e-9 and area.max() <= 0.5 + 1e-9
    assert ratio.min() >= 0.75 - 1e-9 and ratio.max() <= 4 / 3 + 1e-9
    assert abs(area.mean() - 0.35) / (area.std() / 500**0.5) < 4
    assert out.min() >= 0 and out.max() <= 1


def test_turning_colours_keeps_grey_and_scales_chroma():
    s, angle = torch.full((64, 1, 1, 1), 1.7), torch.full((64, 1, 1, 1), 0.6)
    out = turned(X, s, angle)
    grey, chroma = out.mean(1), (out - out.mean(1, keepdim=True)).norm(dim=1)
    torch.testing.assert_close(grey, X.mean(1), atol=1e-12, rtol=0)
    before = (X - X.mean(1, keepdim=True)).norm(dim=1)
    torch.testing.assert_close(chroma, 1.7 * before, atol=1e-6, rtol=0)
    third = torch.full((64, 1, 1, 1), 2 * math.pi / 3, dtype=torch.float64)
    torch.testing.assert_close(  # a third of a turn makes red green, green blue and blue red
        turned(X, torch.ones_like(third), third), X.roll(1, 1), atol=1e-10, rtol=0
    )


def test_brightness_scales_from_black_and_contrast_about_the_mean():
    x = X / 2
    light = ColourJitter(0.4, 0.0, 0.0, 0.0, 1.0)(x, seeded(6))
    inside = (light + 1) / (x + 1)
    factor = inside.flatten(1)
    free = (light < 1).flatten(1)
    factors = torch.where(free, factor, factor.median(1, keepdim=True).values)
    assert (factors.amax(1) - factors.amin(1)).max() < 1e-9
    assert factors.min() >= 0.6 and factors.max() <= 1.4 and factors[:, 0].std() > 0.1
    even = ColourJitter(0.0, 0.4, 0.0, 0.0, 1.0)(x, seeded(6))
    torch.testing.assert_close(even.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-10, rtol=0)


def test_noise_has_its_deviation_and_grey_has_one_channel():
    noise = Noise(0.3)(X, seeded(7)) - X
    assert abs(noise.std() / 0.3 - 1) / (2 * noise.numel()) ** -0.5 < 4
    grey = Grey(1.0)(X, seeded(8))
    assert torch.equal(grey[:, 0], grey[:, 2])
    torch.testing.assert_close(grey[:, 0], X.mean(1))


def test_an_augmented_objective_is_the_objective_on_the_changed_batch():
    torch.manual_seed(0)
    model = ConvClassifier((3, 12, 12), 3, (4, 8), 8)
    x, y = X.float(), torch.arange(64) % 3
    loss = Augmented(CrossEntropy(), FLIPS_AND_SHIFTS)(model, Batch(x, y), seeded(1))
    seen = FLIPS_AND_SHIFTS(x, seeded(1))
    assert torch.equal(loss.value, CrossEntropy()(model, Batch(seen, y), seeded(2)).value)


def test_a_shift_past_the_mirror_is_refused():
    with pytest.raises(ValueError, match="0 to 11 places fits into 12, got 12"):
        Shift(12)(X, seeded(1))


def test_colours_of_a_grey_picture_are_refused():
    with pytest.raises(ValueError, match="x has 1 channels; leave colour jitter out"):
        ColourJitter()(X[:, :1], seeded(1))

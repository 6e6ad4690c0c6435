"""Log-mel spectrograms of sounds whose spectrum is known."""

import math

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.core.spectrogram import LogMel, hertz, mel, triangles

RATE, WINDOW = 8000, 256


def test_the_scale_goes_there_and_back_and_1000_hertz_are_1000_mel():
    f = torch.tensor([0.0, 100.0, 700.0, 4000.0], dtype=torch.float64)
    there = torch.tensor([mel(float(x)) for x in f], dtype=torch.float64)
    torch.testing.assert_close(hertz(there), f, atol=1e-10, rtol=0)
    assert abs(mel(1000) - 1000) < 0.1


def test_the_triangles_share_every_frequency_out_between_the_outermost_tops():
    weights = triangles(RATE, WINDOW, 20)
    tops = hertz(torch.linspace(0, mel(RATE / 2), 22, dtype=torch.float64))
    f = torch.linspace(0, RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    inside = (f >= tops[1]) & (f <= tops[-2])
    torch.testing.assert_close(
        weights.sum(0)[inside], torch.ones(int(inside.sum()), dtype=torch.float64)
    )
    assert weights.min() == 0 and weights.shape == (20, 129)


def test_white_noise_has_power_one_at_every_frequency():
    x = torch.randn(400, 1, WINDOW, generator=seeded(0), dtype=torch.float64)
    power = LogMel(RATE, 8, WINDOW, WINDOW, epsilon=0.0)(x).exp()[:, 0, :, 0]
    each = power / triangles(RATE, WINDOW, 8).sum(1)
    z = (each.mean(0) - 1) / (each.std(0) / len(each) ** 0.5)
    assert z.abs().max() < 4
    assert ((each.mean(0) - 2) / (each.std(0) / len(each) ** 0.5)).abs().min() > 10


@pytest.mark.parametrize("frequency", [500.0, 1000.0, 2000.0])
def test_a_tone_sounds_in_the_band_around_it_and_twice_as_loud_is_ln_4_more(frequency):
    time = torch.arange(1024, dtype=torch.float64) / RATE
    tone = torch.sin(2 * math.pi * frequency * time)[None, None]
    hears = LogMel(RATE, 20, WINDOW, 64, epsilon=0.0)
    tops = hertz(torch.linspace(0, mel(RATE / 2), 22, dtype=torch.float64))[1:-1]
    loud = hears(tone)[0, 0]
    assert (loud.argmax(0) == (tops - frequency).abs().argmin()).all()
    torch.testing.assert_close(hears(2 * tone)[0, 0] - loud, torch.full_like(loud, math.log(4)))


def test_pooled_features_are_the_mean_and_the_deviation_over_the_frames():
    x = torch.randn(3, 2, 700, generator=seeded(1))
    hears = LogMel(bands=5, window=64, hop=16)
    bands = hears(x)
    assert bands.shape == (3, 2, 5, 1 + (700 - 64) // 16)
    pooled = hears.pooled(x).unflatten(1, (2, 2, 5))
    torch.testing.assert_close(pooled[:, 0], bands.mean(3))
    torch.testing.assert_close(pooled[:, 1].square(), bands.var(3, correction=0))


def test_silence_ends_at_the_reference_and_has_a_gradient():
    x = torch.zeros(1, 1, 256, requires_grad=True)
    out = LogMel(epsilon=1e-5)(x)
    torch.testing.assert_close(out, torch.full_like(out, math.log(1e-5)))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.isfinite(gradient).all()


def test_what_is_no_waveform_is_refused():
    with pytest.raises(ValueError, match="at least 256 samples, got"):
        LogMel()(torch.zeros(1, 1, 200))
    with pytest.raises(UserError, match="bands must be 1 or more"):
        LogMel(bands=0)

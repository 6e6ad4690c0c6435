"""PSNR of known errors; SSIM by hand and against torchmetrics."""

import math

import pytest
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics.image import psnr, psnr_each, ssim, ssim_each


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def noise(x: Tensor, sigma: float) -> Tensor:
    return sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))


def test_psnr_of_a_constant_error():
    x = pictures(3, 1, 8, 8)
    assert float(psnr(x, x + 0.1)) == pytest.approx(20, abs=1e-4)
    assert psnr_each(x, x + 0.01).tolist() == pytest.approx([40] * 3, abs=1e-3)
    assert float(psnr(x, x)) == math.inf


def test_psnr_of_noise_is_minus_twenty_log_sigma():
    x = pictures(400, 1, 8, 8)
    got = psnr(x, x + noise(x, 0.5))
    assert abs(got.value + 20 * math.log10(0.5)) <= 4 * got.stderr
    expected = (
        10 / math.log(10) * math.sqrt(2 / (400 * 64))
    )  # a mean of N squares of normals errs by sqrt(2 / N)
    assert got.stderr == pytest.approx(expected, rel=0.2)


def test_psnr_averages_errors_not_decibels():
    x = torch.zeros(2, 1, 4, 4)
    y = torch.stack([torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), 0.01)])
    assert float(psnr(x, y)) == pytest.approx(-10 * math.log10((0.01 + 0.0001) / 2))
    assert psnr_each(x, y).tolist() == pytest.approx([20, 40])


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 32, 32), (1, 2, 5, 40), (2, 1, 1, 1)])
def test_identical_images_have_ssim_one(shape):
    x = pictures(*shape)
    assert ssim_each(x, x).tolist() == pytest.approx([1] * shape[0], abs=1e-12)


@pytest.mark.parametrize("shape", [(5, 3, 32, 32), (3, 1, 14, 40)])
def test_torchmetrics_agrees_on_windows_inside_the_image(shape):
    """It also averages over 5 reflected pixels around; the paper does not, so its map is cropped
    here.
    """
    functional = pytest.importorskip("torchmetrics.functional.image")
    x = pictures(*shape).double()
    y = x + noise(x, 0.1)
    _, full = functional.structural_similarity_index_measure(
        x, y, data_range=1.0, reduction="none", return_full_image=True
    )
    assert torch.allclose(ssim_each(x, y), full[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=1e-12)
    assert ssim(x, y).value == pytest.approx(float(ssim_each(x, y).mean()))


def test_the_window_of_small_images():
    """8 x 8: 7 pixels, sigma 1.5 * 7 / 11; written out for the top left window of a 7 x 7 image."""
    x = pictures(1, 1, 7, 7).double()
    y = x + noise(x, 0.2)
    offset = torch.arange(-3.0, 4.0).double()
    weight = torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (1.5 * 7 / 11) ** 2))
    mean = lambda z: float((weight * z).sum() / weight.sum())
    mx, my = mean(x), mean(y)
    sx = mean((x - mx) ** 2)
    sy = mean((y - my) ** 2)
    sxy = mean((x - mx) * (y - my))
    expected = (2 * mx * my + 1e-4) * (2 * sxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (sx + sy + 9e-4))
    assert float(ssim(x, y)) == pytest.approx(expected, abs=1e-12)
    assert "7 pixels, sigma 0.955" in ssim(pictures(2, 1, 8, 8), pictures(2, 1, 8, 8)).protocol


def test_constant_images_compare_by_brightness_alone():
    x = torch.full((1, 1, 16, 16), 0.2)
    y = torch.full((1, 1, 16, 16), 0.6)
    assert float(ssim(x, y)) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), abs=1e-6)


def test_unpaired_or_flat_images_are_refused():
    with pytest.raises(ValueError, match=r"one shape.*pair every restored image"):
        psnr(torch.zeros(3, 1, 8, 8), torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\[n, c, h, w\].*use psnr"):
        ssim(torch.zeros(3, 64), torch.zeros(3, 64))
    with pytest.raises(ValueError, match="1 of 3 examples hold NaN"):
        bad = torch.zeros(3, 1, 8, 8)
        bad[1, 0, 2] = math.nan
        psnr(torch.zeros(3, 1, 8, 8), bad)


@pytest.mark.parametrize("measure", [psnr, psnr_each, ssim, ssim_each])
def test_images_in_another_range_are_refused_and_served_by_their_span(measure):
    g = torch.Generator().manual_seed(0)
    clean = torch.rand(4, 1, 8, 8, generator=g).mul(255).round() / 255
    restored = torch.rand(4, 1, 8, 8, generator=g).mul(255).round() / 255
    whole = measure(clean, restored)
    for low, high in ((0, 255), (-1, 1)):
        a, b = (low + (high - low) * x.double() for x in (clean, restored))
        with pytest.raises(UserError, match=r"`clean` needs images in \[0, 1\], but holds"):
            measure(a, b)
        found = measure(a, b, (low, high))
        each = (found, whole) if isinstance(found, torch.Tensor) else (found.value, whole.value)
        assert torch.allclose(*(torch.as_tensor(x, dtype=torch.float64) for x in each))
    a, b = ((255 * x).round().byte().numpy() for x in (clean, restored))
    with pytest.raises(UserError, match="such as \\(0, 255\\) for bytes"):
        measure(a, b)
    with pytest.raises(UserError, match="`restored` needs images"):
        measure(clean, b)
    assert measure(a, b, (0, 255)) is not None
    assert measure(clean, restored + 0.5) is not None  # what is restored may overshoot

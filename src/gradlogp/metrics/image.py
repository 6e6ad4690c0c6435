r"""How near a restored image is to the clean one.

    PSNR = 10 log10 (1 / mse)   in dB, images in [0, 1], or mapped there from `span`
    SSIM = mean over pixels of (2 m_x m_y + c_1)(2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2))

with c_1 = .01^2, c_2 = .03^2 and moments under a Gaussian window of 11 pixels, sigma 1.5, kept
inside the image. Smaller images get the largest odd window that fits, with sigma in proportion: 7
pixels and sigma .95 for 8 x 8 digits.

Reference: Wang et al. (2004), Image quality assessment, IEEE TIP 13(4), eq. 13.
"""

import math

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, finite, real
from gradlogp.core.errors import UserError
from gradlogp.metrics.base import Measure, Metric, standard_error

WINDOW, SIGMA = 11, 1.5
CHUNK = 1000  # images
Span = tuple[float, float]  # what black and white are


def psnr(clean: Numbers, restored: Numbers, span: Span = (0.0, 1.0)) -> Measure:
    """PSNR in dB of the mean squared error over all images (n, ...); inf for identical ones.

    Clean images lie in `span`: (0, 255) for bytes, (-1, 1) for waves; restored ones may overshoot.
    Not the mean of the PSNRs of single images, which is larger (Jensen) and dominated by the easy
    ones.
    """
    mse = _mse(*_images(clean, restored, span))
    error, mean = standard_error(mse), float(mse.mean())
    stderr = 10 / math.log(10) * error / mean if error is not None and mean > 0 else None
    return PSNR.measure(
        float(_decibel(mse.mean())),
        stderr,
        len(mse),
        f"dB, data range {span[1] - span[0]:g}, from the mean squared error of all images, standard error over images",
    )


def psnr_each(clean: Numbers, restored: Numbers, span: Span = (0.0, 1.0)) -> Tensor:
    """PSNR in dB of every image alone, [n]."""
    return _decibel(_mse(*_images(clean, restored, span)))


def ssim(clean: Numbers, restored: Numbers, span: Span = (0.0, 1.0)) -> Measure:
    """Mean SSIM of images (n, c, h, w), channels averaged; 1 for identical ones."""
    each = ssim_each(clean, restored, span)
    window, sigma = _window(*real(clean, "clean").shape[2:])
    return SSIM.measure(
        float(each.mean()),
        standard_error(each),
        len(each),
        f"data range {span[1] - span[0]:g}, Gaussian window of {window} pixels, sigma {sigma:.3g}, standard error over images",
    )


def ssim_each(clean: Numbers, restored: Numbers, span: Span = (0.0, 1.0)) -> Tensor:
    """SSIM of every image alone, [n]."""
    clean, restored = _images(clean, restored, span)
    if clean.ndim != 4:
        raise ValueError(
            f"`clean` needs images of shape [n, c, h, w], but has {list(clean.shape)}; "
            "for voxels or audio use psnr."
        )
    return torch.cat(
        [_ssim(x, y) for x, y in zip(clean.split(CHUNK), restored.split(CHUNK), strict=True)]
    )


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    window, sigma = _window(*x.shape[2:])
    down, across = (_filter(size, window, sigma).to(x.device) for size in x.shape[2:])
    mx, my, xx, yy, xy = (down @ z @ across.T for z in (x, y, x * x, y * y, x * y))
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    return (above / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2))).mean((1, 2, 3))


def _window(height: int, width: int) -> tuple[int, float]:
    """Pixels and sigma: the paper's, or the largest odd window that fits, scaled."""
    fits = (min(height, width) - 1) // 2 * 2 + 1
    size = min(WINDOW, fits)
    return size, SIGMA * size / WINDOW


def _filter(size: int, window: int, sigma: float) -> Tensor:
    """A 1-D Gaussian filter without padding as a matrix [size - window + 1, size]."""
    offset = (
        torch.arange(size, dtype=torch.float64)
        - torch.arange(size - window + 1)[:, None]
        - window // 2
    )
    weight = torch.exp(-(offset**2) / (2 * sigma**2)) * (offset.abs() <= window // 2)
    return weight / weight.sum(1, keepdim=True)


def _mse(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().flatten(1).mean(1)


def _decibel(mse: Tensor) -> Tensor:
    return -10 * mse.log10()


def _images(clean: Numbers, restored: Numbers, span: Span) -> tuple[Tensor, Tensor]:
    """Both in float64, mapped from `span` to [0, 1]."""
    clean, restored = real(clean, "clean"), real(restored, "restored")
    if clean.shape != restored.shape or clean.ndim < 2:
        raise ValueError(
            f"`clean` and `restored` need one shape [n, ...], but have {list(clean.shape)} and "
            f"{list(restored.shape)}; pair every restored image with its clean one."
        )
    for name, x in (("clean", clean), ("restored", restored)):
        if name == "clean" or not x.is_floating_point():
            _check_span(x, name, span)
    low, high = span
    x, y = (
        (finite(z, name) - low) / (high - low)
        for z, name in ((clean, "clean"), (restored, "restored"))
    )
    return x, y


def _check_span(x: Tensor, name: str, span: Span) -> None:
    low, high = span
    least, most = (float(v) for v in finite(x, name).aminmax())
    slack = 1e-6 * (high - low)
    if least < low - slack or most > high + slack:
        raise UserError(
            f"`{name}` needs images in [{low:g}, {high:g}], but holds {least:g} to {most:g}; pass"
            " span=(black, white), such as (0, 255) for bytes and (-1, 1) for waves."
        )


PSNR = Metric(
    key="psnr",
    call=psnr,
    takes=("images", "images"),
    says="peak signal-to-noise ratio of restored images, dB",
    name="restored, dB",
    meaning="Peak signal-to-noise ratio: how near the restored picture is to the clean one. 3 dB"
    " more is half the error.",
    better="higher",
    unit="dB",
)
SSIM = Metric(
    key="ssim",
    call=ssim,
    takes=("images", "images"),
    says="structural similarity of restored images, 1 if identical",
    name="structural similarity",
    meaning="How near the restored picture is to the clean one in local contrast and shape; 1 is"
    " identical.",
    better="higher",
)

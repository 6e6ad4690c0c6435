r"""How near a restored image is to the clean one.

    PSNR = 10 log10 (1 / mse)   in dB, images in [0, 1]
    SSIM = mean over pixels of (2 m_x m_y + c_1)(2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2))

with c_1 = .01^2, c_2 = .03^2 and moments under a Gaussian window of 11 pixels, sigma 1.5, kept
inside the image. Smaller images get the largest odd window that fits, with sigma in proportion: 7
pixels and sigma .95 for 8 x 8 digits.

Reference: Wang et al. (2004), Image quality assessment, IEEE TIP 13(4), eq. 13.
"""

import math

import torch
from torch import Tensor

from gradlogp.metrics.base import Measure, finite, standard_error

WINDOW, SIGMA = 11, 1.5
CHUNK = 1000  # images


def psnr(clean: Tensor, restored: Tensor) -> Measure:
    """PSNR in dB of the mean squared error over all images (n, ...); inf for identical ones.

    Not the mean of the PSNRs of single images, which is larger (Jensen) and dominated by the easy
    ones.
    """
    mse = _mse(*_images(clean, restored))
    error, mean = standard_error(mse), float(mse.mean())
    spread = 10 / math.log(10) * error / mean if error is not None and mean > 0 else None
    return Measure(
        "psnr",
        float(_decibel(mse.mean())),
        spread,
        len(mse),
        "higher",
        "dB, data range 1, from the mean squared error of all images, standard error over images",
    )


def psnr_each(clean: Tensor, restored: Tensor) -> Tensor:
    """PSNR in dB of every image alone, [n]."""
    return _decibel(_mse(*_images(clean, restored)))


def ssim(clean: Tensor, restored: Tensor) -> Measure:
    """Mean SSIM of images (n, c, h, w), channels averaged; 1 for identical ones."""
    each = ssim_each(clean, restored)
    window, sigma = _window(*clean.shape[2:])
    return Measure(
        "ssim",
        float(each.mean()),
        standard_error(each),
        len(each),
        "higher",
        "data range 1, Gaussian "
        f"window of {window} pixels, sigma {sigma:.3g}, standard error over images",
    )


def ssim_each(clean: Tensor, restored: Tensor) -> Tensor:
    """SSIM of every image alone, [n]."""
    clean, restored = _images(clean, restored)
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


def _images(clean: Tensor, restored: Tensor) -> tuple[Tensor, Tensor]:
    if clean.shape != restored.shape or clean.ndim < 2:
        raise ValueError(
            f"`clean` and `restored` need one shape [n, ...], but have {list(clean.shape)} and "
            f"{list(restored.shape)}; pair every restored image with its clean one."
        )
    return finite(clean, "clean"), finite(restored, "restored")

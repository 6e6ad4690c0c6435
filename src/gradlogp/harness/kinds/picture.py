"""Pictures: [0, 1] in files, [-1, 1] in models; grids of PNG; PSNR and SSIM."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from gradlogp.data import save_grid, save_picture
from gradlogp.data.film import save_film
from gradlogp.data.picture import tiled
from gradlogp.harness.kinds.base import Bounded
from gradlogp.metrics import Measure, image
from gradlogp.models import ConvClassifier, ResidualClassifier

REST = 1600  # milliseconds that the last frame of a film stays
NATURAL = 32  # pixels a side from which pictures in colour take a network for natural ones


def natural(shape: Sequence[int]) -> bool:
    """Pictures in colour and large enough to be photographs."""
    return shape[0] == 3 and min(shape[1:]) >= NATURAL


@dataclass(frozen=True)
class Picture(Bounded):
    """Pictures: [0, 1] in files, [-1, 1] in models."""

    noun: ClassVar[str] = "picture"
    plural: ClassVar[str] = "pictures"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".npz")
    single: ClassVar[str] = ".png"

    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        return (
            ResidualClassifier(shape, classes) if natural(shape) else ConvClassifier(shape, classes)
        )

    def restoration(self, clean: Tensor, restored: Tensor) -> list[Measure]:
        return [image.psnr(clean, restored), image.ssim(clean, restored)]

    def preview(self, path: Path, x: Tensor, columns: int) -> None:
        save_grid(path, x, columns=columns)

    def write_one(self, path: Path, x: Tensor) -> None:
        """Pixel for pixel."""
        save_picture(path, x)

    def film(self, path: Path, frames: Tensor) -> None:
        """A square of pictures, pixel for pixel: whoever shows it magnifies it."""
        columns = math.ceil(frames.shape[1] ** 0.5)
        save_film(path, [tiled(x, columns, 1, gap=1) for x in frames], rest=REST)

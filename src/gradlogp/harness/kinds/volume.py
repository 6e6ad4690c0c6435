"""Volumes: occupancy in [0, 1] on a grid, [-1, 1] in models; shown by their depth from one side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from gradlogp.data import save_grid
from gradlogp.harness.kinds.base import Bounded
from gradlogp.metrics import Measure, image
from gradlogp.models import ConvClassifier

AMBIENT = 0.25  # brightness of the farthest voxel that is still there


@final
@dataclass(frozen=True)
class Volume(Bounded):
    """Occupancy on a grid: [0, 1] in files, [-1, 1] in models."""

    noun: ClassVar[str] = "volume"
    plural: ClassVar[str] = "volumes"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".npz")

    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        return ConvClassifier(shape, classes)

    def restoration(self, clean: Tensor, restored: Tensor) -> list[Measure]:
        return [image.psnr(clean, restored)]

    def preview(self, path: Path, x: Tensor, columns: int) -> None:
        save_grid(path, depth(x), columns=columns)

    def write(self, path: Path, x: Tensor, labels: Tensor | None = None) -> None:
        if path.suffix.lower() == ".png":
            self.preview(path, x, 8)
        else:
            super().write(path, x, labels)


def depth(x: Tensor) -> Tensor:
    """x [n, 1, D, H, W] in [0, 1] -> pictures [n, 1, H, W]: what is seen along the first axis, near
    voxels bright.

    Alpha compositing with emission: a ray meets voxel d with the share prod_(e < d) (1 - x_e) of
    its light left.
    """
    left = torch.cumprod(1 - x.clamp(0, 1), 2).roll(1, 2)
    left[:, :, 0] = 1
    near = torch.linspace(1, AMBIENT, x.shape[2], dtype=x.dtype, device=x.device)
    return (left * x * near[:, None, None]).sum(2)

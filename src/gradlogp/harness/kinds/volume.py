"""Volumes: occupancy in [0, 1] on a grid, [-1, 1] in models; shown as cubes, and turning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from torch import Tensor, nn

from gradlogp.core.errors import UserError
from gradlogp.data import save_grid
from gradlogp.data.views import shaded, turntable
from gradlogp.data.voxels import write_binvox
from gradlogp.harness.kinds.base import Bounded
from gradlogp.metrics import Measure, image, volumes
from gradlogp.models import ConvClassifier

TURNING = 8  # volumes of a turntable


@final
@dataclass(frozen=True)
class Volume(Bounded):
    """Occupancy on a grid: [0, 1] in files, [-1, 1] in models."""

    noun: ClassVar[str] = "volume"
    plural: ClassVar[str] = "volumes"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".npz", ".gif", ".binvox")
    columns: ClassVar[int] = 8
    single: ClassVar[str] = ".binvox"

    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        return ConvClassifier(shape, classes)

    def restoration(self, clean: Tensor, restored: Tensor) -> list[Measure]:
        return [image.psnr(clean, restored)]

    def compared(self, real: Tensor, fake: Tensor) -> list[Measure]:
        """COV, MMD and 1-NNA by the overlap of what is more than half full."""
        return volumes.volume_sets((real > 0.5).float(), (fake > 0.5).float())

    def preview(self, path: Path, x: Tensor, columns: int) -> None:
        save_grid(path, shaded(x), columns=columns, scale=1)

    def enliven(self, path: Path, x: Tensor) -> None:
        """The first of them on a turntable, as a GIF."""
        turntable(path.with_suffix(".gif"), x[:TURNING], self.columns)

    def writers(self) -> Mapping[str, Callable[[Path, Tensor], None]]:
        return {**super().writers(), ".gif": turntable, ".binvox": binvox}


def binvox(path: Path, x: Tensor) -> None:
    """The first volume as the file `path`, each further one as a numbered file beside it, as
    chair-1.binvox beside chair.binvox: the format holds one.
    """
    if x.shape[1] != 1:
        raise UserError(
            f"{path}: binvox holds one bit a cell, got {list(x.shape[1:])}; write .npz."
        )
    for i, grid in enumerate(x[:, 0].numpy()):
        write_binvox(path.with_stem(f"{path.stem}-{i}") if i else path, grid)

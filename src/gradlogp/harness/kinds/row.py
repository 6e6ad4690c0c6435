"""Rows of a table: any units in files; mean 0 and standard deviation 1 of the training rows in
models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from gradlogp.core.random import Randomness, normal_
from gradlogp.data import Columns, save_grid, write_table
from gradlogp.data.columns import numeric_columns
from gradlogp.harness.kinds.base import Kind
from gradlogp.metrics import Measure
from gradlogp.metrics.base import standard_error
from gradlogp.models import MLPClassifier

CELL = 8  # pixels of one entry


@final
@dataclass(frozen=True)
class Row(Kind):
    """Rows of a table: units of their own in files, standardised in models.

    `center` and `scale` are the entries' means and standard deviations in the training part, and
    `table_columns` what they stand for in the file.
    """

    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    table_columns: Columns | None = None

    noun: ClassVar[str] = "row"
    noise_unit: ClassVar[str] = "standard deviations of each column"
    plural: ClassVar[str] = "rows"
    suffixes: ClassVar[tuple[str, ...]] = (".npz", ".png", ".csv", ".parquet")
    columns: ClassVar[int] = 1

    def _columns(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_tensor(self.center), x.new_tensor(self.scale)

    def to_model(self, x: Tensor) -> Tensor:
        center, scale = self._columns(x)
        return (x - center) / scale

    def from_model(self, x: Tensor) -> Tensor:
        center, scale = self._columns(x)
        return x * scale + center

    @property
    def gain(self) -> float:
        """Noise is given in standard deviations of the columns, in files as in models."""
        return 1.0

    def to_unit(self, x: Tensor) -> Tensor:
        return self.to_model(x)

    def from_unit(self, x: Tensor) -> Tensor:
        return self.from_model(x)

    def unit(self, x: Tensor) -> Tensor:
        return self._columns(x)[1]

    def noise(self, x: Tensor, generator: Randomness) -> Tensor:
        """N(0, 1)"""
        return normal_(x, generator)

    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        return MLPClassifier(shape, classes)

    def restoration(self, clean: Tensor, restored: Tensor) -> list[Measure]:
        _, scale = self._columns(clean)
        each = ((clean - restored) / scale).double().square().mean(1).sqrt()
        protocol = "root mean square error of a row in standard deviations of the columns"
        value = float(each.mean())
        return [Measure("nrmse", value, standard_error(each), len(each), "lower", protocol)]

    def preview(self, path: Path, x: Tensor, columns: int) -> None:
        """A strip of cells for each row, black at -3 standard deviations and white at 3."""
        shade = (self.to_model(x) / 6 + 0.5).clamp(0, 1)
        cells = shade[:, None, None, :].repeat_interleave(CELL, 3).expand(-1, 1, CELL, -1)
        save_grid(path, cells, columns=columns, scale=1)

    def writers(self) -> Mapping[str, Callable[[Path, Tensor], None]]:
        return {**super().writers(), ".csv": self.table, ".parquet": self.table}

    def table(self, path: Path, x: Tensor) -> None:
        """A table with the columns that the training rows came with, x1 .. xd where they are
        unknown.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, x, self.table_columns or numeric_columns(x))


def standardisation(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and standard deviations of the columns of x [n, d]; 1 for a column that is constant."""
    x = x.double()
    std = x.std(0) if len(x) > 1 else torch.ones(x.shape[1:], dtype=torch.float64)
    scale = torch.where(std > 1e-6 * x.abs().amax(0).clamp(min=1e-30), std, 1.0)
    return tuple(x.mean(0).tolist()), tuple(scale.tolist())

"""A kind of data: what a whole comparison must know of the examples, beyond their shape.

    files  ->  examples in the data's own range  ->  model coordinates  ->  and back, to files

Pictures are [0, 1] in files and [-1, 1] in models; rows of a table have units of their own in files
and mean 0, standard deviation 1 in models. Everything in the harness asks the kind, and knows no
picture; a new kind is one file here and one line in `KINDS`.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from gradlogp.core.errors import UserError
from gradlogp.core.files import replacing
from gradlogp.core.random import Randomness, uniform_
from gradlogp.metrics import Measure


@dataclass(frozen=True)
class Kind(abc.ABC):
    """How examples of one kind are turned into model coordinates and back, shown, written and
    measured.

    `noun` is one example in words; `bounds` is the interval of every entry in model coordinates,
    None where there is none; `suffixes` are the files that `write` can make of samples, and
    `columns` the examples in a row of a picture among them; `smallest` is a shape that shows the
    kind, of which tests make examples; `single` is the suffix of a file that holds one example, ""
    where examples go together into one.
    """

    noun: ClassVar[str] = "example"
    plural: ClassVar[str] = "examples"
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)
    noise_unit: ClassVar[str] = "on [0, 1]"
    bounds: ClassVar[tuple[float, float] | None] = None
    columns: ClassVar[int] = 10
    smallest: ClassVar[tuple[int, ...]] = (1, 8, 8)
    single: ClassVar[str] = ""

    @abc.abstractmethod
    def to_model(self, x: Tensor) -> Tensor:
        """Examples [n, *shape] in their own range -> model coordinates."""

    @abc.abstractmethod
    def from_model(self, x: Tensor) -> Tensor:
        """Model coordinates -> the data's own range, which is never left."""

    @property
    @abc.abstractmethod
    def gain(self) -> float:
        """The standard deviation in model coordinates of noise that has 1 in the data's own range."""

    @property
    def span(self) -> float:
        """About how far apart two entries are at most, in model coordinates."""
        return 6.0 if self.bounds is None else self.bounds[1] - self.bounds[0]

    @abc.abstractmethod
    def noise(self, x: Tensor, generator: Randomness) -> Tensor:
        """Fill x [n, *shape] in place with examples of pure noise, in model coordinates."""

    def unit(self, x: Tensor) -> Tensor | float:
        """What noise of standard deviation 1 means for the entries of x, in the data's own range."""
        return 1.0

    def to_unit(self, x: Tensor) -> Tensor:
        """Examples in the units in which noise of every entry is the same: by default their own."""
        return x

    def from_unit(self, x: Tensor) -> Tensor:
        """And back, into the data's own range."""
        return self.from_model(self.to_model(x))

    def compact(self, x: Tensor) -> np.ndarray:
        """Samples as they are kept in a run folder."""
        return x.float().numpy()

    def expanded(self, kept: Tensor) -> Tensor:
        """Kept samples in the data's own range again."""
        return kept

    def alike(self, x: Tensor) -> Tensor:
        """What two examples are near to each other in, [n, d]: by default their entries."""
        return x.flatten(1)

    @abc.abstractmethod
    def network(self, shape: Sequence[int], classes: int) -> nn.Module:
        """An untrained evaluation classifier, x [n, *shape] -> logits, with `features`."""

    @abc.abstractmethod
    def restoration(self, clean: Tensor, restored: Tensor) -> list[Measure]:
        """How good restored examples are, both [n, *shape] in the data's own range."""

    def compared(self, real: Tensor, fake: Tensor) -> list[Measure]:
        """Metrics of sets of examples that this kind alone has, by default none: both [n, *shape]
        in the data's own range.
        """
        return []

    @abc.abstractmethod
    def preview(self, path: Path, x: Tensor, columns: int) -> None:
        """One PNG that shows examples x [n, *shape], in the data's own range, row by row."""

    def enliven(self, path: Path, x: Tensor) -> None:  # noqa: B027
        """Beside the picture `path` of examples x, what shows them better, such as final.wav beside
        final.png; by default nothing.
        """

    def film(self, path: Path, frames: Tensor) -> None:  # noqa: B027
        """Chains in motion, frames [steps, n, *shape] in the data's own range, as the GIF `path`; by
        default nothing.
        """

    def write(self, path: Path, x: Tensor, labels: Tensor | None = None) -> None:
        """Samples x [n, *shape] in the data's own range as the file `path`, whole or not at all, in
        the format that its suffix names: by default arrays.
        """
        suffix = path.suffix.lower()
        if suffix not in self.suffixes:
            known = " or ".join(self.suffixes)
            raise UserError(f"{path}: {self.plural} are written as {known}, got {path.suffix!r}.")
        self.writers().get(suffix, partial(self._arrays, labels=labels))(path, x)

    def write_each(
        self, folder: Path, x: Tensor, labels: Tensor | None = None, first: int = 0
    ) -> None:
        """Samples x [n, *shape], a file each, called by their numbers from `first` and, where there
        are labels, by these: 0012.png, 0012-class3.png.
        """
        for i, example in enumerate(x):
            told = "" if labels is None else f"-class{int(labels[i])}"
            self.write_one(folder / f"{first + i:04d}{told}{self.single}", example)

    def write_one(self, path: Path, x: Tensor) -> None:
        """One example x [*shape] in the data's own range as the file `path`."""
        self.write(path, x[None])

    def writers(self) -> Mapping[str, Callable[[Path, Tensor], None]]:
        """How samples are written under suffixes other than .npz; by default a preview as .png."""
        return {".png": partial(self.preview, columns=self.columns)}

    def _arrays(self, path: Path, x: Tensor, labels: Tensor | None) -> None:
        arrays = {"samples": x.float().numpy()}
        if labels is not None:
            arrays["labels"] = labels.numpy()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bounded(Kind):
    """Entries in [0, 1], which models see in [-1, 1]."""

    bounds: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)

    def to_model(self, x: Tensor) -> Tensor:
        return 2 * x - 1

    def from_model(self, x: Tensor) -> Tensor:
        return ((x + 1) / 2).clamp(0, 1)

    def from_unit(self, x: Tensor) -> Tensor:
        return x.clamp(0, 1)

    @property
    def gain(self) -> float:
        return 2.0

    def noise(self, x: Tensor, generator: Randomness) -> Tensor:
        """U(-1, 1)"""
        return fill_uniform(x, generator)

    def compact(self, x: Tensor) -> np.ndarray:
        """As bytes."""
        return (x * 255).round().byte().numpy()

    def expanded(self, kept: Tensor) -> Tensor:
        return kept.float() / 255


def fill_uniform(x: Tensor, generator: Randomness) -> Tensor:
    """U(-1, 1), in place."""
    return uniform_(x, generator).mul_(2).sub_(1)

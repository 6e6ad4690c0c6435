"""Files of one's own as examples of one form: what the first of them decide, the others follow.

    rows of tables  ->  the first table's columns      |  x (n, d), a group for each column
                        missing cells filled (impute.filled)
    pictures        ->  one size, grey or RGB          |  x (n, c, h, w) in [0, 1], squares
    recordings      ->  one length and rate, log-mel   |  x (n, 2 bands), a group for each band

A file that cannot be read is one line in `wrong`, and the others go on.
"""

import abc
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.baselines.impute import Filled, filled
from gradlogp.core.errors import UserError
from gradlogp.core.spectrogram import LogMel, hertz, mel
from gradlogp.data import PICTURES, RECORDINGS, Columns, Dataset, fit, read_picture
from gradlogp.data.files import files_below
from gradlogp.data.picture import refuse_sheet
from gradlogp.data.table import missing_values, read_rows, rows_like
from gradlogp.data.waves import read_wave, stacked
from gradlogp.harness.detection import patches
from gradlogp.harness.recipe import DataSpec

TABLES = {".csv", ".tsv", ".parquet", ".pq"}
LARGEST = 64  # pixels a side that are kept where all pictures have them
FITTED = 32  # pixels a side otherwise
WINDOW = 256  # samples of a spectrogram's window, and the least of a recording


@dataclass(frozen=True)
class Items:
    """Examples x [n, *shape]; the file of each, its row there (from 1; 0 where a file is one
    example), and a line for each file that cannot be read.
    """

    x: Tensor
    files: tuple[Path, ...]
    rows: tuple[int, ...]
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def names(self) -> list[str]:
        pairs = zip(self.files, self.rows, strict=True)
        return [f"{file.name}, row {row}" if row else file.name for file, row in pairs]


class Form(abc.ABC):
    """What files are read as. `noun` is one example in words; `one_unit` says that its entries are
    measured in one, as pixels are and columns are not.
    """

    noun: str = "examples"
    one_unit: bool = False

    @abc.abstractmethod
    def read(self, paths: Sequence[Path]) -> Items:
        """The examples of files and of folders of files."""

    @abc.abstractmethod
    def groups(self) -> tuple[Tensor, list[str]]:
        """The parts of an example that can speak for a score, bool [G, *shape], by name."""


@final
@dataclass(frozen=True)
class TableForm(Form):
    """The rows of `columns`; their missing cells are filled by `fill`, where there is one, and as
    the columns say otherwise.
    """

    columns: Columns
    fill: Filled | None = None
    noun = "rows"

    def read(self, paths: Sequence[Path]) -> Items:
        parts, wrong = _each(paths, self._rows)
        x = torch.cat([torch.empty(0, self.columns.width).double(), *(x for _, (x, _) in parts)])
        notes = [f"{path.name}: {note}" for path, (_, said) in parts for note in said]
        files, rows = _numbered([(path, len(x)) for path, (x, _) in parts])
        return Items(x, files, rows, wrong, tuple(notes))

    def _rows(self, path: Path) -> tuple[Tensor, tuple[str, ...]]:
        if self.fill is None:
            return rows_like(path, self.columns)
        marked = self.columns.marked
        x, notes = rows_like(path, marked)
        holed = marked.holed(x)
        return self.fill(holed), (*notes, *_holes(self.columns, holed))

    def groups(self) -> tuple[Tensor, list[str]]:
        masks, names = [], []
        for column, span in zip(self.columns.members, self.columns.spans, strict=True):
            if column.width:
                mask = torch.zeros(self.columns.width, dtype=torch.bool)
                mask[span] = True
                masks.append(mask)
                names.append(column.name)
        return torch.stack(masks), names


@final
@dataclass(frozen=True)
class PictureForm(Form):
    shape: tuple[int, int, int]
    noun = "pictures"
    one_unit = True

    def read(self, paths: Sequence[Path]) -> Items:
        files, lost = _listed(paths, PICTURES)
        parts, wrong = _each(files, self._fitted)
        x = torch.stack([x for _, (x, _) in parts]) if parts else torch.empty(0, *self.shape)
        kept = tuple(path for path, _ in parts)
        notes = (fitting([how for _, (_, how) in parts]),) if parts else ()
        return Items(x, kept, (0,) * len(kept), (*lost, *wrong), notes)

    def _fitted(self, path: Path) -> tuple[Tensor, str]:
        picture = read_picture(path)
        refuse_sheet(path, picture, self.shape)
        return fit(picture, self.shape)

    def groups(self) -> tuple[Tensor, list[str]]:
        return patches(self.shape)


@final
@dataclass(frozen=True)
class SoundForm(Form):
    length: int
    rate: int
    noun = "recordings"

    @property
    def bands(self) -> LogMel:
        return LogMel(self.rate, window=WINDOW)

    def read(self, paths: Sequence[Path]) -> Items:
        files, lost = _listed(paths, RECORDINGS)
        parts, wrong = _each(files, lambda p: stacked([read_wave(p)], self.length, self.rate)[0])
        width = 2 * self.bands.bands
        x = [torch.empty(0, width), *(self.bands.pooled(x) for _, x in parts)]
        kept = tuple(path for path, _ in parts)
        return Items(torch.cat(x), kept, (0,) * len(kept), (*lost, *wrong))

    def groups(self) -> tuple[Tensor, list[str]]:
        """The mean and the deviation of a band together."""
        count = self.bands.bands
        tops = hertz(torch.linspace(0, mel(self.rate / 2), count + 2, dtype=torch.float64))
        names = [f"{top:.0f} Hz" for top in tops[1:-1].tolist()]
        return torch.eye(count, dtype=torch.bool).repeat(1, 2), names


def learned(path: Path, apart: Collection[str] = (), size: int | None = None) -> tuple[Form, Items]:
    """The form that the file or folder `path` decides, and its own examples; `apart` are columns
    that are left aside, `size` is what pictures are fitted to.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"{path} does not exist; pass a table, a folder of files or a run folder.")
    if path.is_file():
        return _table(path, apart)
    pictures, recordings = (files_below(path, known) for known in (PICTURES, RECORDINGS))
    if not pictures and not recordings:
        raise UserError(
            f"{path}: expected a folder of pictures, or of WAV or FLAC files, found neither."
        )
    form = _sounds(recordings) if len(recordings) > len(pictures) else _pictures(pictures, size)
    return form, form.read([path])


def fitting(hows: Sequence[str]) -> str:
    """How one picture was fitted, or the first of many."""
    return hows[0] if len(hows) == 1 else f"{len(hows):,} pictures, the first {hows[0]}"


def form_of(spec: DataSpec, data: Dataset) -> Form:
    """The form of the data that a run was trained on."""
    if spec.kind == "picture":
        channels, height, width = spec.shape
        return PictureForm((channels, height, width))
    if spec.kind == "row" and data.columns is not None:
        return TableForm(data.columns)
    raise UserError(
        f"files of one's own are read for runs of pictures and of tables, and this one knows"
        f" {spec.coordinates.plural}."
    )


def _table(path: Path, apart: Collection[str]) -> tuple[Form, Items]:
    if Path(path.name.lower().removesuffix(".gz")).suffix not in TABLES:
        raise UserError(
            f"{path}: expected a table ({', '.join(sorted(TABLES))}), a folder of pictures or"
            " recordings, or a run folder."
        )
    columns, x, notes = read_rows(path, apart)
    files, rows = _numbered([(path, len(x))])
    fill = filled(x)
    return TableForm(columns, fill), Items(fill(x), files, rows, (), (*notes, *_holes(columns, x)))


def _holes(columns: Columns, x: Tensor) -> list[str]:
    """How many cells of each column are missing in x, a sentence each."""
    lost = x.isnan()
    counts = [int(lost[:, span].any(1).sum()) for span in columns.spans]
    return [
        f"{missing_values(n, column.name)} filled in from the other columns."
        for column, n in zip(columns.members, counts, strict=True)
        if n
    ]


def _pictures(files: Sequence[Path], size: int | None) -> PictureForm:
    """Their own size where they share one that is small; RGB where one of them is."""
    found, _ = _each(files, read_picture)
    sizes = {picture.size for _, picture in found}
    width, height = next(iter(sizes), (FITTED, FITTED))
    if size or len(sizes) != 1 or max(width, height) > LARGEST:
        width = height = size or FITTED
    colour = any(_coloured(picture) for _, picture in found)
    return PictureForm((3 if colour else 1, height, width))


def _coloured(picture: Any) -> bool:
    x, _ = fit(picture, (3, FITTED, FITTED))
    return bool((x != x[:1]).any())


def _sounds(files: Sequence[Path]) -> SoundForm:
    clips, _ = _each(files, read_wave)
    if not clips:
        raise UserError(f"{files[0].parent}: none of its recordings can be read.")
    x, rate, _ = stacked([clip for _, clip in clips])
    return SoundForm(max(WINDOW, x.shape[-1]), rate)


def _each(paths: Sequence[Path], read: Callable[[Path], Any]) -> tuple[list[Any], tuple[str, ...]]:
    """(path, what was read) of those that can be, and a line for each that cannot."""
    found, wrong = [], []
    for path in paths:
        try:
            found.append((path, read(path)))
        except UserError as error:
            wrong.append(str(error))
    return found, tuple(wrong)


def _listed(paths: Sequence[Path], endings: Collection[str]) -> tuple[list[Path], tuple[str, ...]]:
    """The files of folders and the files themselves, whatever they are called."""
    files, wrong = [], []
    for path in paths:
        below = files_below(path, endings) if path.is_dir() else [path]
        files += below
        wrong += [] if below else [f"{path}: no file with an ending that is read here."]
    return files, tuple(wrong)


def _numbered(counts: Sequence[tuple[Path, int]]) -> tuple[tuple[Path, ...], tuple[int, ...]]:
    files = tuple(path for path, n in counts for _ in range(n))
    return files, tuple(row for _, n in counts for row in range(1, n + 1))

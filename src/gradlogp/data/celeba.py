"""CelebA in its publisher's layout: 202,599 faces of celebrities, 178x218, with forty attributes.

    DIR/celeba/img_align_celeba/*.jpg   list_attr_celeba.txt   list_eval_partition.txt

Each picture is cropped to its central 140x140 and resized (antialiased) to 64x64 or 32x32. The
pictures are decoded once into one file in the cache, which is mapped, not read: only the pages that
are asked for take memory. An attribute makes two classes; the splits are as published.

Reference: Liu, Luo, Wang and Tang (2015), Deep Learning Face Attributes in the Wild, arXiv
1411.7766.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split
from gradlogp.data.files import (
    cache_folder,
    data_folder,
    joined,
    replacing,
    require_file,
    sha256,
    split_option,
)
from gradlogp.data.picture import read_picture

FOLDER = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
CROP = 140
SIZES = (64, 32)


def celeba(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """202,599 faces, 64x64 or @32; celeba:Male@32 takes another attribute than Smiling for classes.

    Raises UserError for a list or picture that is missing or not what it should be.
    """
    attribute, option = split_option(which, r"\d+")
    attribute, size = attribute or "Smiling", int(option or SIZES[0])
    if size not in SIZES:
        raise UserError(f"celeba: expected a size of 64 or 32, as in celeba@32, got {size}.")
    folder = _find(data_folder(root) or cache_folder())
    has = _attribute(folder / ATTRIBUTES, attribute)
    listed = _partition(folder / PARTITION)
    if lost := sorted(listed.keys() - has.keys()):
        raise UserError(f"{folder / ATTRIBUTES}: {lost[0]} of {PARTITION} is not listed in it.")
    counts = [list(listed.values()).count(part) for part in range(3)]
    if not all(counts):
        raise UserError(f"{folder / PARTITION}: expected pictures in splits 0, 1, 2, got {counts}.")
    # by split, then by name: each split is one stretch of the mapped file
    names = sorted(listed, key=lambda name: (listed[name], name))
    x, checksum = _mapped(folder / FOLDER, names, size, progress)
    labels = torch.tensor([has[name] for name in names])
    ends = np.cumsum(counts).tolist()
    spans = zip([0, *ends[:-1]], ends, strict=True)
    train, validation, test = (Split(x[a:b], labels[a:b]) for a, b in spans)
    word = attribute.replace("_", " ").lower()
    checksums = {name: sha256(folder / name) for name in (ATTRIBUTES, PARTITION)}
    return Dataset(
        joined("celeba", attribute, str(size)),
        train,
        validation,
        test,
        (f"not {word}", word),
        {**checksums, f"{FOLDER}@{size}": checksum},
        notes=(f"celeba: the central {CROP}x{CROP}, resized to {size}x{size}.",),
    )


def _find(root: Path) -> Path:
    places = (root / "celeba", root / "CelebA", root)
    for place in places:
        if (place / FOLDER).is_dir():
            if lost := [n for n in (ATTRIBUTES, PARTITION) if not (place / n).is_file()]:
                raise UserError(f"celeba: {' and '.join(lost)} not found in {place}.")
            return place
    raise UserError(
        f"celeba: {FOLDER}/ not found in {places[0]} or {root}; put the published folder and the"
        f" lists {ATTRIBUTES} and {PARTITION} there (mmlab.ie.cuhk.edu.hk/projects/CelebA.html,"
        " which asks for consent, so it is not downloaded)."
    )


def _attribute(path: Path, attribute: str) -> dict[str, int]:
    """File name -> 0 or 1. The list: a count, the attributes' names, then a line per file of 1 and
    -1.
    """
    lines = _lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    if attribute not in names:
        raise UserError(
            f"celeba: no attribute {attribute!r} in {path}; there are {', '.join(names) or 'none'}."
        )
    column = names.index(attribute) + 1
    found = {}
    for number, line in enumerate(lines[2:], 3):
        cells = line.split()
        if len(cells) != len(names) + 1 or cells[column] not in ("1", "-1"):
            raise UserError(
                f"{path}, line {number}: expected a file and {len(names)} times 1 or -1; fetch it"
                " anew."
            )
        found[cells[0]] = int(cells[column] == "1")
    return found


def _partition(path: Path) -> dict[str, int]:
    """File name -> 0 train, 1 validation, 2 test."""
    found = {}
    for number, line in enumerate(_lines(path), 1):
        name, _, part = line.strip().partition(" ")
        if part.strip() not in ("0", "1", "2") or Path(name).name != name:
            raise UserError(
                f"{path}, line {number}: expected a file and 0, 1 or 2, got {line[:60]!r}; fetch it"
                " anew."
            )
        found[name] = int(part)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); fetch it anew.") from error


@dataclass(frozen=True)
class Store:
    """One file of n pictures of `size`, a byte a value, and behind them the sha256 of it all."""

    path: Path
    n: int
    size: int

    @property
    def bytes(self) -> int:
        return self.n * 3 * self.size**2

    def whole(self) -> bool:
        return self.path.is_file() and self.path.stat().st_size == self.bytes + 32

    def read(self) -> tuple[Tensor, str]:
        """uint8 (n, 3, size, size), mapped, and the sha256."""
        with self.path.open("rb") as file:
            file.seek(self.bytes)
            checksum = file.read(32).hex()
        x = torch.from_file(str(self.path), shared=False, size=self.bytes, dtype=torch.uint8)
        return x.view(self.n, 3, self.size, self.size), checksum


def _mapped(
    folder: Path, names: list[str], size: int, progress: Progress | None
) -> tuple[Tensor, str]:
    """The pictures of `names`, decoded unless that was done for these very files before."""
    key = hashlib.sha256(os.fsencode(folder.resolve()))
    for name in names:
        require_file(folder / name, "the picture ")
        stat = (folder / name).stat()
        key.update(os.fsencode(f"{name} {stat.st_size} {stat.st_mtime_ns}\n"))
    store = Store(cache_folder() / f"celeba-{size}-{key.hexdigest()[:16]}.bytes", len(names), size)
    if not store.whole():
        _decode(folder, names, store, progress)
    return store.read()


def _decode(folder: Path, names: list[str], store: Store, progress: Progress | None) -> None:
    checksum = hashlib.sha256()
    each = store.bytes // store.n
    with replacing(store.path) as part, part.open("wb") as file:
        for i, name in enumerate(names, 1):
            block = _face(folder / name, store.size).tobytes()
            checksum.update(block)
            file.write(block)
            if progress and not i % 100:
                progress(store.path.name, i * each, store.bytes)
        file.write(checksum.digest())


def _face(path: Path, size: int) -> np.ndarray:
    """uint8 (3, size, size): the centre of one picture."""
    picture = read_picture(path).convert("RGB")
    if min(picture.size) < CROP:
        raise UserError(
            f"{path}: expected an aligned face, {CROP}x{CROP} at least (178x218 as published), got"
            f" {picture.width}x{picture.height}."
        )
    left, top = (picture.width - CROP) // 2, (picture.height - CROP) // 2
    face = picture.crop((left, top, left + CROP, top + CROP))
    return np.asarray(face.resize((size, size), Image.Resampling.LANCZOS)).transpose(2, 0, 1)

"""A folder of one's own images, `folder:PATH`, or `folder:PATH@32` to fit each of them to 32x32.

If there are subfolders with images, each is a class. The images are grey if every one of them is
grey, whatever the files say of themselves, and RGB otherwise. Without @SIZE they must all have one
size; with it each is fitted as `picture.fit` does: in proportion, centred, padded with the colour
of its border.
"""

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, stratified_split
from gradlogp.data.download import sha256
from gradlogp.data.picture import fit, read_picture

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"}


def folder(root: str | Path | None = None, progress: Progress | None = None) -> Dataset:
    """Images of your own: folder:PATH, or folder:PATH@32 to fit them to 32x32; subfolders are
    classes.

    Those below `root` ("PATH" or "PATH@SIZE") in file-name order, dealt 7 : 1 : 2 into stratified splits. `load` finds
    them again by the name. The one checksum is the sha256 of what `sha256sum` would list: a line "<sha256>  <path below root>"
    for each file.
    Raises UserError for an empty folder, a file that cannot be read, and images of unlike sizes.
    """
    path, size = _parse(root)
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in ENDINGS and not _hidden(file, path)
    )
    if len(files) < 3:
        raise UserError(
            f"{path}: expected at least 3 images ({' '.join(sorted(ENDINGS))}), found {len(files)}."
        )
    classes, labels = _classes(path, files)
    x = _read(files, size)
    if (x == x[:, :1]).all():
        x = x[:, :1]
    listing = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    checksums = {path.resolve().name: hashlib.sha256(listing.encode()).hexdigest()}
    return Dataset(f"folder:{root}", *stratified_split(Split(x, labels)), classes, checksums)


def _parse(root: str | Path | None) -> tuple[Path, int | None]:
    path, size = Path(root or "").expanduser(), None
    if (found := re.fullmatch(r"(.+)@(\d+)", str(path))) and not path.is_dir():
        path, size = Path(found[1]), int(found[2])
    if not root or not path.is_dir() or size == 0:
        raise UserError(
            "expected folder:PATH or folder:PATH@SIZE with a folder of images, got"
            f" {root or 'no path'}."
        )
    return path, size


def _hidden(file: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(below).parts)


def _classes(path: Path, files: list[Path]) -> tuple[tuple[str, ...], Tensor | None]:
    """The subfolders' names, and each file's place among them; no names and None if all files lie
    in `path` itself.
    """
    names = [file.relative_to(path).parts[0] if file.parent != path else "" for file in files]
    if not any(names):
        return (), None
    if "" in names:
        raise UserError(
            f"{path}: some images lie in class folders, but {files[names.index('')].name} does not:"
            " move it into one, or all out of them."
        )
    classes = tuple(sorted(set(names)))
    empty = sorted(
        d.name
        for d in path.iterdir()
        if d.is_dir() and not d.name.startswith(".") and d.name not in classes
    )
    if empty:
        raise UserError(
            f"{path}: the class folder {empty[0]} holds no images; put some in, or take it away."
        )
    return classes, torch.tensor([classes.index(name) for name in names])


def _read(files: list[Path], size: int | None) -> Tensor:
    """uint8 (n, 3, h, w)."""
    images, first = [], None
    for file in files:
        picture = read_picture(file)
        first = first or picture.size
        if size is None and picture.size != first:
            raise UserError(
                f"{files[0]} is {first[0]}x{first[1]}, but {file} is"
                f" {picture.width}x{picture.height}: resize them to one size, or fit them all with"
                " folder:PATH@SIZE."
            )
        image, _ = fit(picture, (3, size or picture.height, size or picture.width))
        images.append((image * 255).round().byte())
    return torch.stack(images)

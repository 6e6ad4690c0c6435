"""A folder of one's own images, `folder:PATH`, or `folder:PATH@32` to fit each of them to 32x32.

If there are subfolders with images, each is a class. Subfolders `train`, `val` and `test` are the
splits instead, with the classes inside them. The images are grey if every one of them is grey,
whatever the files say of themselves, and RGB otherwise. Without @SIZE they must all have one size;
with it each is fitted as `picture.fit` does: in proportion, centred, padded with the colour of its
border.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gradlogp.core.errors import UserError, printable
from gradlogp.data.base import (
    Dataset,
    Progress,
    Split,
    mixed,
    require_classes,
    stratified_cut,
    stratified_split,
)
from gradlogp.data.files import (
    class_folders,
    files_below,
    listing_sha256,
    require_memory,
    split_option,
)
from gradlogp.data.picture import fit, read_picture

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"}
PARTS = {  # what people call the folders of splits
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def folder(
    which: str = "", root: str | Path | None = None, progress: Progress | None = None
) -> Dataset:
    """Images of your own: folder:PATH, or folder:PATH@32 to fit them to 32x32; subfolders are
    classes.

    Those below PATH (or `root`) in file-name order, cut 7 : 1 : 2 into stratified splits unless
    subfolders say which is which. `load` finds them again by the name. The one checksum is the
    sha256 of what `sha256sum` would list: a line "<sha256>  <path below root>" for each file.
    Raises UserError for an empty folder, a file that cannot be read, images of unlike sizes, and
    classes of fewer than three.
    """
    named = which or str(root or "")
    path, size = _parse(named)
    files = files_below(path, ENDINGS)
    if len(files) < 3:
        raise UserError(
            f"{path}: expected at least 3 images ({' '.join(sorted(ENDINGS))}), found {len(files)}."
        )
    layout = _layout(path, files)
    x = _read(files, size)
    if (x == x[:, :1]).all():
        x = x[:, :1].contiguous()
    checksums = {printable(path.resolve().name): listing_sha256(files, path)}
    splits, notes = _splits(path, layout, Split(x, layout.labels))
    require_classes(path, layout.classes, *splits)
    return Dataset(f"folder:{named}", *splits, layout.classes, checksums, notes=notes)


@dataclass(frozen=True)
class Layout:
    """Where each file belongs: its class (None without class folders) and its split ("" where the
    folders do not say).
    """

    classes: tuple[str, ...]
    labels: Tensor | None
    parts: tuple[str, ...]


def _parse(named: str) -> tuple[Path, int | None]:
    name, option = split_option(named, r"\d+", Path.is_dir)
    path, size = Path(name).expanduser(), int(option) if option else None
    if not name or not path.is_dir() or size == 0:
        raise UserError(
            "expected folder:PATH or folder:PATH@SIZE with a folder of images, got"
            f" {named or 'no path'}."
        )
    return path, size


def _layout(path: Path, files: list[Path]) -> Layout:
    """Raises UserError for images beside class folders, and for class folders without images."""
    inner = [file.relative_to(path).parts for file in files]
    tops = {place[0] for place in inner if len(place) > 1}
    _no_empty_folder(path, tops)
    split = all(len(place) > 1 for place in inner) and _are_splits(tops)
    parts = tuple(PARTS[place[0].lower()] if split else "" for place in inner)
    classes, places = class_folders(path, files, depth=int(split))
    return Layout(classes, None if places is None else torch.tensor(places), parts)


def _are_splits(folders: set[str]) -> bool:
    known = [PARTS.get(name.lower()) for name in folders]
    return None not in known and "train" in known and len(set(known)) > 1


def _no_empty_folder(path: Path, full: set[str]) -> None:
    folders = {d.name for d in path.iterdir() if d.is_dir() and not d.name.startswith(".")}
    if full and (empty := sorted(folders - full)):
        raise UserError(
            f"{path}: the class folder {empty[0]} holds no images; put some in, or take it away."
        )


def _splits(
    path: Path, layout: Layout, whole: Split
) -> tuple[tuple[Split, Split, Split], tuple[str, ...]]:
    """The splits, and what is to be said of them: by the folders where they say it, else cut."""
    if not any(layout.parts):
        return stratified_split(whole), ()
    named = {
        part: whole[torch.tensor([p == part for p in layout.parts])] for part in set(layout.parts)
    }
    train, validation, test = (named.get(part) for part in ("train", "validation", "test"))
    said = f"{path.name}: the subfolders are taken as splits"
    if test is None:
        test, validation = validation, None
        said += ", the validation part as the test split"
    assert train is not None and test is not None  # the layout has train and one more
    if validation is None:
        train, validation = stratified_cut(train)
        said += ", a tenth of the training part as the validation split"
    return (mixed(train), mixed(validation), mixed(test)), (f"{said}.",)


def _read(files: list[Path], size: int | None) -> Tensor:
    """uint8 (n, 3, h, w)."""
    x: Tensor | None = None
    for i, file in enumerate(files):
        picture = read_picture(file)
        height, width = size or picture.height, size or picture.width
        if x is None:
            first, n = picture.size, len(files)
            require_memory(
                3 * n * height * width,
                f"{n:,} pictures of {width}x{height}",
                "ask for a smaller folder:PATH@SIZE, or take fewer",
            )
            x = torch.empty(n, 3, height, width, dtype=torch.uint8)
        if size is None and picture.size != first:
            raise UserError(
                f"{files[0]} is {first[0]}x{first[1]}, but {file} is"
                f" {picture.width}x{picture.height}: resize them to one size, or fit them all with"
                " folder:PATH@SIZE."
            )
        image, _ = fit(picture, (3, height, width))
        x[i] = (image * 255).round().byte()
    assert x is not None  # there are files
    return x

"""CIFAR-10 from its publisher's binary release: 60,000 colour pictures, 32x32, ten classes.

    record = label | 1024 red | 1024 green | 1024 blue, a byte each, row by row

Six files of whole records lie in DIR/cifar-10-batches-bin/, DIR/cifar10/ or DIR itself. The Python
release of the same pictures is pickled, and a pickle can run any code: it is never read.

Reference: Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
"""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, cut
from gradlogp.data.fetch import download
from gradlogp.data.files import cache_folder, data_folder, replacing, require_file, sha256

RECORD = 1 + 3 * 32 * 32
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"
FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"


@dataclass(frozen=True)
class Cifar10:
    """One publication: the archive, its sha256, and the places that have it.

    The last 5,000 of train after a fixed shuffle validate (a tenth of a smaller set); test is as
    published.
    """

    mirrors: tuple[str, ...]
    checksum: str
    says: str = "60,000 colour pictures of ten classes, 32x32, from the binary release"

    def __call__(
        self, which: str = "", root: str | Path | None = None, progress: Progress | None = None
    ) -> Dataset:
        named = data_folder(which or root)
        folder = _find(named) if named else self.download(progress=progress)
        whole = _read([folder / name for name in BATCHES])
        test = _read([folder / TEST])
        train, validation = cut(whole, min(5000, max(1, len(whole) // 10)))
        checksums = {name: sha256(folder / name) for name in (*BATCHES, TEST)}
        return Dataset("cifar10", train, validation, test, CLASSES, checksums)

    def download(self, root: str | Path | None = None, progress: Progress | None = None) -> Path:
        """Lay the six files down in DIR/cifar-10-batches-bin/, or else in the cache, and return
        that folder; files that are there already are left as they are.
        """
        place = data_folder(root) or cache_folder()
        folder = place / FOLDER
        if not _whole(folder):
            archive = place / ARCHIVE
            if not archive.exists():
                urls = [mirror + ARCHIVE for mirror in self.mirrors]
                download(archive, urls, self.checksum, progress)
            _unpack(archive, folder)
        return folder


# Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR10 = Cifar10(
    (
        "https://www.cs.toronto.edu/~kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    ),
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (*BATCHES, TEST))


def _find(root: Path) -> Path:
    places = [root / FOLDER, root / "cifar10" / FOLDER, root / "cifar10", root]
    for place in places:
        if _whole(place):
            return place
    for place in places:
        if missing := _missing(place):
            raise UserError(
                f"cifar10: {', '.join(missing)} not found in {place}, where the rest is; unpack"
                f" {ARCHIVE} there anew."
            )
    if pickled := _pickled(root):
        raise UserError(
            f"{pickled} is the Python release of CIFAR-10: pickles, which can run any code and are"
            f" never loaded. Take the binary release, {ARCHIVE}: `gradlogp data cifar10 --data"
            f" {root}` fetches it."
        )
    raise UserError(
        f"cifar10: {FOLDER} not found in {root}; run `gradlogp data cifar10 --data {root}` to"
        f" download, or unpack {ARCHIVE} there."
    )


def _missing(place: Path) -> list[str]:
    """What a folder that has some of the files lacks."""
    lost = [name for name in (*BATCHES, TEST) if not (place / name).is_file()]
    return lost if len(lost) <= len(BATCHES) else []


def _pickled(root: Path) -> Path | None:
    names = (
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        "data_batch_1",
        "cifar10/data_batch_1",
    )
    return next((root / name for name in names if (root / name).exists()), None)


def _unpack(archive: Path, folder: Path) -> None:
    """The six files of the archive, and nothing else of it."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in (*BATCHES, TEST):
                member = tar.extractfile(f"{FOLDER}/{name}")
                assert member is not None  # a regular file of an archive whose sha256 is right
                with replacing(folder / name) as part, part.open("wb") as file:
                    file.write(member.read())
    except (tarfile.TarError, KeyError, EOFError, zlib.error, AssertionError) as error:
        raise UserError(
            f"{archive}: cannot be unpacked ({error}); delete it and run `gradlogp data cifar10`"
            " again."
        ) from error


def _read(paths: list[Path]) -> Split:
    records = np.concatenate([_records(path) for path in paths])
    x = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy())
    return Split(x, torch.from_numpy(records[:, 0].astype(np.int64)))


def _records(path: Path) -> np.ndarray:
    require_file(path)
    raw = np.fromfile(path, np.uint8)
    if not len(raw) or len(raw) % RECORD:
        raise UserError(
            f"{path}: expected records of {RECORD:,} bytes, got {len(raw):,} bytes: it is cut short"
            f" or not of the binary release; unpack {ARCHIVE} anew."
        )
    records = raw.reshape(-1, RECORD)
    if (top := int(records[:, 0].max())) >= len(CLASSES):
        raise UserError(
            f"{path}: expected labels 0..9 before each picture, got {top}; unpack {ARCHIVE} anew."
        )
    return records

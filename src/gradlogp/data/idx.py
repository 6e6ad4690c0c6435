"""MNIST and Fashion-MNIST, in the idx files their authors published, gzip-ed or not.

    idx = 0 0 8 d | n_1 .. n_d, four big-endian bytes each | n_1 * .. * n_d bytes

Files are looked for in DIR/<name>/ and in DIR itself, where DIR is the argument or GRADLOGP_DATA,
and where others lay them: DIR/MNIST/raw/ (torchvision), train-images.idx3-ubyte (unpacked by some
browsers), mnist.npz (Keras). What is missing there is asked for, never fetched unasked. With
neither, they come from the user's cache, downloaded once.
"""

import gzip
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.base import Dataset, Progress, Split, cut
from gradlogp.data.fetch import download
from gradlogp.data.files import (
    cache_folder,
    data_folder,
    require_file,
    require_memory,
    sha256,
)
from gradlogp.data.npz import read_npz


@dataclass(frozen=True)
class Idx:
    """One publication: four files (name -> sha256) of 28x28 grey images and labels, and the places
    that have them.

    The last 5,000 of train after a fixed shuffle validate (a tenth of a smaller set); test is as
    published.
    """

    name: str
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    files: Mapping[str, str]
    says: str = ""
    folder: str = "MNIST"  # torchvision's word for it

    def __call__(
        self, which: str = "", root: str | Path | None = None, progress: Progress | None = None
    ) -> Dataset:
        folder = data_folder(which or root)
        if folder and (packed := self._keras(folder)):
            return self._from_keras(packed)
        paths = (
            self._find(folder) if folder else self._find(self.download(progress=progress).parent)
        )
        checksums = {path.name: sha256(path) for path in paths.values()}
        for other in PUBLISHED:
            if other is not self and set(checksums.values()) & set(other.files.values()):
                raise UserError(
                    f"{paths[TRAIN_IMAGES].parent} holds {other.name}, not {self.name}: name the"
                    f" data set {other.name}, or put {self.name} into a folder of that name."
                )
        whole = self._split(paths[TRAIN_IMAGES], paths[TRAIN_LABELS])
        return self._dataset(whole, self._split(paths[TEST_IMAGES], paths[TEST_LABELS]), checksums)

    def _dataset(self, whole: Split, test: Split, checksums: Mapping[str, str]) -> Dataset:
        train, validation = cut(whole, min(5000, math.ceil(len(whole) / 10)))
        return Dataset(self.name, train, validation, test, self.classes, checksums)

    def download(self, root: str | Path | None = None, progress: Progress | None = None) -> Path:
        """Lay the published files down in DIR/<name>/, or else in the cache, and return that
        folder; a file that is there already is checked, not replaced.
        """
        folder = (data_folder(root) or cache_folder()) / self.name
        for name, checksum in self.files.items():
            path = folder / name
            if not path.exists():
                download(path, [mirror + name for mirror in self.mirrors], checksum, progress)
            elif sha256(path) != checksum:
                raise UserError(
                    f"{path} is not the published file (its sha256 is not {checksum[:12]}..): "
                    f"delete it and run `gradlogp data {self.name}` to download it anew."
                )
        return folder

    def found(self, root: Path) -> bool:
        """Whether all of it lies in `root`."""
        return self._keras(root) is not None or not self._missing(self._best(root))

    def _find(self, root: Path) -> dict[str, Path]:
        """Published name -> path, all four. Raises UserError where some are missing."""
        best = self._best(root)
        if missing := self._missing(best):
            raise UserError(
                f"{self.name}: {', '.join(missing)} not found in {root / self.name} or {root}; run"
                f" `gradlogp data {self.name} --data {root}` to download, or put the published"
                " files there."
            )
        return best

    def _missing(self, found: Mapping[str, Path]) -> list[str]:
        return [name for name in self.files if name not in found]

    def _best(self, root: Path) -> dict[str, Path]:
        """Published name -> path, in one of its spellings, of the folder that has most of them."""
        places = (root / self.name, root, root / self.folder / "raw", root / "raw")
        found = [
            {
                name: path
                for name in self.files
                for path in (place / spelling for spelling in spellings(name))
                if path.is_file()
            }
            for place in places
        ]
        return max(found, key=len)

    def _split(self, images: Path, labels: Path) -> Split:
        return self._checked(images, labels, read_idx(images, dims=3), read_idx(labels, dims=1))

    def _checked(self, images: Path, labels: Path, x: Tensor, y: Tensor) -> Split:
        if x.shape[1:] != (28, 28) or not len(x):
            raise UserError(
                f"{images}: expected images of 28x28, got {len(x)} of"
                f" {'x'.join(map(str, x.shape[1:]))}."
            )
        if y.shape != x.shape[:1]:
            raise UserError(
                f"{images} has {len(x)} images, but {labels} has {len(y)} labels: are they of one"
                " set?"
            )
        if (top := int(y.max())) >= len(self.classes):
            raise UserError(
                f"{labels}: expected labels 0..{len(self.classes) - 1}, got {top}: is this"
                f" {self.name}?"
            )
        return Split(x[:, None], y.long())

    def _keras(self, root: Path) -> Path | None:
        """DIR/mnist.npz or DIR/mnist/mnist.npz."""
        places = (root / f"{self.name}.npz", root / self.name / f"{self.name}.npz")
        return next((path for path in places if path.is_file()), None)

    def _from_keras(self, path: Path) -> Dataset:
        arrays = read_npz(path, KERAS)
        if any(array.dtype != np.uint8 for array in arrays.values()):
            raise UserError(f"{path}: expected bytes, {', '.join(KERAS)}, as Keras has them.")
        x, y, test_x, test_y = (torch.from_numpy(arrays[name]) for name in KERAS)
        whole, test = self._checked(path, path, x, y), self._checked(path, path, test_x, test_y)
        return self._dataset(whole, test, {path.name: sha256(path)})


def spellings(name: str) -> tuple[str, ...]:
    """The names under which people have a published idx file, NAME-idx3-ubyte.gz."""
    bare = name.removesuffix(".gz")
    dotted = bare.replace("-idx", ".idx")
    return name, bare, f"{dotted}.gz", dotted


def read_idx(path: Path, dims: int) -> Tensor:
    """The uint8 tensor of `dims` dimensions in an idx file. Raises UserError naming the file if it
    is anything else.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            # by content, not by name: browsers unpack a .gz and keep its name
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(4 + 4 * dims)
            shape = _shape(path, header, dims)
            size = math.prod(shape)
            require_memory(size, f"{path}: {size:,} bytes", "it is damaged: fetch it anew")
            raw = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: cannot read or unpack it ({error}); it may be cut short: fetch it anew."
        ) from error
    if len(raw) != size:
        raise UserError(
            f"{path}: its header promises {'x'.join(map(str, shape))} bytes, but"
            f" {len(raw):,} {'or more ' if len(raw) > size else ''}follow: it is cut short or"
            " damaged; fetch it anew."
        )
    return torch.from_numpy(np.frombuffer(bytearray(raw), np.uint8)).reshape(shape)


def _shape(path: Path, header: bytes, dims: int) -> list[int]:
    if header[:4] != bytes([0, 0, 8, dims]) or len(header) < 4 + 4 * dims:
        raise UserError(
            f"{path}: expected an idx file of {'images' if dims == 3 else 'labels'}, magic number "
            f"{0x0800 + dims}, got {int.from_bytes(header[:4])} in {path.stat().st_size:,} bytes;"
            " fetch it anew."
        )
    return np.frombuffer(header, ">u4", count=dims, offset=4).tolist()


TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
KERAS = ("x_train", "y_train", "x_test", "y_test")

# LeCun, Cortes and Burges (1998), The MNIST database of handwritten digits
MNIST = Idx(
    "mnist",
    classes=tuple("0123456789"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    files={
        TRAIN_IMAGES: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        TRAIN_LABELS: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        TEST_IMAGES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        TEST_LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    says="70,000 handwritten digits, grey, 28x28",
)

# Xiao, Rasul and Vollgraf (2017), Fashion-MNIST, arXiv 1708.07747
FASHION_MNIST = Idx(
    "fashion_mnist",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    files={
        TRAIN_IMAGES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        TEST_IMAGES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        TEST_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    says="70,000 pictures of clothes, ten classes, grey, 28x28",
    folder="FashionMNIST",
)

PUBLISHED = (MNIST, FASHION_MNIST)

"""Damaged files: whatever is done to a file, a reader reads it or says in one line which file it
is.

Each mutant of a whole file has some bytes changed, cut out, doubled or put in, from a fixed seed.
"""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data import fixtures

from gradlogp.core.errors import UserError
from gradlogp.data import load
from gradlogp.data.adbench import read_table
from gradlogp.data.idx import read_idx
from gradlogp.data.kmnist import kmnist
from gradlogp.data.picture import fit, read_picture
from gradlogp.data.table import csv
from gradlogp.data.voxels import voxels
from gradlogp.data.waves import read_wave

MUTANTS = 40


def mutant(whole: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to four things done to it, mostly near its start, where headers are."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        n = max(1, len(content))
        at = int(rng.integers(0, min(n, 200) if rng.random() < 0.5 else n))
        length = int(rng.integers(1, 9))
        match rng.integers(0, 6):
            case 0:
                content[at : at + length] = rng.bytes(length)
            case 1:
                del content[at:]
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + 50 * length]
            case 4:
                content[at : at + length] = bytes([255 * int(rng.integers(0, 2))]) * length
            case 5:
                bit = 1 << int(rng.integers(0, 8))
                content[at : at + 1] = bytes(b ^ bit for b in content[at : at + 1])
    return bytes(content)


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def picture(form: str, mode: str = "RGB", **more: object) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return saved(lambda f: Image.fromarray(values).convert(mode).save(f, format=form, **more))


def seen(path: Path) -> None:
    fit(read_picture(path), (3, 8, 8))


ROWS = np.random.default_rng(0).normal(size=(60, 3))
LABELS = np.r_[np.zeros(45), np.ones(15)]
GREY = np.random.default_rng(1).integers(0, 256, (12, 28, 28), dtype=np.uint8)
ABOVE = lambda reader: lambda path: reader(str(path.parent))

# what is damaged: (its name, the whole file, how it is read)
FILES: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], object]]] = {
    "table": (
        "1_a.npz",
        lambda: saved(lambda f: np.savez(f, X=ROWS, y=LABELS)),
        read_table,
    ),
    "packed table": (
        "1_a.npz",
        lambda: saved(lambda f: np.savez_compressed(f, X=ROWS, y=LABELS)),
        read_table,
    ),
    "arrays": (
        "a.npz",
        lambda: saved(lambda f: np.savez(f, x=GREY, y=np.array(list("abc" * 4)))),
        lambda path: load(f"npz:{path}"),
    ),
    "kmnist": (
        "kmnist-test-imgs.npz",
        lambda: saved(lambda f: np.savez_compressed(f, GREY)),
        lambda path: kmnist(str(path.parent)),
    ),
    "idx": (
        "train-images-idx3-ubyte",
        lambda: fixtures.idx(GREY),
        lambda path: read_idx(path, 3),
    ),
    "packed idx": (
        "train-images-idx3-ubyte.gz",
        lambda: gzip.compress(fixtures.idx(GREY)),
        lambda path: read_idx(path, 3),
    ),
    "cifar10": (
        "test_batch.bin",
        lambda: fixtures.records(3),
        lambda path: load("cifar10", path.parent),
    ),
    "png": ("x.png", lambda: picture("PNG"), seen),
    "16-bit png": ("x.png", lambda: picture("PNG", "I;16"), seen),
    "palette": ("x.gif", lambda: picture("GIF", "P"), seen),
    "jpeg": ("x.jpg", lambda: picture("JPEG"), seen),
    "cmyk jpeg": ("x.jpg", lambda: picture("JPEG", "CMYK"), seen),
    "webp": ("x.webp", lambda: picture("WEBP"), seen),
    "tiff": ("x.tif", lambda: picture("TIFF"), seen),
    "bmp": ("x.bmp", lambda: picture("BMP"), seen),
    "ppm": ("x.ppm", lambda: picture("PPM"), seen),
    "wav": ("x.wav", lambda: fixtures.wav(np.sin(np.arange(300) / 9)), read_wave),
    "float wav": ("x.wav", lambda: fixtures.sound("WAV", "FLOAT"), read_wave),
    "flac": ("x.flac", lambda: fixtures.sound("FLAC", "PCM_16"), read_wave),
    "csv": ("x.csv", lambda: fixtures.CSV.encode(), lambda path: csv(f"{path}@kind")),
    "packed csv": (
        "x.csv.gz",
        lambda: gzip.compress(fixtures.CSV.encode()),
        lambda path: csv(str(path)),
    ),
    "parquet": ("x.parquet", fixtures.parquet, lambda path: csv(str(path))),
    "binvox": ("4.binvox", lambda: fixtures.binvox(fixtures.ball(16)), ABOVE(voxels)),
    "off": ("4.off", lambda: fixtures.OFF.encode(), ABOVE(voxels)),
    "stl": ("4.stl", fixtures.stl, ABOVE(voxels)),
    "grids": (
        "4.npz",
        lambda: saved(lambda f: np.savez(f, fixtures.ball(16))),
        ABOVE(voxels),
    ),
    "emoji": (
        "emoji.jsonl",
        lambda: fixtures.emoji_lines(20),
        lambda path: load("emoji", path.parent),
    ),
    "emoji pictures": (
        "emoji32_google.npz",
        lambda: saved(lambda f: np.savez_compressed(f, images=fixtures.emoji_pictures(20))),
        lambda path: load("emoji", path.parent),
    ),
    "modelnet10": (
        "modelnet10_vox30.npz",
        lambda: saved(lambda f: np.savez_compressed(f, **fixtures.modelnet())),
        lambda path: load("modelnet10@16", path.parent),
    ),
    "celeba's attributes": (
        "list_attr_celeba.txt",
        lambda: fixtures.attributes(10).encode(),
        lambda path: load("celeba@32", path.parent),
    ),
    "celeba's partition": (
        "list_eval_partition.txt",
        lambda: fixtures.partition(10).encode(),
        lambda path: load("celeba@32", path.parent),
    ),
}


def companions(folder: Path, case: str) -> None:
    """The whole files that a damaged one lies beside."""
    if case == "kmnist":
        np.savez(folder / "kmnist-test-labels.npz", np.arange(12, dtype=np.uint8) % 10)
    if case == "cifar10":
        for i in range(1, 6):
            (folder / f"data_batch_{i}.bin").write_bytes(fixtures.records(2))
    if case in ("binvox", "off", "stl", "grids"):
        for i in range(4):
            (folder / f"{i}.binvox").write_bytes(fixtures.binvox(fixtures.ball(10 + i)))
    if case.startswith("emoji"):
        (folder / "emoji.jsonl").write_bytes(fixtures.emoji_lines(20))
        np.savez(folder / "emoji32_google.npz", images=fixtures.emoji_pictures(20))
    if case.startswith("celeba"):
        fixtures.celeba(folder, 10)


def clear(case: str, folder: Path, n: int, seed: int = 0) -> tuple[int, list[str]]:
    """How many of `n` mutants are read, and what is said of the others.

    Any other error than a UserError, or one that is not one line with a file's name, is raised.
    """
    name, make, read = FILES[case]
    folder.mkdir(parents=True, exist_ok=True)
    companions(folder, case)
    whole, rng, said = make(), np.random.default_rng(seed), []
    (folder / name).write_bytes(whole)
    read(folder / name)
    for _ in range(n):
        (folder / name).write_bytes(mutant(whole, rng))
        try:
            read(folder / name)
        except UserError as error:
            assert "\n" not in str(error) and str(folder) in str(error), str(error)
            said.append(str(error))
    return n - len(said), said


@pytest.mark.parametrize("case", FILES)
def test_a_damaged_file_is_read_or_named_in_one_line(tmp_path, monkeypatch, case):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read, said = clear(case, tmp_path / "data", MUTANTS)
    assert read + len(said) == MUTANTS and said

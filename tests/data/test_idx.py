"""MNIST files: read exactly, and each thing that can be wrong with them is said in one line."""

import gzip
import os
import time
from pathlib import Path

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.data import load
from gradlogp.data.idx import (
    FASHION_MNIST,
    MNIST,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    read_idx,
)

DATA = Path(os.environ.get("GRADLOGP_DATA") or "/nowhere")


def idx(x: torch.Tensor) -> bytes:
    """The file for a uint8 tensor, written from the format's description."""
    return (
        bytes([0, 0, 8, x.ndim])
        + b"".join(n.to_bytes(4, "big") for n in x.shape)
        + bytes(x.flatten().tolist())
    )


def images(n: int, side: int = 28) -> torch.Tensor:
    return torch.randint(0, 256, (n, side, side), generator=torch.Generator().manual_seed(n)).byte()


def labels(n: int) -> torch.Tensor:
    return (torch.arange(n) % 10).byte()


def small_mnist(folder, **changes: bytes | None):
    """Forty training and ten test images laid down as published; `changes` replaces files, None
    leaves one out.
    """
    files = {
        TRAIN_IMAGES: gzip.compress(idx(images(40))),
        TRAIN_LABELS: gzip.compress(idx(labels(40))),
        TEST_IMAGES: gzip.compress(idx(images(10))),
        TEST_LABELS: gzip.compress(idx(labels(10))),
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def no_data_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.delenv("GRADLOGP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_is_written_is_read(tmp_path):
    small_mnist(tmp_path / "mnist")
    data = load("mnist", tmp_path)
    assert torch.equal(data.test.x[:, 0], images(10)) and torch.equal(
        data.test.labels, labels(10).long()
    )
    assert (len(data.train), len(data.validation), data.shape) == (36, 4, (1, 28, 28))
    both = torch.cat([data.train.x, data.validation.x])[:, 0]
    assert sorted(both.flatten(1).tolist()) == sorted(images(40).flatten(1).tolist())
    where = {
        tuple(x): y
        for x, y in zip(images(40).flatten(1).tolist(), labels(40).tolist(), strict=True)
    }
    assert [where[tuple(x)] for x in data.train.x.flatten(1).tolist()] == data.train.labels.tolist()
    assert set(data.checksums) == {TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS}


def test_files_may_lie_in_the_folder_itself_unpacked_or_unpacked_under_their_old_names(
    tmp_path, monkeypatch
):
    bare = {TRAIN_IMAGES: None, TRAIN_IMAGES[:-3]: idx(images(40)), TEST_LABELS: idx(labels(10))}
    packed = load("mnist", small_mnist(tmp_path / "packed"))
    monkeypatch.setenv("GRADLOGP_DATA", str(small_mnist(tmp_path / "bare", **bare)))
    unpacked = load("mnist")
    assert torch.equal(packed.train.x, unpacked.train.x) and torch.equal(
        packed.test.labels, unpacked.test.labels
    )
    assert TRAIN_IMAGES[:-3] in unpacked.checksums


whole = gzip.compress(idx(images(40)))

BAD_FILES = {  # what is wrong: (which file, its content, a fragment of what we say)
    "missing": (
        TEST_LABELS,
        None,
        "t10k-labels-idx1-ubyte.gz not found in .*mnist or .*; run `gradlogp data mnist",
    ),
    "cut gzip": (TRAIN_IMAGES, whole[: len(whole) // 2], "may be cut short"),
    "damaged gzip": (TRAIN_IMAGES, whole[:50] + b"zzzz" + whole[54:], "cannot read or unpack"),
    "empty": (TRAIN_IMAGES, b"", "magic number 2051, got 0 in 0 bytes"),
    "labels for images": (TRAIN_IMAGES, idx(labels(40)), "of images, magic number 2051, got 2049"),
    "images for labels": (TRAIN_LABELS, idx(images(40)), "of labels, magic number 2049, got 2051"),
    "a web page": (TRAIN_LABELS, b"<!DOCTYPE html><p>Sign in", "magic number 2049"),
    "header cut": (TRAIN_IMAGES, idx(images(40))[:9], "in 9 bytes"),
    "bytes missing": (
        TRAIN_IMAGES,
        idx(images(40))[:-1],
        "header promises 40x28x28 bytes, but 31,359 follow",
    ),
    "bytes left over": (
        TRAIN_LABELS,
        idx(labels(40)) + b"\0",
        "header promises 40 bytes, but 41 or more follow",
    ),
    "no images": (TRAIN_IMAGES, idx(images(0)), "expected images of 28x28, got 0"),
    "wrong shape": (
        TRAIN_IMAGES,
        idx(images(40, side=32)),
        "expected images of 28x28, got 40 of 32x32",
    ),
    "fewer labels": (TRAIN_LABELS, idx(labels(39)), "has 40 images, but .* has 39 labels"),
    "label out of range": (
        TEST_LABELS,
        idx(torch.full((10,), 10).byte()),
        r"expected labels 0\.\.9, got 10",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gets_one_clear_line(tmp_path, case):
    name, content, fragment = BAD_FILES[case]
    small_mnist(tmp_path / "mnist", **{name: content})
    with pytest.raises(UserError, match=fragment) as caught:
        load("mnist", tmp_path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_data_is_never_fetched_into_a_folder_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.data.idx.download", lambda *args: pytest.fail("downloads"))
    with pytest.raises(UserError, match=r"fashion_mnist: .* not found"):
        load("fashion_mnist", tmp_path)


def test_one_set_is_not_taken_for_another(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.data.idx.sha256", lambda path: FASHION_MNIST.files[path.name])
    with pytest.raises(UserError, match="holds fashion_mnist, not mnist"):
        load("mnist", small_mnist(tmp_path))


def test_an_idx_file_of_any_shape_goes_there_and_back(tmp_path):
    x = images(3, side=5)
    (tmp_path / "x").write_bytes(idx(x))
    assert torch.equal(read_idx(tmp_path / "x", dims=3), x)


@pytest.mark.data
@pytest.mark.parametrize("published", [MNIST, FASHION_MNIST], ids=lambda published: published.name)
def test_the_published_files(published):
    folder = DATA / published.name
    if not folder.is_dir():
        pytest.skip("GRADLOGP_DATA has no such folder")
    start = time.perf_counter()
    data = load(published.name, DATA)
    assert time.perf_counter() - start < 5  # well under 1 s on an idle machine
    assert data.checksums == published.files
    assert (len(data.train), len(data.validation), len(data.test)) == (55000, 5000, 10000)
    counts = data.train.labels.bincount() + data.validation.labels.bincount()
    if published is MNIST:
        assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
        pixels = torch.cat([data.train.scaled(), data.validation.scaled()])
        assert [pixels.mean().item(), pixels.std().item()] == pytest.approx(
            [0.1307, 0.3081], abs=1e-4
        )
    else:
        assert counts.tolist() == [6000] * 10

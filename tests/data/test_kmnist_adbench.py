"""KMNIST's test part and ADBench's tables: read as published, from tiny files of the same layout."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.data import load
from gradlogp.data.adbench import read_table, table, tables


def idx(a):
    return bytes([0, 0, 8, a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape) + a.tobytes()


@pytest.fixture
def characters():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (12, 28, 28), dtype=np.uint8), (np.arange(12) % 10).astype(np.uint8)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 3)), np.r_[np.zeros(40), np.ones(10)]


def test_kmnist_is_read_from_npz_and_from_idx_alike(tmp_path, characters):
    images, labels = characters
    (tmp_path / "kmnist").mkdir()
    np.savez(tmp_path / "kmnist" / "kmnist-test-imgs.npz", images)
    np.savez(tmp_path / "kmnist" / "kmnist-test-labels.npz", labels)
    (tmp_path / "i" / "kmnist").mkdir(parents=True)
    (tmp_path / "i" / "kmnist" / "t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx(images))
    )
    (tmp_path / "i" / "kmnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx(labels))
    )
    one = load("kmnist", tmp_path)
    other = load("kmnist", tmp_path / "i")
    assert torch.equal(one.test.x, torch.from_numpy(images)[:, None]) and torch.equal(
        one.test.x, other.test.x
    )
    assert one.test.labels.tolist() == labels.tolist() == other.test.labels.tolist()
    assert len(one.train) == 0 and one.shape == (1, 28, 28)


def test_kmnist_is_never_taken_from_the_idx_files_of_another_set(tmp_path, characters):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(characters[0])))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(characters[1])))
    with pytest.raises(UserError, match=r"kmnist-test-imgs.npz and .* not found"):
        load("kmnist", tmp_path)


def test_a_table_is_halved_for_one_class_learning(tmp_path, rows):
    x, y = rows
    (tmp_path / "adbench").mkdir()
    for name in ("10_b", "2_a"):
        np.savez(tmp_path / "adbench" / f"{name}.npz", X=x, y=y)
    assert tables(tmp_path) == ["2_a", "10_b"]
    data = table("2_a", tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 4, 30)
    assert (
        data.train.labels.sum() == data.validation.labels.sum() == 0
        and data.test.labels.sum() == 10
    )
    seen = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert torch.equal(seen.sort(0).values, torch.from_numpy(x.astype(np.float32)).sort(0).values)
    assert torch.equal(data.train.x, table("2_a", tmp_path).train.x)
    assert load(f"adbench:{tmp_path / 'adbench' / '2_a.npz'}").name == "adbench:2_a"
    assert (
        load("adbench:10_b", tmp_path).name == "adbench:10_b"
    )  # a name, and the folder that --data gives


BAD = {
    "no labels": (lambda x, y: {"X": x}, "with X and y"),
    "other labels": (lambda x, y: {"X": x, "y": y * 2}, "labels y"),
    "not finite": (lambda x, y: {"X": x * np.nan, "y": y}, "finite rows"),
    "no anomalies": (lambda x, y: {"X": x, "y": y * 0}, "2 anomalies at least"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_gets_one_clear_line(tmp_path, rows, case):
    make, fragment = BAD[case]
    np.savez(tmp_path / "1_bad.npz", **make(*rows))
    with pytest.raises(UserError, match=fragment) as caught:
        read_table(tmp_path / "1_bad.npz")
    assert "1_bad.npz" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_tables_and_bare_names_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLOGP_DATA", str(tmp_path))
    with pytest.raises(UserError, match="no table"):
        load("adbench")
    np.savez(tmp_path / "1_one.npz", X=np.ones((2, 1)), y=np.ones(2))
    with pytest.raises(UserError, match="name one, as in adbench:1_one"):
        load("adbench")
    with pytest.raises(UserError, match="2_two.npz not found .* there are 1_one"):
        load("adbench:2_two")


@pytest.mark.data
def test_the_published_tables():
    root = Path(os.environ.get("GRADLOGP_DATA", "nowhere"))
    if not (root / "adbench").is_dir():
        pytest.skip("GRADLOGP_DATA has no such folder")
    assert len(tables(root)) == 33
    shuttle = table("32_shuttle", root)
    assert (shuttle.shape, int(shuttle.test.labels.sum())) == ((9,), 3511)
    assert len(load("kmnist", root).test) == 10_000

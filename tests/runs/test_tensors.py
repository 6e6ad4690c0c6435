import errno
import json
import os
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from gradlogp.core.errors import UserError
from gradlogp.runs import Damaged, read, tensors, write

META = {"step": 7, "note": "µ", "loss": float("inf"), "nested": {"a": [1, None]}}


def some() -> dict[str, torch.Tensor]:
    numbers = torch.arange(-3, 9)
    kinds = [getattr(torch, name) for name in tensors.DTYPES]
    shared = torch.ones(4)
    return {
        **{f"kind.{str(kind).removeprefix('torch.')}": numbers.abs().to(kind) for kind in kinds},
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "transposed": torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).T,
        "channels_last": (
            torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)
        ),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "shared.a": shared,
        "shared.b": shared,
    }


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write(
        tmp_path / "x.safetensors", {"a": torch.arange(5.0), "b": torch.tensor([True, False])}, META
    )
    return tmp_path / "x.safetensors"


def test_tensors_and_note_come_back(tmp_path: Path) -> None:
    write(tmp_path / "x", some(), META)
    back, meta = read(tmp_path / "x")
    assert meta == META and back.keys() == some().keys()
    for name, tensor in some().items():
        assert back[name].dtype == tensor.dtype and torch.equal(back[name], tensor), name


def test_what_comes_back_may_be_changed_in_place(small: Path) -> None:
    back, _ = read(small)
    back["a"].add_(1)
    assert back["a"].tolist() == [1, 2, 3, 4, 5]


def test_other_readers_of_safetensors_read_it(tmp_path: Path) -> None:
    write(tmp_path / "x", some())
    back = safetensors.torch.load_file(tmp_path / "x")
    assert all(torch.equal(back[name], tensor) for name, tensor in some().items())


def test_the_same_tensors_make_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "x", some(), META)
    write(tmp_path / "y", dict(reversed(some().items())), META)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_no_tensors_are_fine(tmp_path: Path) -> None:
    write(tmp_path / "x", {})
    assert read(tmp_path / "x") == ({}, {})


def test_a_file_that_ends_early_is_damaged_wherever_it_ends(small: Path) -> None:
    whole = small.read_bytes()
    for size in range(len(whole)):
        small.write_bytes(whole[:size])
        with pytest.raises(Damaged, match="x.safetensors"):
            read(small)


def test_a_byte_too_many_is_damage(small: Path) -> None:
    small.write_bytes(small.read_bytes() + b"\0")
    with pytest.raises(Damaged):
        read(small)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF])
def test_a_flipped_byte_is_damage_wherever_it_is(small: Path, flip: int) -> None:
    whole = small.read_bytes()
    for place in range(len(whole)):
        small.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        with pytest.raises(Damaged, match="x.safetensors"):
            read(small)


def test_another_format_is_named(small: Path, monkeypatch) -> None:
    monkeypatch.setattr(tensors, "FORMAT", "2")
    with pytest.raises(Damaged, match="has format '1'; this gradlogp .* reads format '2'"):
        read(small)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4 something else entirely", b"\2\0\0\0\0\0\0\0[]", b"\2\0\0\0\0\0\0\0{}"],
)
def test_something_else_is_no_file_of_ours(small: Path, content: bytes) -> None:
    small.write_bytes(content)
    with pytest.raises(Damaged):
        read(small)


def test_weights_of_somebody_else_are_told_from_damage(small: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(2)}, small)
    with pytest.raises(Damaged, match="not written by gradlogp"):
        read(small)


def test_the_digest_covers_the_note(small: Path) -> None:
    whole = small.read_bytes()
    assert whole.count(rb"\"step\": 7") == 1
    small.write_bytes(whole.replace(rb"\"step\": 7", rb"\"step\": 8"))
    with pytest.raises(Damaged, match="digest"):
        read(small)


def test_a_missing_file_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read") as caught:
        read(tmp_path / "x")
    assert not isinstance(caught.value, Damaged)


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_other(small: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write(small, some())
    monkeypatch.undo()
    assert list(small.parent.iterdir()) == [small] and read(small)[1] == META


def test_a_dtype_without_a_name_is_refused(small: Path) -> None:
    with pytest.raises(ValueError, match="'q' of dtype complex128"):
        write(small, {"q": torch.ones(1, dtype=torch.complex128)})
    assert read(small)[1] == META


def test_a_note_that_json_cannot_hold_is_refused(small: Path) -> None:
    with pytest.raises(TypeError):
        write(small, {}, {"a": object()})
    assert json.loads(json.dumps(read(small)[1]["step"])) == 7


def test_a_checkpoint_of_26_mb_is_quick(tmp_path: Path) -> None:
    big = {str(number): torch.zeros(650_000) for number in range(10)}
    write(tmp_path / "x", big)
    start = time.process_time()
    write(tmp_path / "x", big)
    assert time.process_time() - start < 0.3

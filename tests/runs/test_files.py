import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.runs import Damaged, read_json, write_json, write_text


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "µ"], "b": {"c": {}}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


def test_the_file_is_strict_json_and_still_tells_nan_from_inf(tmp_path: Path) -> None:
    def forbid(word: str) -> None:
        raise AssertionError(word)

    write_json(tmp_path / "x.json", {"a": [math.nan, math.inf, -math.inf]})
    json.loads((tmp_path / "x.json").read_text(), parse_constant=forbid)
    nan, *infinities = read_json(tmp_path / "x.json")["a"]
    assert math.isnan(nan) and infinities == [math.inf, -math.inf]


def test_numbers_of_numpy_and_torch_tuples_and_paths_are_made_plain(tmp_path: Path) -> None:
    write_json(
        tmp_path / "x.json",
        {"a": np.float32(0.5), "b": torch.tensor(2), "c": (1, 2), "d": Path("e/f")},
    )
    assert read_json(tmp_path / "x.json") == {"a": 0.5, "b": 2, "c": [1, 2], "d": str(Path("e/f"))}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch, call: str
) -> None:
    write_text(tmp_path / "x", "old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match=r"x: No space left on device.*untouched"):
        write_text(tmp_path / "x", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["x"] and (
        tmp_path / "x"
    ).read_text() == "old"


def test_a_stop_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    write_text(tmp_path / "x", "old")
    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "x", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["x"] and (
        tmp_path / "x"
    ).read_text() == "old"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*No such file"):
        write_text(tmp_path / "nowhere" / "x", "text")


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b'{"a": \xff')
    with pytest.raises(Damaged, match="no JSON"):
        read_json(tmp_path / "x.json")

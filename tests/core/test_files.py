"""Files are there whole or not at all, and names do not lead out of their folder."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gradlogp.core import files
from gradlogp.core.errors import UserError
from gradlogp.core.files import inside, safe_name, safe_path
from gradlogp.runs import lock
from tests.faults import REFUSALS, Disk, Killed, put_in


def replaced(folder: Path) -> None:
    with files.replacing(folder / "x") as file:
        file.write(b"new")


JOBS: dict[str, Callable[[Path], object]] = {
    "replace": replaced,
    "append": lambda folder: files.append(folder / "x", b"new"),
    "cut": lambda folder: files.cut(folder / "x", 1),
    "remove": lambda folder: files.remove(folder / "x"),
    "make_folder": lambda folder: files.make_folder(folder / "a" / "b"),
}


def state(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("refusal", [None, *REFUSALS])
@pytest.mark.parametrize("name", JOBS)
def test_each_operation_is_done_or_not_and_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, refusal: int | None
) -> None:
    """For a refusal as for a kill; after a refusal nothing temporary is left."""

    def fresh(at: str) -> Path:
        folder = tmp_path / at
        folder.mkdir()
        (folder / "x").write_bytes(b"old")
        return folder

    put_in(counter := Disk(), monkeypatch)
    JOBS[name](done := fresh("done"))
    assert counter.done
    for at in range(1, len(counter.done) + 1):
        folder = fresh(f"{at}")
        before = state(folder)
        with pytest.MonkeyPatch.context() as patch:
            put_in(Disk(at, refusal), patch)
            try:
                JOBS[name](folder)
            except Killed:
                assert refusal is None
            except UserError as error:
                found = {key: x for key, x in state(folder).items() if x is not None}
                assert found == before and "cannot write" in str(error)
        if name == "append" and refusal is None:
            continue  # a line cut by a kill is the reader's to leave out
        files.clear(folder)
        JOBS[name](folder) if state(folder) != state(done) else None
        assert state(folder) == state(done), at


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    for name in ("pipe", "folder", "circle", "nothing", "x" * 300, "a\0b"):
        with pytest.raises(UserError, match="cannot read"):
            files.read_bytes(tmp_path / name)


BAD = ["", ".", "..", "../x", "/x", "a/b", "a\\b", ".hidden", "a\0b", "a\nb", "é" * 101, "\udcff"]


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_name_that_is_none_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UserError) as caught:
        safe_name(name)
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()


def test_plain_names_pass() -> None:
    for name in ("ebm", "ebm_class-seed3", "figure-fd.png", "Zähler 2", "x" * 200):
        assert safe_name(name) == name


@pytest.mark.parametrize("path", ["x" * 300, "runs/a\0b", "runs/\udcff/x", "a\nb"], ids=ascii)
def test_a_path_that_no_page_can_print_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="--out holds the name"):
        safe_path(path, "--out")


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    (tmp_path / "secret.png").touch()
    (folder / "samples" / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "samples" / "in.png").symlink_to(folder / "final.png")
    (folder / "state").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    assert inside(folder, "samples/in.png") == folder / "samples" / "in.png"
    for name in ("samples/out.png", "state", "state/step-1", "circle", "../secret.png"):
        with pytest.raises(UserError):
            inside(folder, name)
    (tmp_path / "link").symlink_to(folder)
    assert inside(tmp_path / "link", "samples/in.png").name == "in.png"


_watched: list[tuple[Path, list[str]]] = []
_seen: list[str] = []


def test_a_run_writes_nothing_but_through_this_module(tmp_path: Path) -> None:
    """Python itself tells of every file that is opened to be written, moved or removed."""
    from gradlogp.runs import Run
    from gradlogp.training import train
    from tests.training.conftest import Ring

    strays: list[str] = []
    folder = tmp_path / "run"
    _watched.append((folder, strays))
    if len(_watched) == 1:
        sys.addaudithook(_audit)
    with Run.create(folder, {}) as run:
        small = Ring(images=64 * 10)
        train(small.learner(), small.batches(), run)
        run.mark("trained")
        run.write_results([{"metric": "fd", "value": 1.0}])
    seen = Counter(_seen)
    _watched.append((tmp_path / "elsewhere", []))
    assert not strays and seen["open"] > 10 and seen["os.rename"] > 5


def _audit(event: str, arguments: tuple) -> None:
    if not _watched or threading.current_thread() is not threading.main_thread():
        return
    folder, strays = _watched[-1]
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 0b11
    if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
        path = arguments[0]
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(folder)):
            _seen.append(event)
            frame = sys._getframe(1)
            if frame.f_code.co_filename not in (files.__file__, lock.__file__):
                strays.append(f"{event} {path} by {frame.f_code.co_filename}:{frame.f_lineno}")

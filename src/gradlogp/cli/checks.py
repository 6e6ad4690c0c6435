"""What is checked before the work begins, and where work goes that was not told where."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from gradlogp import data
from gradlogp.cli.shared import MEANT
from gradlogp.cli.terminal import Download, Terminal
from gradlogp.core.errors import UserError, unknown
from gradlogp.data import Dataset
from gradlogp.harness.origin import trained_on
from gradlogp.runs import Run, new_path, safe_path


def known(name: str, names: Iterable[str], what: str) -> None:
    if name not in (names := list(names)):
        raise unknown(f"there is no {what} {name!r}", name, names, MEANT)


def dataset_exists(name: str) -> None:
    data.require_known(name)


def device_exists(name: str | None) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise UserError(
            f"--device {name}: this machine or this torch has none ({why}); `cpu` is always there."
        ) from error


def folder_or_none(path: Path, flag: str) -> None:
    """Raises UserError where something other than a folder lies at `path`."""
    safe_path(path, flag)
    if path.exists() and not path.is_dir():
        raise UserError(f"{flag} {path}: expected a folder, but that is a file.")


def writable(path: Path, *suffixes: str, word: str = "--out") -> None:
    """Raises UserError unless a folder or, with `suffixes`, a file with one of them can be written
    at `path`, which is called by its `word` of the command.
    """
    safe_path(path, word)
    if suffixes and path.suffix.lower() not in suffixes:
        raise UserError(
            f"{word} {path}: expected a name that ends in {' or '.join(suffixes)}, got"
            f" {path.suffix or 'no ending'}."
        )
    if path.exists() and path.is_dir() == bool(suffixes):
        kinds = ("file", "folder") if suffixes else ("folder", "file")
        raise UserError(f"{word} {path}: expected a {kinds[0]}, but that is a {kinds[1]}.")
    start = path.absolute().parent if suffixes else path.absolute()
    folder = next(p for p in (start, *start.parents) if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"{word} {path}: cannot write in {folder}; choose another folder.")


def spared(out: Path, *read: Path | None, word: str = "--out") -> None:
    """Raises UserError where `out` is one of the files or folders that are read."""
    for path in read:
        if path is not None and path.exists() and out.exists() and out.samefile(path):
            raise UserError(
                f"{word} {out} would take the place of what is read; choose another name."
            )


def read(name: str, folder: Path | None, terminal: Terminal) -> Dataset:
    dataset = data.load(name, folder, Download(terminal))
    terminal.end()
    return dataset


def noted(name: str, folder: Path | None, terminal: Terminal) -> Dataset:
    """The data set, and a line for each thing that its reader did to the files."""
    dataset = read(name, folder, terminal)
    for note in dataset.notes:
        terminal.say(f"{name}: {note}")
    return dataset


def data_of(run: Run, folder: Path | None, terminal: Terminal) -> Dataset:
    """The data set that `run` was trained on, as `trained_on` finds it."""
    dataset = trained_on(run, folder, Download(terminal))
    terminal.end()
    return dataset


def place(out: Path | None, name: str, begun: Callable[[Path], bool]) -> Path:
    """`out`, else the newest run that the same command began without --out and did not finish, else
    a new folder.
    """
    if out is not None:
        return out
    found = [path for path in Path("runs").glob(f"{name}-[0-9]*-*") if begun(path)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None) or new_path(name)


@contextmanager
def stopping(out: Path) -> Iterator[None]:
    """Ctrl-C, and every other signal to end, says where the same command goes on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.args = (f"the same command goes on {_where(out)}",)
        raise


def _where(out: Path) -> str:
    begun = [file.parent for file in (*out.glob("config.json"), *out.glob("*/config.json"))]
    newest = max(begun, key=lambda path: path.stat().st_mtime, default=None)
    saved = Run.open(newest).latest(fallback=True) if newest else None
    return f"from step {saved[0]:,} in {newest}" if saved else "from the beginning"

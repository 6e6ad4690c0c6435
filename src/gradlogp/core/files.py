"""A file is there whole or not at all: write beside it, fsync, then take its place in one step.

All that gradlogp writes goes through this module, so a test can make each operation of a run fail
in turn. Names are checked here too: what a file says about itself may not lead out of its folder.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gradlogp.core.errors import SystemRefused, UserError

LONGEST = 200  # bytes of a name; the file systems' 255 less what a temporary file adds


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that becomes `path` when the block ends well, and is gone when it does not.

    Raises UserError, with `path` as it was, where the system refuses (no space, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise refused(path, error) from error
        raise
    _sync_folder(path.parent)


def there(path: Path) -> bool:
    """Whether anything has this name, be it a link to nothing."""
    return os.path.lexists(path)


def append(path: Path, data: bytes) -> None:
    """Add to the end of the file, all of `data` or nothing. Raises UserError where the system
    refuses.
    """
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab") as file:
            file.write(data)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise refused(path, error) from error


def cut(path: Path, size: int) -> None:
    """Leave the first `size` bytes of the file."""
    with _refusals(path):
        os.truncate(path, size)


def remove(path: Path) -> None:
    """The file is gone, whether it was there or not."""
    with _refusals(path), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def make_folder(path: Path) -> Path:
    """The folder is there, with those above it."""
    if not path.is_dir():
        with _refusals(path), contextlib.suppress(FileExistsError):
            make_folder(path.parent)
            os.mkdir(path)
        if not path.is_dir():
            raise UserError(f"cannot make the folder {path}: a file has that name; choose another.")
    return path


def clear(folder: Path) -> None:
    """Remove what killed writers have left in `folder`; call it where nobody else writes there."""
    for leftover in folder.glob(".*.tmp"):
        remove(leftover)


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises UserError for anything but a file: opening a pipe would wait for
    ever.
    """
    try:
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        try:
            regular = stat.S_ISREG(os.fstat(handle).st_mode)
        except BaseException:
            os.close(handle)
            raise
        if not regular:
            os.close(handle)
            raise UserError(
                f"cannot read {path}: expected a file, got a folder or a device; move it."
            )
        with os.fdopen(handle, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}."
        ) from error


def refused(path: Path, error: OSError) -> SystemRefused:
    return SystemRefused(
        f"cannot write {path}: {error.strerror or error}. What was there is untouched; "
        "make room (or choose another folder) and run the same command again."
    )


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refused(path, error) from error


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power cut, where the system has a way to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- names ---


def safe_name(name: str, what: str = "the name") -> str:
    """`name`, which is one folder's or file's own, without a way to another folder.

    Raises UserError, which begins with `what`, for a path, a dot at the start, control characters,
    what is not UTF-8, and more than 200 bytes.
    """
    why = _unfit(name)
    if not why and ("/" in name or "\\" in name or name.startswith(".")):
        why = "is a path, or begins with a dot"
    if why:
        raise UserError(f"{what} {name[:60]!a} {why}; expected a plain name such as ebm-2.")
    return name


def safe_path(path: str | Path, what: str = "the path") -> Path:
    """`path`, each part of which any file system can hold and any page can print. Raises UserError
    which begins with `what`.
    """
    path = Path(path)
    for part in path.parts:
        if why := "" if part == path.anchor else _unfit(part):
            raise UserError(f"{what} holds the name {part[:60]!a}, which {why}; choose another.")
    return path


def _unfit(name: str) -> str:
    """What is wrong with a name; nothing where it is one."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not name or size > LONGEST:
        return f"has {size} bytes, and 1 to {LONGEST} are allowed"
    return "" if name.isprintable() else "holds control characters"


def inside(folder: Path, name: str) -> Path:
    """The path of `name`, such as "samples/final.png", in `folder`.

    Raises UserError where the name, or a link on the way, leads out of the folder.
    """
    for part in (parts := name.split("/")):
        safe_name(part, f"{folder}: the name")
    path = folder.joinpath(*parts)
    on_the_way = [folder.joinpath(*parts[:i]) for i in range(1, len(parts) + 1)]
    if not any(map(os.path.islink, on_the_way)):
        return path
    try:
        there = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links in a circle
        there = False
    if not there:
        raise UserError(
            f"{path} leads out of {folder}; put the file itself there, in place of the link."
        )
    return path

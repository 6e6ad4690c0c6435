"""A file is there whole or not at all: write beside it, fsync, then take its place in one step."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gradlogp.core.errors import UserError


class Damaged(UserError):
    """A file that was cut, changed, or written in a form that this version does not read."""


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
            temporary.unlink()
        if isinstance(error, OSError):
            raise refused(path, error) from error
        raise
    _sync_folder(path.parent)


def refused(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {path}: {error.strerror or error}. What was there is untouched; "
        "make room (or choose another folder) and run the same command again."
    )


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power cut, where the system has a way to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: str | Path, text: str | bytes) -> None:
    """Write the text, UTF-8, in one step. Raises UserError, and leaves what was there, where the
    system refuses.
    """
    with replacing(Path(path)) as file:
        file.write(text.encode() if isinstance(text, str) else text)


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(plain(value), indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """The value that `write_json` wrote. Raises UserError without such a file and Damaged where it
    is no JSON.
    """
    path = Path(path)
    try:
        return unplain(json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise Damaged(f"{path} is damaged: it is no JSON ({error}).") from error


def plain(value: Any) -> Any:
    """What strict JSON can hold. It has no words for nan, inf and -inf: they become these strings,
    and come back.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # a number of numpy or torch
        return plain(value.item())
    return value


def unplain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: unplain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unplain(item) for item in value]
    return float(value) if value in ("nan", "inf", "-inf") else value

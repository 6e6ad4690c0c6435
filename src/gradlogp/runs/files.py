"""Text and JSON in files: strict JSON, which other programs read as well."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.files import read_bytes, replacing


class Damaged(UserError):
    """A file that was cut, changed, or written in a form that this version does not read."""


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
    return from_json(path, read_bytes(path))


def from_json(path: Path, text: bytes | str) -> Any:
    """The value of a JSON text of the file `path`. Raises Damaged where it is none, is nested too
    deep, or holds what is no UTF-8.
    """
    try:
        value = unplain(json.loads(text))
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
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

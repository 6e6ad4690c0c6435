"""One reader for every .npz, from friend or foe: a zip of .npy files, each a header and its
numbers.

    file = magic, version, header length | {"descr", "fortran_order", "shape"} | prod(shape) numbers

What a header asks for is held against the bytes that are there before memory is taken; objects
(pickles) are never loaded. Whatever is wrong ends in one line that names the file.

Reference: NumPy enhancement proposal 1, A simple file format for NumPy arrays.
"""

import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gradlogp.core.errors import UserError
from gradlogp.data.files import reason, require_file, require_memory

DEFLATED = 1032  # no deflated byte stands for more than these


def npz_names(path: Path) -> list[str]:
    """The names of the arrays in an .npz. Raises UserError naming the file."""
    return _reading(path, lambda file: [_key(name) for name in file.namelist()])


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those arrays of an .npz, numbers or strings. Raises UserError naming the file."""
    wanted = list(names)

    def read(file: zipfile.ZipFile) -> dict[str, np.ndarray]:
        members = {_key(info.filename): info for info in file.infolist()}
        if lost := [name for name in wanted if name not in members]:
            raise UserError(
                f"{path}: expected an array {' and '.join(lost)}, found"
                f" {', '.join(members) or 'none'}."
            )
        return {name: _array(path, file, members[name]) for name in wanted}

    return _reading(path, read)


def _reading(path: Path, read: Callable[[zipfile.ZipFile], Any]) -> Any:
    require_file(path)
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(path) as file:
            warnings.simplefilter("ignore")
            return read(file)
    except UserError:
        raise
    except Exception as error:  # a damaged zip or header raises errors of every kind
        raise UserError(
            f"{path}: cannot be read as .npz ({reason(error)}); it may be cut short or damaged: fetch or"
            " save it anew."
        ) from error


def _key(member: str) -> str:
    return member.removesuffix(".npy")


def _array(path: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with file.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(member)
        if dtype.hasobject:
            raise UserError(
                f"{path}: its array {_key(info.filename)} holds Python objects, which are never"
                " unpickled; save it as numbers or strings."
            )
        size = math.prod(shape) * dtype.itemsize
        if size != info.file_size - member.tell() or size > DEFLATED * os.path.getsize(path):
            raise UserError(
                f"{path}: the header of {_key(info.filename)} promises {_shape(shape)} of {dtype},"
                f" {size:,} bytes, which are not there; it is damaged: fetch or save it anew."
            )
    require_memory(size, f"{path}: {_shape(shape)} of {dtype}", "read a part of it")
    with file.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one value"

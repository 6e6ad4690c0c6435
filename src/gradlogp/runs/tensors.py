"""Tensors and a JSON note in one safetensors file that certifies itself.

A safetensors file is: eight bytes with the header's length, the header (JSON: name -> dtype, shape,
place; notes under `__metadata__`), the numbers. Among the notes is the SHA-256 of the whole file,
taken with zeros in the digest's own place: every byte counts, the names and the note as much as the
numbers. Other safetensors readers read it as well.

Format: https://huggingface.co/docs/safetensors, section Format.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlogp import __version__
from gradlogp.core.files import read_bytes, replacing
from gradlogp.runs.files import Damaged, from_json, plain

if TYPE_CHECKING:  # torch takes seconds to import, and most of a run folder is text
    from torch import Tensor

FORMAT = "1"
ZEROS = "0" * 64
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "complex64": "C64",
    "bool": "BOOL",
}
DTYPES |= {
    f"{kind}int{bits}": f"{kind or 'i'}{bits}".upper()
    for kind in ("", "u")
    for bits in (8, 16, 32, 64)
}


def write(
    path: str | Path, tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any] | None = None
) -> None:
    """Write the tensors, from any device, and a note that JSON can hold; the file is replaced in
    one step.

    Raises UserError, and leaves what was there, where the system refuses; ValueError for a dtype
    without a name.
    """
    # wide numbers first, so that each tensor's place is a multiple of its item size
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    head = _head({name: tensors[name] for name in order}, meta or {})
    parts = [_bytes(tensors[name]) for name in order]
    digest = hashlib.sha256(head)
    for part in parts:
        digest.update(part)
    with replacing(Path(path)) as file:
        file.write(head.replace(ZEROS.encode(), digest.hexdigest().encode(), 1))
        for part in parts:
            file.write(part)


def _head(tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any]) -> bytes:
    notes = {
        "sha256": ZEROS,
        "format": "pt",
        "gradlogp_format": FORMAT,
        "gradlogp_version": __version__,
    }
    head: dict[str, Any] = {"__metadata__": {**notes, "meta": json.dumps(plain(meta))}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        head[name] = {
            "dtype": _dtype(name, tensor),
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _dtype(name: str, tensor: "Tensor") -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES or name == "__metadata__":
        raise ValueError(
            f"{name!r} of dtype {dtype} cannot be written; the dtypes are {', '.join(DTYPES)}."
        )
    return DTYPES[dtype]


def _bytes(tensor: "Tensor") -> memoryview:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def read(path: str | Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """The tensors, on the CPU, and the note. Raises Damaged unless every byte is as it was written,
    and is what a safetensors file is made of.
    """
    path = Path(path)
    data = read_bytes(path)
    meta = _verify(path, data)

    from safetensors.torch import load

    try:
        return load(data), meta
    except Exception as error:  # a header with a right digest may say anything
        raise Damaged(f"{path} is no safetensors file: {' '.join(str(error).split())}.") from error


def _verify(path: Path, data: bytes) -> dict[str, Any]:
    size = 8 + int.from_bytes(data[:8], "little")
    if len(data) < size:
        raise Damaged(
            f"{path} is damaged, or no safetensors file: its {len(data)} bytes end within the"
            " header."
        )
    try:
        notes = json.loads(data[8:size])["__metadata__"]
        version = notes["gradlogp_format"]
        digest = notes["sha256"].encode()
        note = notes["meta"] + ""
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(
            f"{path} is damaged, or was not written by gradlogp: its header cannot be read."
        ) from error
    if version != FORMAT:
        raise Damaged(
            f"{path} has format {ascii(version)[:20]}; this gradlogp {__version__} reads format"
            f" {FORMAT!r}: get the other one."
        )
    found = hashlib.sha256(data[:size].replace(digest, ZEROS.encode(), 1))
    found.update(memoryview(data)[size:])
    if found.hexdigest().encode() != digest:
        raise Damaged(
            f"{path} is damaged: its {len(data)} bytes do not have the digest that was written with"
            " them."
        )
    meta = from_json(path, note)
    if not isinstance(meta, dict):
        raise Damaged(f"{path} is damaged: its note should be an object.")
    return meta

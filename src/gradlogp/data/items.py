"""Whatever yields examples, as one tensor: arrays, PyTorch and Hugging Face data sets, generators.

    items -> (x, label, caption) each -> x (n, *shape), labels (n,), captions

An item is a tensor, an array, a PIL picture, a pair (x, label), or a dictionary whose keys are
those that people use (`image`, `pixel_values`, `audio`, `x`; `label`, `y`; `caption`, `text`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.picture import fit

VALUES = ("image", "img", "pixel_values", "audio", "x", "X", "samples", "features", "data")
LABELS = ("label", "labels", "y", "Y", "target", "class")
CAPTIONS = ("caption", "captions", "text", "name")


@dataclass(frozen=True)
class Stack:
    """Examples as they go into a split: `kind` is None where the shape does not say."""

    x: Tensor
    labels: Tensor | None
    captions: tuple[str, ...] | None
    max_value: int
    kind: str


def stack(name: str, items: Any, kind: str | None = None) -> Stack:
    """The examples that `items` holds or yields. Raises UserError, by `name`, where they are of
    unlike shapes, not finite, or of no kind that is known.
    """
    x, labels, captions = _columns(name, items)
    kind = kind or ("caption" if captions else guessed(name, tuple(x.shape)))
    x, max_value = arranged(name, x, kind)
    if labels is not None and labels.shape != x.shape[:1]:
        raise UserError(
            f"{name}: expected a label for each of {len(x)} examples, got {list(labels.shape)}."
        )
    return Stack(x, labels, captions, max_value, kind)


def guessed(name: str, shape: tuple[int, ...]) -> str:
    """The kind of examples that such a shape is likely to hold."""
    if len(shape) == 3 and shape[1] <= 2:
        return "waveform"
    kinds = {2: "row", 3: "picture", 4: "picture", 5: "volume"}
    if len(shape) not in kinds:
        raise UserError(
            f"{name}: expected rows (n, d), pictures (n, h, w) or (n, c, h, w), waveforms (n, 1,"
            f" length) or volumes (n, 1, d, h, w), got {list(shape)}."
        )
    return kinds[len(shape)]


DIMENSIONS = {"row": 2, "waveform": 3, "volume": 5}  # of a tensor of examples, beside pictures


def arranged(name: str, x: Tensor, kind: str) -> tuple[Tensor, int]:
    """(x in the shape of its kind, the value that becomes 1). Raises UserError where it cannot be.

    Pictures may have their channels last or none; bytes stay bytes, floats must lie in [0, 1].
    """
    if not len(x) or x.is_complex():
        raise UserError(f"{name}: expected examples of real numbers, got {list(x.shape)}.")
    if x.is_floating_point() and not x.isfinite().all():
        bad = int((~x.flatten(1).isfinite().all(1)).sum())
        raise UserError(f"{name}: {bad:,} of {len(x):,} examples hold NaN or infinity.")
    if kind in ("picture", "caption"):
        return _pictures(name, x)
    if kind not in DIMENSIONS:  # a kind of one's own stands as it is
        return x.float(), 1
    dims = DIMENSIONS[kind]
    x = x[:, None] if kind != "row" and x.ndim == dims - 1 else x
    if x.ndim != dims:
        raise UserError(f"{name}: expected a {kind} an example, got shape {list(x.shape[1:])}.")
    if kind == "volume":
        if not ((x == 0) | (x == 1)).all():
            raise UserError(f"{name}: expected volumes of cells 0 and 1, got others.")
        return x.byte(), 1
    x = x.double() if x.dtype == torch.float64 or not x.is_floating_point() else x.float()
    if kind == "waveform" and float(x.abs().max()) > 1:
        raise UserError(
            f"{name}: expected waveforms in [-1, 1], got {float(x.min()):g} to {float(x.max()):g};"
            " divide by the largest value of their format (32768 for 16 bits)."
        )
    return (x.float() if kind == "waveform" else x), 1


def _pictures(name: str, x: Tensor) -> tuple[Tensor, int]:
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.permute(0, 3, 1, 2).contiguous()
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise UserError(
            f"{name}: expected grey or RGB pictures (n, 1 or 3, h, w), got {list(x.shape)}."
        )
    low, high = float(x.min()), float(x.max())
    if not x.is_floating_point() and low >= 0 and high <= 255:
        return x.byte(), 255
    if not x.is_floating_point() or low < 0 or high > 1:
        raise UserError(
            f"{name}: expected pictures of bytes 0..255, or of floats in [0, 1], got {x.dtype} from"
            f" {low:g} to {high:g}; undo what scaled them."
        )
    return x.float(), 1


def _columns(name: str, items: Any) -> tuple[Tensor, Tensor | None, tuple[str, ...] | None]:
    if isinstance(items, tuple) and len(items) == 2 and all(map(_is_array, items)):
        return _tensor(name, items[0]), _integers(name, items[1]), None
    if isinstance(items, Mapping) and any(_is_array(v) for v in items.values()):
        return _of_mapping(name, items)
    if _is_array(items):
        return _tensor(name, items), None, None
    rows = [_item(name, i, item) for i, item in enumerate(_each(name, items))]
    if not rows:
        raise UserError(f"{name}: there are no examples.")
    x = _stacked(name, [row[0] for row in rows])
    labels = [row[1] for row in rows]
    captions = [row[2] for row in rows]
    _all_or_none(name, "label", labels)
    _all_or_none(name, "caption", captions)
    return (
        x,
        None if labels[0] is None else _integers(name, np.array(labels)),
        None if captions[0] is None else tuple(map(str, captions)),
    )


def _of_mapping(
    name: str, items: Mapping[str, Any]
) -> tuple[Tensor, Tensor | None, tuple[str, ...] | None]:
    """Columns of a table of arrays."""
    labels, captions = _first(items, LABELS), _first(items, CAPTIONS)
    return (
        _tensor(name, _required(name, items)),
        None if labels is None else _integers(name, labels),
        None if captions is None else tuple(map(str, captions)),
    )


def _each(name: str, items: Any) -> Iterator[Any]:
    """One by one: a PyTorch data set need have no more than a length and an index."""
    if hasattr(items, "__len__") and hasattr(items, "__getitem__"):
        return (items[i] for i in range(len(items)))
    if isinstance(items, Iterable):
        return iter(items)
    raise UserError(
        f"{name}: expected arrays, a data set or something to iterate, got {type(items).__name__}."
    )


def _item(name: str, i: int, item: Any) -> tuple[Any, Any, Any]:
    """(x, label or None, caption or None) of one item."""
    if isinstance(item, Mapping):
        x = _required(f"{name}, example {i}", item)
        x = x["array"] if isinstance(x, Mapping) and "array" in x else x
        return _value(x), _scalar(_first(item, LABELS)), _first(item, CAPTIONS)
    if isinstance(item, (tuple, list)) and len(item) == 2:
        x, second = item
        is_text = isinstance(second, str)
        return _value(x), None if is_text else _scalar(second), second if is_text else None
    return _value(item), None, None


def _value(x: Any) -> Any:
    if isinstance(x, Image.Image):
        channels = 1 if x.mode in ("1", "L", "I;16", "I") else 3
        return (fit(x, (channels, x.height, x.width))[0] * 255).round().byte()
    return x


def _scalar(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _stacked(name: str, values: Sequence[Any]) -> Tensor:
    tensors = [_tensor(f"{name}, example {i}", value) for i, value in enumerate(values)]
    if any(t.ndim == 3 and len(t) == 3 for t in tensors):  # grey ones among RGB
        tensors = [t.expand(3, *t.shape[1:]) if t.ndim == 3 and len(t) == 1 else t for t in tensors]
    for i, tensor in enumerate(tensors):
        if tensor.shape != tensors[0].shape:
            raise UserError(
                f"{name}: example 0 has shape {list(tensors[0].shape)}, but example {i}"
                f" {list(tensor.shape)}; bring them to one shape."
            )
    return torch.stack(tensors)


def _tensor(name: str, x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x.detach().cpu()
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{name}: expected numbers, got {array.dtype} of {type(x).__name__}.")
    narrow = array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array
    return torch.from_numpy(np.ascontiguousarray(narrow).copy())


def _integers(name: str, labels: Any) -> Tensor:
    found = _tensor(f"{name}: labels", labels)
    flat = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
    if flat.ndim != 1 or (flat != flat.round() if flat.is_floating_point() else flat < 0).any():
        raise UserError(
            f"{name}: expected labels 0, 1, ... one for each example, got {list(found.shape)} of"
            f" {found.dtype}."
        )
    if (flat < 0).any():
        raise UserError(f"{name}: expected labels 0, 1, ..., got {int(flat.min())}.")
    return flat.long()


def _all_or_none(name: str, what: str, values: Sequence[Any]) -> None:
    lost = [i for i, value in enumerate(values) if value is None]
    if lost and len(lost) < len(values):
        raise UserError(f"{name}: example {lost[0]} has no {what}, but others have.")


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, Tensor)) and x.ndim > 0


def _required(name: str, item: Mapping[str, Any]) -> Any:
    x = _first(item, VALUES)
    if x is None:
        raise UserError(
            f"{name}: expected one of {', '.join(VALUES)} among its keys, found"
            f" {', '.join(map(str, item))}."
        )
    return x


def _first(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if key in item and item[key] is not None), None)

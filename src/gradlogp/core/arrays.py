"""The one door for numbers that people hand over: tensors, numpy arrays and lists of any real type.

x = real(x, "x")        a tensor without a graph, its type kept
x = finite(x, "x")      the same in float64, and no NaN or inf among its rows
"""

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gradlogp.core.errors import UserError

Numbers: TypeAlias = Tensor | ArrayLike  # of whatever shape the docstring says


def real(x: Numbers, name: str) -> Tensor:
    """`x` as a tensor without its graph; UserError for complex numbers and for what is no array of
    numbers.
    """
    found = x.detach() if isinstance(x, Tensor) else _from_numpy(x, name)
    if found.is_complex():
        raise UserError(
            f"`{name}` needs real numbers, but holds {found.dtype}; pass its real and imaginary"
            " parts as columns, or x.abs()."
        )
    return found


def finite(x: Numbers, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """`x` in `dtype` without its graph; UserError where it is empty, or holds NaN, inf or numbers
    that `dtype` cannot.
    """
    found = real(x, name)
    if found.numel() == 0:
        raise UserError(
            f"`{name}` needs at least one example, but has shape {list(found.shape)}; pass some."
        )
    found = double(found) if dtype == torch.float64 else found.to(dtype)
    if math.isfinite(float(found.sum())):  # cheap; a sum that is too large gets the dear look
        return found
    rows = found.reshape(len(found) if found.ndim else 1, -1)
    if bad := int((~rows.isfinite()).any(1).sum()):
        raise UserError(
            f"`{name}` needs finite numbers, but {bad} of {len(rows)} examples hold NaN, inf or more"
            f" than {dtype} can; look for a diverged sampler, or drop those examples and say so."
        )
    return found


def double(x: Tensor) -> Tensor:
    """`x` in float64, in which sums are taken; on the CPU where its device has none."""
    return x.to("cpu" if x.device.type == "mps" else x.device, torch.float64)


def _from_numpy(x: Any, name: str) -> Tensor:
    try:
        array = np.array(x)  # a copy: torch takes neither read-only nor reversed memory
    except (ValueError, TypeError) as error:
        raise UserError(f"`{name}` needs an array of numbers, but {error}; pass one.") from error
    if array.dtype.kind not in "biufc":
        raise UserError(
            f"`{name}` needs an array of numbers, but holds {array.dtype}; turn its columns into"
            " numbers."
        )
    wide = {"f": np.float64, "u": np.int64}.get(array.dtype.kind)
    known = array.dtype.name in ("uint8", "float16", "float32", "float64")
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(array.astype(native if wide is None or known else wide))

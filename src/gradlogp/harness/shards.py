"""Samples that were drawn in parts, by processes that knew nothing of each other, as one again.

    part 1 of m, ..., part m of m  ->  x [n, *shape], their classes [n]

Sample i of a run is decided by the seed and i, so parts side by side are, to the bit, what one
process draws; and so is whatever is measured of them, in the order of the numbers in their names.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data.npz import npz_names, read_npz
from gradlogp.harness.recipe import DataSpec

SAMPLES, LABELS = "samples", "labels"


def gathered(paths: Sequence[Path], spec: DataSpec) -> tuple[Tensor, Tensor | None]:
    """The samples [n, *shape] of .npz files that `gradlogp sample` wrote, in the data's own range,
    and the classes that were asked for, where all files have them.

    Raises UserError for samples of another shape than the run's or of whole numbers, and for the
    same file twice.
    """
    ordered = sorted((path.resolve() for path in paths), key=in_order)
    twice = next((one for one, two in pairwise(ordered) if one == two), None)
    if twice:
        raise UserError(f"{twice} is given twice; name each file of samples once.")
    parts = [read_npz(path, npz_names(path)) for path in ordered]
    for path, part in zip(ordered, parts, strict=True):
        _check(path, part, spec)
    x = torch.cat([torch.from_numpy(part[SAMPLES]) for part in parts])
    if not all(LABELS in part for part in parts):
        return x, None
    return x, torch.cat([torch.from_numpy(part[LABELS]) for part in parts])


def in_order(path: Path) -> tuple[list[str], list[int], str]:
    """part-2.npz before part-10.npz."""
    words = re.split(r"(\d+)", str(path))
    return words[::2], [int(number) for number in words[1::2]], str(path)


def _check(path: Path, part: Mapping[str, np.ndarray], spec: DataSpec) -> None:
    shape = list(part[SAMPLES].shape) if SAMPLES in part else []
    if shape[1:] != list(spec.shape) or not shape[0]:
        raise UserError(
            f"{path}: expected `{SAMPLES}` of shape [n, {', '.join(map(str, spec.shape))}], got"
            f" {shape or 'none'}; take the files that `gradlogp sample` wrote of this run."
        )
    if part[SAMPLES].dtype.kind != "f":
        raise UserError(
            f"{path}: expected numbers in floating point, got {part[SAMPLES].dtype}; take the files"
            " that `gradlogp sample` wrote of this run."
        )

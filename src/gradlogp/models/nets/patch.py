r"""Patches into channels and back: [B, C, *sizes] <-> [B, C p^n, *(sizes / p)], so that
convolutions run at a p-th of every size.

Reference: Shi et al. (2016), Real-Time Single Image and Video Super-Resolution, arXiv 1609.05158
(sub-pixel convolution).
"""

from collections.abc import Sequence

from torch import Tensor


def fold(x: Tensor, patch: int) -> Tensor:
    """[B, C, *sizes] -> [B, C * patch^n, *(sizes / patch)]: each patch becomes channels."""
    n = x.ndim - 2
    for axis in range(2, 2 + 2 * n, 2):
        x = x.unflatten(axis, (-1, patch))
    inner = list(range(3, 3 + 2 * n, 2))
    outer = list(range(2, 2 + 2 * n, 2))
    return x.permute(0, 1, *inner, *outer).flatten(1, 1 + n)


def unfold(x: Tensor, patch: int) -> Tensor:
    """The inverse of `fold`."""
    n = x.ndim - 2
    x = x.unflatten(1, (-1, *[patch] * n))
    order = [axis for i in range(n) for axis in (2 + n + i, 2 + i)]
    x = x.permute(0, 1, *order)
    for axis in range(2, 2 + n):
        x = x.flatten(axis, axis + 1)
    return x


def padding(sizes: Sequence[int], patch: int) -> list[int]:
    """What F.pad must add behind each of `sizes` to make it a multiple of `patch`."""
    return [p for s in reversed(sizes) for p in (0, -s % patch)]

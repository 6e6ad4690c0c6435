"""Nearest neighbours by brute force, in blocks: |x - y|^2 = |x|^2 - 2 x.y + |y|^2, one matrix
product.
"""

import torch
from torch import Tensor


def nearest(x: Tensor, among: Tensor, k: int, block: int = 1000) -> Tensor:
    """The distances from each x [B, *shape] to its k nearest `among` [n, *shape], nearest first,
    [B, min(k, n)].

    Differences far below the size of x itself drown in rounding: centre the data first.
    """
    among = among.flatten(1)
    squared, k = among.square().sum(1), min(k, len(among))

    def of(x: Tensor) -> Tensor:
        gaps = torch.addmm(squared[None], x, among.T, alpha=-2).topk(k, 1, largest=False).values
        return (gaps + x.square().sum(1, keepdim=True)).clamp(min=0).sqrt()

    return torch.cat([of(part) for part in x.flatten(1).split(block)])

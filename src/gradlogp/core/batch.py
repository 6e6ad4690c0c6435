"""What a learner is fed: examples `x` of shape [B, *shape] and, where there is one, a condition
`cond`: class numbers [B], or the tokens of captions [B, L].
"""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    x: Tensor
    cond: Tensor | None = None

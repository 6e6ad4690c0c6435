"""Where the weights of a run lie: whole in every process, or cut over them (`sharded`).

What an update does with weights that depends on it is asked of a layout: to compute a loss, to clip
gradients, to gather what is written and to cut what is read.

References: Rajbhandari et al. (2020), ZeRO: Memory Optimizations Toward Training Trillion Parameter
Models, arXiv 1910.02054 (what of a training is replicated, and what need not be).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Whole:
    """Every process holds all weights."""

    def inside(self, work: Callable[[], T]) -> T:
        """What `work` gives, where the network may be called."""
        return work()

    def unsummed(self, learned: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of `learned` whose gradients backward has not summed over the processes."""
        return learned

    def clip(self, learned: Sequence[Tensor], limit: float) -> Tensor:
        """Scale the gradients of all processes to a norm of at most `limit`; returns the norm
        before.
        """
        return nn.utils.clip_grad_norm_(learned, limit)

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole tensors, on rank 0 at least; called by all processes, or by none."""
        return dict(tensors)

    def cut(self, tensors: Mapping[str, Tensor], mine: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors laid out as `mine` of the same names; no process waits for another."""
        return dict(tensors)

    def finite(self, tensors: Iterable[Tensor]) -> bool:
        """Whether the numbers that this process holds are finite."""
        return all(bool(torch.isfinite(x).all()) for x in tensors)

    def refresh(self, average: nn.Module) -> None:
        """Bring `callable` up to date; called by all processes, or by none."""

    def callable(self, average: nn.Module) -> nn.Module:
        """`average` as a network that rank 0 can call alone."""
        return average

"""Where the chains of contrastive divergence begin: at data, at noise, in a replay buffer, or at a
proposal.

| start | the method it makes | |---|---| | `FromData` | CD-k: Hinton (2002), Training Products of
Experts by Minimizing Contrastive Divergence | | `FromNoise` | short-run maximum likelihood: Nijkamp
et al. (2019), arXiv 1904.09770 | | `FromBuffer` | persistent CD with restarts: Du & Mordatch
(2019), arXiv 1903.08689 | | `FromProposal` | any generator in front: a flow, a VAE, a mixture
fitted to the data |
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.random import check_generator, together
from gradlogp.objectives.buffer import Noise, ReplayBuffer


class Start(NamedTuple):
    """x [B, *shape] and cond [B] of the chains before their first step; slots [B] where they came
    from a buffer, and the randomness that chose them.
    """

    x: Tensor
    cond: Tensor | None
    slots: Tensor | None = None
    chance: Any = None


class Starts(abc.ABC):
    by_example: ClassVar[bool] = True  # see `Objective.by_example`

    @abc.abstractmethod
    def draw(self, batch: Batch, generator: Generator) -> Start: ...

    def keep(self, start: Start, x: Tensor) -> None:
        """Told where the chains of `start` ended, x [B, *shape]."""
        return

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        return


@final
class FromData(Starts):
    def draw(self, batch: Batch, generator: Generator) -> Start:
        return Start(batch.x, batch.cond)


@final
@dataclass(frozen=True)
class FromNoise(Starts):
    noise: Noise

    def draw(self, batch: Batch, generator: Generator) -> Start:
        x = self.noise(torch.empty_like(batch.x), check_generator(generator))
        return Start(x, batch.cond)


@final
@dataclass(frozen=True)
class FromProposal(Starts):
    """`propose(batch, generator)` gives x [B, *shape]."""

    by_example: ClassVar[bool] = False
    propose: Callable[[Batch, Generator], Tensor]

    def draw(self, batch: Batch, generator: Generator) -> Start:
        return Start(self.propose(batch, generator), batch.cond)


@final
@dataclass(frozen=True)
class FromBuffer(Starts):
    buffer: ReplayBuffer = field(repr=False)

    def draw(self, batch: Batch, generator: Generator) -> Start:
        draw = self.buffer.draw(len(batch.x), generator)
        return Start(draw.x, draw.cond, draw.slots, generator)

    def keep(self, start: Start, x: Tensor) -> None:
        assert start.slots is not None
        slots, ends = together(start.slots, start.chance), together(x, start.chance)
        self.buffer.put(slots, ends)

    def state(self) -> dict[str, Tensor]:
        return self.buffer.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.buffer.load(state)

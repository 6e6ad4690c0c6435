"""The replay buffer of persistent contrastive divergence: chains that go on from one update to the
next.

Each slot holds one chain. A draw takes distinct slots; a share `restart_prob` of them starts anew
from noise; what the sampler makes of them is written back to the *same* slots, so a chain is never
lost by a copy of another and its ancestry lasts. With classes, each slot keeps its class for ever:
the shares of the classes among the chains are those given.

References: Tieleman (2008), Training RBMs using Approximations to the Likelihood Gradient
(persistent chains); Du & Mordatch (2019), arXiv 1903.08689 (replay buffer, 5 % restarts).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import column
from gradlogp.core.random import check_generator, distinct, uniform_, whole

Noise = Callable[[Tensor, Generator], Tensor]  # fills a tensor [n, *shape] in place


class Draw(NamedTuple):
    """slots [n], the chains there x [n, *shape], their classes cond [n], and which of them were
    started anew [n].
    """

    slots: Tensor
    x: Tensor
    cond: Tensor | None
    restarted: Tensor


class ReplayBuffer:
    """`capacity` chains of `shape`, on `device`, all begun from `noise`."""

    def __init__(
        self,
        capacity: int,
        shape: Sequence[int],
        noise: Noise,
        generator: Generator,
        restart_prob: float = 0.05,
        classes: Tensor | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        if capacity < 1 or not 0 <= restart_prob <= 1:
            raise ValueError(
                f"a buffer needs capacity >= 1 and a share `restart_prob` in [0, 1], got {capacity} and"
                f" {restart_prob}."
            )
        self.restart_prob = restart_prob
        self.noise = noise
        self.x = noise(torch.empty(capacity, *shape, device=device, dtype=dtype), generator)
        self.cond: Tensor | None = None
        if (
            classes is not None
        ):  # the class of each slot, dealt out in turn from a list with the wanted shares
            self.cond = classes[torch.arange(capacity) % len(classes)].to(device)

    @classmethod
    def of(cls, chains: Tensor) -> "ReplayBuffer":
        """The chains [n, *shape] as they are, never started anew."""
        return cls(
            len(chains),
            chains.shape[1:],
            lambda x, _: x.copy_(chains),
            Generator(),
            0.0,
            None,
            chains.device,
            chains.dtype,
        )

    def __len__(self) -> int:
        return len(self.x)

    def draw(self, n: int, generator: Generator) -> Draw:
        if (total := whole(n, generator)) > len(self):
            raise ValueError(
                f"a buffer of {len(self)} chains cannot give {total} distinct ones; "
                "raise its capacity or lower the batch size."
            )
        check_generator(generator)
        slots = distinct(n, len(self), generator, self.x.device)
        x = self.x[slots]
        if self.restart_prob == 0:
            return Draw(
                slots,
                x,
                None if self.cond is None else self.cond[slots],
                torch.zeros_like(slots, dtype=torch.bool),
            )
        draws = torch.empty(n, device=self.x.device, dtype=torch.float32)
        restarted = uniform_(draws, generator) < self.restart_prob
        started = self.noise(torch.empty_like(x), generator)
        x = torch.where(column(restarted, x), started, x)
        return Draw(slots, x, None if self.cond is None else self.cond[slots], restarted)

    def put(self, slots: Tensor, x: Tensor) -> None:
        self.x[slots] = x.detach()

    def state(self) -> dict[str, Tensor]:
        return {"x": self.x} | ({} if self.cond is None else {"cond": self.cond})

    def load(self, state: dict[str, Tensor]) -> None:
        if state["x"].shape != self.x.shape:
            raise ValueError(
                f"expected a buffer of shape {list(self.x.shape)}, got {list(state['x'].shape)}; "
                "resume with the settings that the run was begun with."
            )
        self.x.copy_(state["x"])
        if self.cond is not None:
            self.cond.copy_(state["cond"])

"""One objective after another: a warm-up that is cheap, and then the one that is meant.

Contrastive divergence may begin at weights that multi-scale denoising score matching has brought
near the data, and in energy matching at those of a flow.

References: Balcerak et al. (2025), Energy Matching, arXiv 2504.10612, section 3 (a flow first); Li,
Chen & Sommer (2019), arXiv 1910.07762 (energies by score matching).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.objectives.base import Asks, Loss, Objective


@final
@dataclass
class WarmedUp(Objective):
    """`first` for so many `updates`, and `then` for the rest; the updates made are its memory."""

    first: Objective
    then: Objective
    updates: int
    made: int = 0

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        now = self.first if self.made < self.updates else self.then
        self.made += 1
        return now(model, batch, generator)

    @property
    def by_example(self) -> bool:
        return self.first.by_example and self.then.by_example

    def asks(self, model: Any) -> Asks:
        """The dearer of the two."""
        asked = self.first.asks(model), self.then.asks(model)
        return max(asked, key=("once", "chains", "twice").index)

    def parameters(self) -> Iterator[nn.Parameter]:
        yield from self.first.parameters()
        yield from self.then.parameters()

    def state(self) -> dict[str, Tensor]:
        parts = {"first": self.first.state(), "then": self.then.state()}
        kept = {f"{part}.{name}": x for part, state in parts.items() for name, x in state.items()}
        return {"made": torch.tensor(self.made), **kept}

    def load(self, state: dict[str, Tensor]) -> None:
        self.made = int(state["made"])
        self.first.load(_under("first.", state))
        self.then.load(_under("then.", state))


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}

r"""Parallel tempering of restricted Boltzmann machines: block Gibbs at every inverse temperature of
the path of `tasks.ais.Machines`, whose every density is a machine, down to independent Gaussians.

Neighbours :math:`\beta_i > \beta_j` exchange their states with probability

.. math:: \min\bigl(1, e^{F_i(x_i) + F_j(x_j) - F_i(x_j) - F_j(x_i)}\bigr),

even pairs and odd pairs in turn. At :math:`\beta = 0` every step is an independent draw, so that
whatever crosses the ladder is a new beginning. `FromReplicas` keeps all replicas from one update to
the next: persistent contrastive divergence whose chains can leave a mode.

References: Desjardins et al. (2010), Tempered Markov Chain Monte Carlo for training of Restricted
Boltzmann Machines; Cho et al. (2011), Improved Learning of Gaussian-Bernoulli Restricted Boltzmann
Machines (from the data's own Gaussian to the machine).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Field, column
from gradlogp.core.random import Randomness, uniform_
from gradlogp.models.rbm import RBM
from gradlogp.objectives.starts import Start, Starts
from gradlogp.samplers.block import BlockGibbs, bipartite
from gradlogp.tasks.ais import Machines, linear


class Replicas(NamedTuple):
    """Replicas [R, B, *shape], those of beta = 1 first, and the steps taken."""

    replicas: Tensor
    taken: int = 0

    @property
    def x(self) -> Tensor:
        """Those of the machine itself, [B, *shape]."""
        return self.replicas[0]


class Exchanged(NamedTuple):
    """The acceptance of the exchanges that were tried, [pairs, B]."""

    accept: Tensor


@final
@dataclass(frozen=True)
class TemperedGibbs:
    """Parallel tempering by block Gibbs, in so many equal steps of beta from 1 to 0.

    base: the parameters of the visible units at beta = 0, see `RBM.base`. The cost of a step is
    that of `rungs` + 1 steps of block Gibbs.
    """

    base: tuple[Tensor, ...]
    rungs: int = 9
    kind: ClassVar[str] = "density"

    @property
    def betas(self) -> list[float]:
        return linear(self.rungs)[::-1]

    def init(self, field: Field, x: Tensor) -> Replicas:
        return Replicas(x.expand(self.rungs + 1, *x.shape).clone())

    def step(
        self, field: Field, state: Replicas, generator: Randomness
    ) -> tuple[Replicas, Exchanged]:
        machine: Any = bipartite(field)
        bridge = Machines(machine, self.base)
        pairs = zip(self.betas, state.replicas, strict=True)
        x = torch.stack([block_step(bridge.at(beta), part, generator) for beta, part in pairs])
        accept = self._exchange(bridge, x, state.taken % 2, generator)
        return Replicas(x, state.taken + 1), Exchanged(accept)

    def _exchange(self, bridge: Machines, x: Tensor, parity: int, generator: Randomness) -> Tensor:
        """Exchanges neighbours of one parity in place; the acceptance of each pair."""
        betas, found = self.betas, []
        for i in range(parity, self.rungs, 2):
            drop = partial(bridge.drop, here=betas[i], there=betas[i + 1])
            accept = (drop(x[i]) - drop(x[i + 1])).clamp(max=0).exp()
            swap = column(uniform_(torch.empty_like(accept), generator) < accept, x[i])
            x[i], x[i + 1] = torch.where(swap, x[i + 1], x[i]), torch.where(swap, x[i], x[i + 1])
            found.append(accept)
        return torch.stack(found) if found else x.new_empty(0, x.shape[1])


def block_step(field: Field, x: Tensor, generator: Randomness) -> Tensor:
    sampler = BlockGibbs()
    state, _ = sampler.step(field, sampler.init(field, x), generator)
    return state.x


@final
class FromReplicas(Starts):
    """Chains begin at the coldest of persistent replicas, after a step of all of them.

    `machine` is the one that learns; chains [n, *shape] is where all replicas begin, and n the size
    of the batch.
    """

    by_example = False

    def __init__(self, sampler: TemperedGibbs, machine: RBM, chains: Tensor) -> None:
        self.sampler, self.machine = sampler, machine
        self.replicas = sampler.init(machine.field(), chains)

    def draw(self, batch: Batch, generator: Generator) -> Start:
        with torch.no_grad():
            self.replicas, _ = self.sampler.step(self.machine.field(), self.replicas, generator)
        return Start(self.replicas.x.clone(), batch.cond)

    def keep(self, start: Start, x: Tensor) -> None:
        self.replicas.x.copy_(x)

    def state(self) -> dict[str, Tensor]:
        return {"x": self.replicas.replicas, "taken": torch.tensor(self.replicas.taken)}

    def load(self, state: dict[str, Tensor]) -> None:
        self.replicas = Replicas(state["x"].clone(), int(state["taken"]))

r"""What a training costs on n cards: bytes of memory and seconds of communication, by a model.

With P weights, a batch of B examples of size D and a buffer of C chains, in words of 4 bytes:

.. math::
   \text{kept} = 5 P \ \big(\tfrac{5P}{n} \text{ where sharded}\big), \qquad
   \text{at work} = \tfrac Bn A + G, \qquad
   \text{buffer} = C D ,

5 P being weights, gradients, two moments of Adam and the average. A is what an example leaves for
backward. G is what lies there only while a step is made: P for the message of the gradients; where
the weights are sharded, those that are gathered and their gradients, each beside its message, which
is 4 P where a loss asks twice, 2 P + 4 L in chains and 8 L otherwise, with L the weights of the
largest layer: that and the next. A step sends, for each card,

.. math:: \tfrac{2(n-1)}n (P + B D) \quad\text{or, sharded,}\quad \tfrac{n-1}n (a P + P) + \tfrac{2(n-1)}n B D

words: the all_reduce of gradients and of the chains that are put back; the a gatherings of weights
and the reduce_scatter of gradients. A message of b bytes takes :math:`\text{latency} + b /
\text{bandwidth}`.

References: Thakur et al. (2005), Optimization of Collective Communication Operations in MPICH (what
a card sends in a ring); Rajbhandari et al. (2020), ZeRO, arXiv 1910.02054 (what is kept).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gradlogp.core.random import from_seed
from gradlogp.models import ConvEnergy, ResidualEnergy, unet_noisy_energy, unet_score
from gradlogp.objectives import Asks
from gradlogp.training.sharded import layers

WORD = 4
GATHERINGS: dict[Asks, int] = {"once": 2, "chains": 1, "twice": 1}  # of all weights, in a step
KEPT = ("weights", "gradients", "moment", "moment", "average")


@final
@dataclass(frozen=True)
class Load:
    """What a training is made of: `weights` P, in the largest `layer` L; `activations` of an example
    in bytes; its `flops`, of a step with all its passes; `size` D; and `chains` C, none without a
    buffer.
    """

    weights: int
    layer: int
    batch: int
    size: int
    activations: int = 0
    flops: int = 0
    chains: int = 0
    asks: Asks = "once"

    def memory(self, cards: int, sharded: bool) -> dict[str, float]:
        """Bytes on each card, by what they hold."""
        share = 1 / cards if sharded else 1.0
        return {
            "kept": len(KEPT) * self.weights * WORD * share,
            "for a moment": self._passing(sharded) * WORD if cards > 1 else 0.0,
            "activations": self.activations * self.batch / cards,
            "buffer": self.chains * self.size * WORD,
        }

    def _passing(self, sharded: bool) -> int:
        if not sharded:
            return self.weights
        layers, all_ = self.layer, self.weights
        return {"once": 8 * layers, "chains": 2 * all_ + 4 * layers, "twice": 4 * all_}[self.asks]

    @property
    def checkpoint(self) -> int:
        """Bytes of weights, moments and average, and of the buffer."""
        return ((len(KEPT) - 1) * self.weights + self.chains * self.size) * WORD

    def sent(self, cards: int, sharded: bool) -> float:
        """Bytes that each card sends in a step."""
        ring = (cards - 1) / cards
        chains = 2 * ring * self.batch * self.size if self.chains else 0.0
        if not sharded:
            return WORD * (2 * ring * self.weights + chains)
        return WORD * (ring * (GATHERINGS[self.asks] + 1) * self.weights + chains)


@final
@dataclass(frozen=True)
class Wires:
    """`cards` that are joined so: bytes a second for each, seconds before a message, and the flops a
    second that a card reaches.
    """

    cards: int
    says: str
    bandwidth: float
    latency: float
    flops: float = 1e14

    def seconds(self, load: Load, sharded: bool) -> tuple[float, float]:
        """Of work and of communication in a step, one after the other."""
        messages = 0 if self.cards == 1 else 1 + bool(load.chains)
        talk = messages * self.latency + load.sent(self.cards, sharded) / self.bandwidth
        return load.batch * load.flops / self.cards / self.flops, talk


WIRES = (
    Wires(1, "one card", 1.0, 0.0),
    Wires(8, "one machine, 300 GB/s for each card", 3e11, 2e-5),
    Wires(64, "8 machines, 40 GB/s for each card", 4e10, 1e-4),
)


@final
@dataclass(frozen=True)
class Planned:
    """A network and how it is trained: passes forward in `steps` of chains, each with its gradient
    in x.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int
    asks: Asks
    levels: bool = True
    steps: int = 0
    chains: int = 0

    def load(self) -> Load:
        weights, layer, activations, forward = weighed(self.build, self.shape, self.levels)
        # forward, and twice as much backward; slopes in x first where it is asked twice
        passes = {"once": 3, "chains": 2 * (3 + self.steps), "twice": 9}[self.asks]
        kept = {"once": 1, "chains": 2, "twice": 3}[self.asks]
        size = torch.Size(self.shape).numel()
        return Load(
            weights,
            layer,
            self.batch,
            size,
            kept * activations,
            passes * forward,
            self.chains,
            self.asks,
        )


def weighed(
    build: Callable[[], nn.Module], shape: tuple[int, ...], levels: bool
) -> tuple[int, int, int, int]:
    """The weights of a network and of its largest layer, the bytes that an example leaves for
    backward, and the flops of its pass; nothing is computed.
    """
    with torch.device("meta"):
        model = from_seed(0, build)
        words = [torch.ones(1, *shape), *([torch.ones(1)] if levels else [])]
    kept: dict[int, int] = {}
    own = {p.untyped_storage()._cdata for p in model.parameters()}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return x

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
        FlopCounterMode(display=False) as flops,
    ):
        words[0].requires_grad_(True)
        out = model(*words)
    del out
    layer = max(numbers(part) for part in [*layers(model), nn.Module()])
    return numbers(model), layer, sum(kept.values()), flops.get_total_flops()


def numbers(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


PLANS = (
    Planned("score, MNIST (quick)", lambda: unet_score((1, 28, 28), 0.5), (1, 28, 28), 64, "once"),
    Planned(
        "energy in chains, MNIST (quick)",
        lambda: ConvEnergy((1, 28, 28)),
        (1, 28, 28),
        64,
        "chains",
        False,
        20,
        1_024,
    ),
    Planned(
        "score, CIFAR-10, wide",
        lambda: unet_score((3, 32, 32), 0.5, (128, 256, 256), 3, 1),
        (3, 32, 32),
        512,
        "once",
    ),
    Planned(
        "energy in 60 steps, CIFAR-10, wide",
        lambda: ResidualEnergy((3, 32, 32), (128, 256, 256), 256),
        (3, 32, 32),
        512,
        "chains",
        False,
        60,
        10_000,
    ),
    Planned(
        "score, 256 x 256",
        lambda: unet_score((3, 256, 256), 0.5, (384, 768, 1536, 2304), 3, 4),
        (3, 256, 256),
        256,
        "once",
    ),
    Planned(
        "energy in 60 steps, 256 x 256",
        lambda: ResidualEnergy((3, 256, 256), (64, 128, 256, 512), 512),
        (3, 256, 256),
        256,
        "chains",
        False,
        60,
        10_000,
    ),
    Planned(
        "energy at all levels, 64 x 64",
        lambda: unet_noisy_energy((3, 64, 64), 0.5, (256, 512, 1024), 3, 2),
        (3, 64, 64),
        512,
        "twice",
    ),
)


def rows(plans: Iterable[Planned] = PLANS) -> list[dict[str, Any]]:
    """Memory and seconds of each training on each number of cards, whole and sharded."""
    return [row for plan in plans for row in _rows(plan.name, plan.load())]


def _rows(name: str, load: Load) -> Iterator[dict[str, Any]]:
    for wires in WIRES:
        for sharded in (False, True) if wires.cards > 1 else (False,):
            work, talk = wires.seconds(load, sharded)
            yield {
                "what": "plan",
                "training": name,
                "weights": load.weights,
                "batch": load.batch,
                "cards": wires.cards,
                "sharded": sharded,
                "bytes": load.memory(wires.cards, sharded),
                "sent": load.sent(wires.cards, sharded),
                "work": work,
                "talk": talk,
            }

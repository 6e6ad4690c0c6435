r"""Weights cut over the processes of a run, for networks whose training outgrows a card: each holds
its share of weights, gradients, moments and averages, and gathers weights when they are asked.

With n processes and P weights of 4 bytes, a process keeps 20 P / n bytes (weights, gradients, two
moments, the average) instead of 20 P, and at times the weights that it works with. Which those are
is decided by what a loss asks of its network:

| the loss asks | units of FSDP | whole at a time |
|---|---|---|
| once | each layer, and the rest | a layer |
| chains | each layer, and the rest | all weights, gradients of a layer |
| twice | the network | all weights and gradients |

Denoising and flow matching of a score network ask once. The chains of contrastive divergence keep
the weights gathered from their first step until backward has passed. Slopes whose own gradient is
taken (implicit, sliced and dual score matching, denoising by an energy) ask twice: a unit frees its
weights when a backward pass has gone through, and the second would need them. So there one unit is
made, whose forward is the whole loss, with the first pass within.

Only `fully_shard` of PyTorch is used here. Gradients are sums over processes, as without.

References: Zhao et al. (2023), PyTorch FSDP, arXiv 2304.11277; Rajbhandari et al. (2020), ZeRO,
arXiv 1910.02054, stage 3.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from gradlogp.core.errors import UserError
from gradlogp.objectives import Asks
from gradlogp.training.layout import Whole
from gradlogp.training.processes import Processes

T = TypeVar("T")


class Unit(nn.Module):
    """A network as the outermost unit: weights of its own are whole inside its forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], T]) -> T:
        return work()


class Sharded(Whole):
    """`model` and `average`, of the same architecture, cut in place over the processes of a run."""

    def __init__(
        self, model: nn.Module, average: nn.Module, asks: Asks, processes: Processes
    ) -> None:
        if not hasattr(FSDPModule, "set_reshard_after_forward"):
            raise UserError(
                f"--shard needs a later PyTorch than {torch.__version__}, whose FSDP keeps no weights"
                " gathered; leave it out."
            )
        self.name, self.asks, self.main = type(model).__name__, asks, processes.main
        self.whole = copy.deepcopy(average) if self.main else None
        device = next(model.parameters()).device
        mesh = init_device_mesh(device.type, (processes.world,))
        self.unit = Unit(model)
        for module in (model, average):
            contiguous(module)
        if asks != "twice" and not tied(model):
            for layer in layers(model):
                fully_shard(layer, mesh=mesh)
        fully_shard(self.unit, mesh=mesh)
        fully_shard(average, mesh=mesh)
        self.units = [part for part in self.unit.modules() if isinstance(part, FSDPModule)]
        self.world = processes.world
        # Layers are not kept at first, so that one that is read without a call is found.
        self.keeps = self.units[:1]

    def inside(self, work: Callable[[], T]) -> T:
        try:
            found: T = self.unit(self._kept(work))
        except RuntimeError as error:
            if "DTensor" not in str(error):
                raise
            raise UserError(
                f"{self.name} reads the weights of a layer without calling it, so they cannot be"
                " sharded; call the layer, or leave out --shard."
            ) from error
        if self.asks == "chains":
            self.keeps = self.units
        return found

    def _kept(self, work: Callable[[], T]) -> Callable[[], T]:
        def kept() -> T:
            with gathered(self.keeps):
                return work()

        return kept

    def unsummed(self, learned: Sequence[Tensor]) -> Sequence[Tensor]:
        """Backward leaves the mean over processes of gradients of shards; here they become sums."""
        shards = [p.grad.to_local() for p in learned if isinstance(p.grad, DTensor)]
        torch._foreach_mul_(shards, self.world)
        return [p for p in learned if not isinstance(p, DTensor)]

    def clip(self, learned: Sequence[Tensor], limit: float) -> Tensor:
        asked = [p for p in learned if p.grad is not None]
        kinds = [[p for p in asked if isinstance(p, DTensor) is cut] for cut in (True, False)]
        grads = [[p.grad for p in kind if p.grad is not None] for kind in kinds if kind]
        norms = [full(nn.utils.get_total_norm(some)) for some in grads]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        for kind in kinds:
            nn.utils.clip_grads_with_norm_(kind, limit, norm)
        return norm

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for name in sorted(tensors):  # all processes ask for the same at the same time
            whole = full(tensors[name])
            if self.main:
                found[name] = whole.cpu()
        return found

    def cut(self, tensors: Mapping[str, Tensor], mine: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: share(x, mine[name]) if name in mine else x for name, x in tensors.items()}

    def finite(self, tensors: Iterable[Tensor]) -> bool:
        return super().finite(x.to_local() if isinstance(x, DTensor) else x for x in tensors)

    def refresh(self, average: nn.Module) -> None:
        found = self.gathered(average.state_dict())
        if self.whole is not None:
            self.whole.load_state_dict(found)

    def callable(self, average: nn.Module) -> nn.Module:
        return average if self.whole is None else self.whole


def contiguous(module: nn.Module) -> None:
    """Weights in the order of their axes, which shards are cut in."""
    for p in module.parameters():
        p.data = p.data.contiguous()


def layers(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost members of lists and sequences that hold weights and are called themselves."""
    for child in module.children():
        listed = isinstance(module, nn.Sequential | nn.ModuleList)
        if (
            listed
            and not isinstance(child, nn.ModuleList)
            and any(True for _ in child.parameters())
        ):
            yield child
        else:
            yield from layers(child)


def tied(model: nn.Module) -> bool:
    """Whether two modules share a weight."""
    names = [list(model.named_parameters(remove_duplicate=once)) for once in (True, False)]
    return len(names[0]) != len(names[1])


@contextmanager
def gathered(units: Sequence[FSDPModule]) -> Iterator[None]:
    """All weights are there inside, and stay until a backward pass has gone through afterwards."""
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.set_reshard_after_backward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.set_reshard_after_backward(True, recurse=False)


def full(x: Tensor) -> Tensor:
    """x whole, from all shards."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def share(x: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole x, cut as `like` is."""
    if not isinstance(like, DTensor):
        return x
    mesh = like.device_mesh
    rank, x = mesh.get_local_rank(), x.contiguous()
    rows = x.chunk(mesh.size())
    local = rows[rank] if rank < len(rows) else x[:0]
    return DTensor.from_local(
        local.to(like.device), mesh, like.placements, shape=x.shape, stride=x.stride()
    )

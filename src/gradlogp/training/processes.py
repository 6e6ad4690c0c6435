r"""One run on many processes: each does its rows of the batch, and all make the same update,

.. math:: g = \sum_r \nabla_\theta \tfrac1B \sum_{b \in r} \ell_b .

The gradients are summed once, after backward, by one all_reduce of a flat buffer that holds the
logged numbers too. The model is never wrapped: `DistributedDataParallel` averages while backward
runs, and with the gradients of gradients of score matching it leaves some out, in silence.

Chance is decided by example and not by rank (`core.random.Rows`): every process draws for the whole
batch and takes its rows, so 1, 2 and 4 processes end at the same weights up to the order of sums. A
replay buffer is replicated, and the chains of all are put back everywhere; so a checkpoint holds
every rank, and a run goes on with another number of processes. Rank 0 alone writes and reads the
run folder, and tells the others; the guard judges the same numbers everywhere, so that none skips
alone.

Objectives that couple the examples of a batch (contrasts between examples, statistics of the batch)
are another objective on a part of it, and are refused.

References: Goyal et al. (2017), Accurate, Large Minibatch SGD, arXiv 1706.02677, section 3.1 (sums
over workers and the loss per worker).
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.random import Rows
from gradlogp.objectives import Objective
from gradlogp.runs import tensors as files

PATIENCE = timedelta(hours=2)  # rank 0 draws pictures while the others wait
LOOK = 0.2  # seconds between two looks at the processes
GRACE = 20.0  # seconds in which a process that is told to end makes its step and writes
BACKENDS = {"cuda": "cpu:gloo,cuda:nccl", "cpu": "gloo"}
State = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Processes:
    """This process among the `world` of those that train one run. Collectives are called by all, or
    by none.
    """

    rank: int = 0
    world: int = 1
    sharded: bool = False  # whether weights are cut over them

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.world == 1

    def part(self, batch: Batch, generator: Generator) -> tuple[Batch, Any]:
        """The rows of the batch that this process does, and their randomness."""
        if self.alone:
            return batch, generator
        total = len(batch.x)
        first, last = (total * r // self.world for r in (self.rank, self.rank + 1))
        if not last - first:
            raise UserError(
                f"a batch of {total} cannot be split over {self.world} processes; take fewer."
            )
        x, cond = batch.x[first:last], batch.cond
        rows = Rows(generator, first, last - first, total, self._together(first, total))
        return Batch(x, None if cond is None else cond[first:last]), rows

    def _together(self, first: int, total: int) -> Callable[[Tensor], Tensor]:
        def together(x: Tensor) -> Tensor:
            whole = x.new_zeros((total, *x.shape[1:]))
            whole[first : first + len(x)] = x
            self._sum(whole)
            return whole

        return together

    def mean(self, value: Tensor, total: int) -> Tensor:
        """The part of the batch's mean that comes from the loss values of this process."""
        return value.mean() if self.alone else value.sum() / total

    def meet(
        self, learned: Sequence[Tensor], loss: Tensor, info: Mapping[str, Tensor], share: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the gradients of all processes in place; returns the loss of the whole batch, and the
        means of `info`, of which `share` of the batch is this process's.
        """
        if self.alone:
            return loss, dict(info)
        grads = [p.grad for p in learned if p.grad is not None]
        numbers = torch.stack([loss.detach(), *(x.to(loss) * share for x in info.values())])
        flat = torch.cat([*(g.flatten() for g in grads), numbers])
        self._sum(flat)
        *summed, numbers = flat.split([*(g.numel() for g in grads), len(numbers)])
        for grad, found in zip(grads, summed, strict=True):
            grad.copy_(found.view_as(grad))
        return numbers[0], dict(zip(info, numbers[1:], strict=True))

    def agree(self, number: int) -> int:
        """The largest of the numbers of all; a place to wait for each other, too."""
        return self.largest(number)[0]

    def largest(self, *numbers: int) -> list[int]:
        """Each the largest of those of all."""
        if self.alone:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        _collective(dist.all_reduce, found, dist.ReduceOp.MAX)
        return [int(x) for x in found]

    def send(self, state: State) -> None:
        """Tell all others tensors and a note."""
        if self.alone:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.safetensors"
            files.write(path, *state)
            data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
        _collective(dist.broadcast, torch.tensor(len(data)), 0)
        _collective(dist.broadcast, data, 0)

    def receive(self) -> State:
        """What rank 0 sends."""
        size = torch.tensor(0)
        _collective(dist.broadcast, size, 0)
        data = torch.empty(int(size), dtype=torch.uint8)
        _collective(dist.broadcast, data, 0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.safetensors"
            path.write_bytes(data.numpy().tobytes())
            return files.read(path)

    def _sum(self, x: Tensor) -> None:
        _collective(dist.all_reduce, x)


ALONE = Processes()


class Parted(UserError):
    """Another process of this run is gone."""

    code = 2


def _collective(function: Callable[..., object], *words: Any) -> None:
    try:
        function(*words)
    except RuntimeError as error:
        raise _parted(error) from error


def _parted(error: RuntimeError) -> Parted:
    return Parted(
        "another process of this run has ended, and what it said says why; the same command goes on"
        f" from the last checkpoint ({' '.join(str(error).split())[:80]})."
    )


def check(objective: Objective, model: nn.Module, batch: int, processes: Processes) -> None:
    """Raises UserError where `processes` would not learn what one learns."""
    world = processes.world
    if world == 1:
        return
    if processes.sharded:
        check_shards(model)
    if not objective.by_example:
        raise UserError(
            f"{type(objective).__name__} couples the examples of a batch, or draws what is not decided"
            f" by example, so it cannot be split over {world} processes; train it with one."
        )
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        raise UserError(
            f"{type(model).__name__} normalises by statistics of the batch, so it cannot be split over"
            f" {world} processes; train it with one."
        )
    if batch < world:
        raise UserError(
            f"a batch of {batch} cannot be split over {world} processes; take fewer processes, or a"
            " larger training.batch."
        )


def check_shards(model: nn.Module) -> None:
    """Raises UserError for weights that cannot be cut."""
    for name, p in model.named_parameters():
        if p.ndim == 0:
            raise UserError(
                f"{name} of {type(model).__name__} is a single number, which cannot be sharded; give"
                " it the shape [1], or leave out --shard."
            )


def placed(environment: Mapping[str, str] = os.environ) -> tuple[int, int, int]:
    """(rank, world, rank on this machine), as torchrun or srun say; (0, 1, 0) by neither."""
    for names in (
        ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
    ):
        if all(name in environment for name in names):
            rank, world, local = (int(environment[name]) for name in names)
            return rank, world, local
    return 0, 1, 0


@contextmanager
def beside_others() -> Iterator[None]:
    """What PyTorch itself sends inside fails as `Parted` where another process is gone."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise _parted(error) from error
        raise


@contextmanager
def joined(device: str, shard: bool = False) -> Iterator[Processes]:
    """This process among those of its run, if torchrun or srun has begun any; with `shard` they cut
    the weights.
    """
    rank, world, _ = placed()
    if world == 1:
        yield ALONE
        return
    host, port = address()
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend(device),
        init_method=f"tcp://{host}:{port}",
        rank=rank,
        world_size=world,
        timeout=PATIENCE,
    )
    try:
        yield Processes(rank, world, shard)
    finally:
        dist.destroy_process_group()


def backend(device: str) -> str:
    """What moves tensors between processes on such a device; numbers on the CPU, by gloo anyway."""
    kind = device.partition(":")[0]
    if kind not in BACKENDS:
        raise UserError(
            f"several processes train on cpu or cuda, not on {device}; leave out --processes."
        )
    return BACKENDS[kind]


def own_device(
    device: str,
    environment: Mapping[str, str] = os.environ,
    cards: Callable[[], int] = torch.cuda.device_count,
) -> str:
    """The device of this process: of several on a machine with GPUs each takes its own. Raises
    UserError where there is none left, or one is named for all.
    """
    _, world, local = placed(environment)
    if world == 1 or not device.startswith("cuda"):
        return device
    if device != "cuda":
        raise UserError(
            f"{device} is one card, and each of {world} processes takes its own; give --device cuda."
        )
    if local >= cards():
        raise UserError(
            f"{local + 1} processes on this machine need as many cards, and it has {cards()}; take"
            " fewer --processes."
        )
    return f"cuda:{local}"


def address(environment: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Where rank 0 listens. Raises UserError where nobody says."""
    host = environment.get("MASTER_ADDR") or environment.get("SLURM_LAUNCH_NODE_IPADDR")
    port = environment.get("MASTER_PORT") or _port(environment.get("SLURM_JOB_ID"))
    if host is None or port is None:
        raise UserError(
            "the processes of a run meet where MASTER_ADDR and MASTER_PORT say; set both, or begin them"
            " by torchrun or srun."
        )
    return host, int(port)


def _port(job: str | None) -> int | None:
    """A port that the tasks of a job agree on."""
    return None if job is None else 20_000 + int(job) % 20_000


def launch(command: Sequence[str], world: int, restarts: int) -> None:
    """Run `python -m command` in `world` processes on this machine; where a signal kills one, all
    are ended and begun again from the last checkpoint, at most `restarts` times.

    Raises SystemExit with the exit code of a process that ended with an error, which has said why.
    """
    for left in reversed(range(restarts + 1)):
        code = _attempt(command, world)
        if code > 0:
            raise SystemExit(code)
        if code == 0:
            return
        name = signal.Signals(-code).name
        if left:
            print(f"one of {world} processes was killed by {name}: all begin again", flush=True)
    raise UserError(
        f"a process of the run was killed by {name}, after {restarts} restarts; if memory is short,"
        " take fewer --processes. The same command goes on."
    )


def _attempt(command: Sequence[str], world: int) -> int:
    """The first code other than 0 that one of the processes ends with; 0 where all end well."""
    threads = str(max(1, torch.get_num_threads() // world))
    shared = {"OMP_NUM_THREADS": threads, **os.environ, "WORLD_SIZE": str(world)}
    shared |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    begun = []
    try:
        for rank in range(world):
            own = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            begun.append(subprocess.Popen([sys.executable, "-m", *command], env=own))
        return _first(begun)
    except KeyboardInterrupt as stopped:
        if getattr(stopped, "signum", signal.SIGINT) != signal.SIGINT:  # which has reached all
            for process in begun:
                process.terminate()
        _wait(begun)
        raise
    finally:
        for process in begun:
            process.kill()
            process.wait()


def _first(begun: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Wait until one fails, or all are done."""
    while True:
        codes = [process.poll() for process in begun]
        bad = [code for code in codes if code]
        if bad or None not in codes:
            return min(bad, default=0)  # a kill before the errors that follow from it
        time.sleep(LOOK)


def _wait(begun: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Give them the time to make their step and to write where they are."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(process.poll() is None for process in begun):
        time.sleep(LOOK)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as any_port:
        any_port.bind(("localhost", 0))
        return int(any_port.getsockname()[1])

"""What two processes on this machine measure together: steps a second beside one process, seconds
of an all_reduce against its bytes, and the memory of a training against the model of it.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist

from gradlogp import data as shelf
from gradlogp.bench.growth import resident
from gradlogp.bench.scale.plan import Load, weighed
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.random import from_seed, normal_, seeded
from gradlogp.data import Dataset
from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness import Target, override, specify
from gradlogp.harness.fit import batches, build
from gradlogp.models import mlp_score
from gradlogp.objectives import DenoisingScoreMatching, LogNormal
from gradlogp.runs import tensors as files
from gradlogp.training import ALONE, Learner, Processes, Training
from gradlogp.training.processes import free_port, joined

Row = dict[str, Any]
WORLD, ROUNDS, PILOT = 2, 5, 3
RECIPES_MEASURED = ("ncsn", "ebm")
BATCH = 256  # of both: in a half of 32 a small network waits for its operations, not for arithmetic
SIZES = tuple(2**k for k in range(10, 25, 2))  # bytes of an all_reduce
TRIES = 9
DIM, WIDTH, EXAMPLES = 784, 1024, 256  # of the network whose memory is looked at


def rows(seconds: float, dataset: str, recipes: Sequence[str] = RECIPES_MEASURED) -> list[Row]:
    """From two processes, each on a core of its own and of one thread; `seconds` for a round of
    each arrangement of processes.
    """
    shelf.load(dataset)  # what is wrong with it is said once, before there are processes
    cores = sorted(_cores())
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    port, words = free_port(), (seconds, dataset, tuple(recipes))
    begun = [
        context.Process(
            target=_work, args=(rank, port, cores[rank % len(cores)], there, words), daemon=True
        )
        for rank in range(WORLD)
    ]
    for process in begun:
        process.start()
    there.close()
    try:
        found: list[Row] = here.recv()
    except EOFError as error:
        raise UserError("a process of the bench has ended; what it said says why.") from error
    for process in begun:
        process.join()
    return found


def _cores() -> set[int]:
    """The cores that this process may use; one where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def _work(rank: int, port: int, core: int, pipe: Connection, words: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    seconds, dataset, recipes = words
    data = shelf.load(dataset)
    with joined("cpu") as processes:
        found = [*reduced(processes), *remembered(processes)]
        for name in recipes:
            found += paced(name, data, processes, seconds)
        if processes.main:
            pipe.send(found)
        pipe.close()


def reduced(processes: Processes) -> Iterator[Row]:
    """Seconds of an all_reduce of each size, the median of a few."""
    for size in SIZES:
        x, times = torch.zeros(size // 4), []
        for _ in range(TRIES):
            processes.agree(0)
            began = time.perf_counter()
            dist.all_reduce(x)
            times.append(time.perf_counter() - began)
        yield {"what": "all_reduce", "bytes": size, "seconds": statistics.median(times)}


def paced(name: str, data: Dataset, processes: Processes, seconds: float) -> Iterator[Row]:
    """Steps a second of one process and of both, in turn, in rounds of equal steps."""
    recipe: Any = override(RECIPES[name](Target.of(data), "quick", 0), [f"training.batch={BATCH}"])
    source = batches(data.train, recipe, spec := specify(data), "cpu")
    kinds = {"one": ALONE, "two": processes} if processes.main else {"two": processes}
    learners = {kind: build(recipe, spec, "cpu", data.train, who) for kind, who in kinds.items()}
    pace = _run(learners["one"], source, PILOT) / PILOT if processes.main else 0.0
    steps = processes.agree(max(1, round(seconds / pace)) if processes.main else 0)
    for turn in range(-1, ROUNDS):  # the first is not counted
        for kind, learner in learners.items():
            learner.processes.agree(0)  # rank 0 alone works while the other waits here
            spent = _run(learner, source, PILOT if turn < 0 else steps)
            if turn < 0:
                continue
            yield {
                "what": "pace",
                "recipe": name,
                "dataset": data.name,
                "batch": recipe.training.batch,
                "kind": kind,
                "round": turn,
                "rate": steps / spent,
            }


def _run(learner: Learner, source: Any, steps: int) -> float:
    """Seconds of `steps` steps, with what the loop tells the others after each."""
    began = time.perf_counter()
    for step in range(steps):
        learner.update(source(step))
        learner.processes.agree(0)
    return time.perf_counter() - began


def remembered(processes: Processes) -> Iterator[Row]:
    """Bytes that a training adds to each process at rest and at its highest, whole and sharded, and
    of its checkpoint; beside those of the model.
    """
    weights, layer, activations, _ = weighed(lambda: mlp_score(DIM, 0.5, WIDTH), (DIM,), True)
    load = Load(weights, layer, EXAMPLES, DIM, activations)
    _trained(replace(processes, sharded=True), 8)  # what is loaded once
    for sharded in (False, True):
        before = resident() or 0.0
        learner = _trained(replace(processes, sharded=sharded), WIDTH)
        highest, rest = resident("VmHWM") or 0.0, resident() or 0.0
        found = learner.tensors()
        whole = 4 * weights if sharded and processes.main else 0  # what rank 0 draws with
        expected = load.memory(WORLD, sharded)
        yield {
            "what": "memory",
            "sharded": sharded,
            "weights": weights,
            "rest": (rest - before) * 2**20,
            "highest": (highest - before) * 2**20,
            "model": expected["kept"] + whole,
            "model, at work": expected["activations"] + expected["for a moment"],
            "checkpoint": _bytes(found) if found else 0,
            "model, checkpoint": load.checkpoint,
        }
        del learner, found


def _trained(processes: Processes, width: int) -> Learner:
    """A perceptron of `width` after a few steps; without a peak in what comes before them."""
    model = from_seed(0, lambda: mlp_score(DIM, 0.5, width))
    objective = DenoisingScoreMatching(LogNormal(-0.4, 1.2))
    settings = Training(EXAMPLES * 100, EXAMPLES)
    learner = Learner(model, objective, settings, seeded(0), processes=processes)
    x = normal_(torch.empty(EXAMPLES, DIM), seeded("x"))
    learner.update(Batch(x))
    resident()
    for _ in range(2):
        learner.update(Batch(x))
    return learner


def _bytes(tensors: dict[str, torch.Tensor]) -> int:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        files.write(path, tensors)
        return path.stat().st_size

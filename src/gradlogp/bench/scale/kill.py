"""Does a run that is killed come back? A small energy with a replay buffer on two processes, one of
which kills itself by SIGKILL at a moment that the try decides; both begin again, and end at weights
that are compared with those of a run that nobody disturbed.
"""

import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gradlogp import data as shelf
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness import Target, override, specify
from gradlogp.harness.fit import batches, build
from gradlogp.runs import Run
from gradlogp.training import accompany, train
from gradlogp.training.processes import Parted, Processes, joined, launch

STEPS, EVERY = 40, 10
NEVER = STEPS + 1
SETTINGS = (
    f"training.images={STEPS * 64}",
    f"training.checkpoint_every={EVERY}",
    f"training.log_every={EVERY}",
    "net.channels=16,16",
    "net.width=16",
    "chain_steps=5",
    "buffer.capacity=128",
)
LATEST = 0.02  # seconds into a step at which a process is killed, at most


def rows(tries: int) -> list[dict[str, Any]]:
    """A row for each try: who was killed when, whether the weights are equal bit for bit, how many
    steps were made again, and the seconds from the kill to the first step after it.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        _launched(folder / "whole", 0, NEVER, 0.0)
        return list(_tries(folder, tries))


def _tries(folder: Path, tries: int) -> Iterator[dict[str, Any]]:
    whole = Run.open(folder / "whole").load("weights")[0]
    draws = torch.rand(tries, 2, generator=seeded("kills"))
    for i, (when, late) in enumerate(draws.tolist()):
        rank, step, path = i % 2, 1 + int(when * (STEPS - 5)), folder / f"try-{i}"
        _launched(path, rank, step, late * LATEST)
        found = Run.open(path).load("weights")[0]
        killed, again = (float(x) for x in noted(path, "killed").read_text().split())
        resumed, began = (float(x) for x in noted(path, "resumed").read_text().split())
        yield {
            "what": "kill",
            "rank": rank,
            "step": step,
            "equal": all(torch.equal(found[key], x) for key, x in whole.items()),
            "repeated": again - began,
            "seconds": resumed - killed,
        }


def noted(path: Path, what: str) -> Path:
    """Where the second and the step of it are written, beside the run folder."""
    return path.with_name(f"{path.name}-{what}")


def _launched(path: Path, rank: int, step: int, delay: float) -> None:
    words = [__package__, str(path), str(rank), str(step), str(delay)]
    with contextlib.redirect_stdout(io.StringIO()):
        launch(words, 2, restarts=1)


@dataclass
class Killing:
    """Batches that note when a run resumes, and end the process at `step`, once."""

    source: Callable[[int], Batch]
    path: Path
    mine: bool
    main: bool
    step: int
    delay: float

    def __post_init__(self) -> None:
        self.again = noted(self.path, "killed").exists()

    def __call__(self, step: int) -> Batch:
        killed, resumed = noted(self.path, "killed"), noted(self.path, "resumed")
        if self.main and self.again and not resumed.exists():
            resumed.write_text(f"{time.time()} {step}")
        if self.mine and step == self.step and not killed.exists():
            killed.write_text(f"{time.time() + self.delay} {step}")
            threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return self.source(step)


def work(path: Path, rank: int, step: int, delay: float) -> None:
    """Train beside the others, or lead them."""
    with joined("cpu") as processes:
        data = shelf.load("digits")
        recipe: Any = override(RECIPES["ebm"](Target.of(data), "quick", 0), SETTINGS)
        spec = specify(data)
        learner = build(recipe, spec, "cpu", data.train, processes)
        source = batches(data.train, recipe, spec, "cpu")
        mine = rank == processes.rank
        killing = Killing(source, path, mine, processes.main, step, delay)
        _train(learner, killing, path, processes)


def _train(learner: Any, source: Killing, path: Path, processes: Processes) -> None:
    try:
        if not processes.main:
            return accompany(learner, source)
        with Run.create(path, {}) as run:
            train(learner, source, run)
    except Parted as error:  # the other is gone, and both will be begun again
        raise SystemExit(error.code) from error


def main() -> None:
    path, rank, step, delay = sys.argv[1:]
    work(Path(path), int(rank), int(step), float(delay))

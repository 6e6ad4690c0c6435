"""Parts of a comparison side by side: a process for each of a few workers, with its share of the
cores.

Two small networks train faster on one core each than one after the other on two. What a part does
depends neither on its neighbours nor on how many there are; its progress comes back through a pipe,
as a task of its own. A worker that is killed (by a system out of memory, say) is replaced and its
part begun again, which goes on from its last checkpoint; a part that ends with an error is not.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import torch

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener

EVERY = 0.5  # seconds between two reports of progress, and between two looks for the parent
TRIES = 3  # of a part whose worker is killed


class Part(NamedTuple):
    """`work(*arguments, listener)`, where work is a function that another process can import."""

    name: str
    work: Callable[..., None]
    arguments: tuple[Any, ...]


def side_by_side(parts: Sequence[Part], workers: int, listener: Listener) -> None:
    """Do all parts, at most `workers` at a time; the first error ends them all and is raised here.

    Raises UserError where the worker of a part is killed TRIES times.
    """
    workers = max(1, min(workers, len(parts)))
    if workers == 1:
        for part in parts:
            part.work(*part.arguments, listener)
        return
    pool = Pool(parts, workers, listener)
    try:
        pool.run()
    finally:
        pool.close()


class Worker:
    """A process that does one part after the other, and the parent's end of its pipe."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.part: Part | None = None
        arguments = (other, threads, os.getpid())
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        other.close()

    def begin(self, part: Part) -> None:
        self.part = part
        self.pipe.send(part)

    def close(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()


class Pool:
    """Workers, the parts that wait for one, and how often each part was begun."""

    def __init__(self, parts: Sequence[Part], workers: int, listener: Listener) -> None:
        self.waiting = deque(parts)
        self.begun: dict[str, int] = {}
        self.listener = listener
        self.tasks: dict[str, Listener] = {}
        self.threads = max(1, torch.get_num_threads() // workers)
        self.workers = [Worker(self.threads) for _ in range(workers)]

    def run(self) -> None:
        for worker in self.workers:
            self._next(worker)
        while busy := {worker.pipe: worker for worker in self.workers if worker.part}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    self._hear(worker, worker.pipe.recv())
                except (EOFError, ConnectionResetError):
                    self._replace(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def _next(self, worker: Worker) -> None:
        worker.part = None
        if self.waiting:
            part = self.waiting.popleft()
            self.begun[part.name] = self.begun.get(part.name, 0) + 1
            worker.begin(part)

    def _hear(self, worker: Worker, message: tuple[str, tuple[Any, ...]]) -> None:
        verb, words = message
        if verb == "done":
            self._next(worker)
        elif verb == "failed":
            raise words[0]
        else:
            task, *rest = words
            self.tasks.setdefault(task, self.listener.task(task))
            getattr(self.tasks[task], verb)(*rest)

    def _replace(self, worker: Worker) -> None:
        """A worker has gone without a word: another one begins its part again."""
        part = worker.part
        assert part is not None, "only busy workers are heard"
        worker.process.join()
        how = _ended(worker.process.exitcode)
        worker.close()
        self.workers.remove(worker)
        if self.begun[part.name] >= TRIES:
            raise UserError(
                f"{part.name}: its process {how}, {TRIES} times; if memory is short, run fewer at a"
                " time with --workers 1. The same command goes on."
            )
        self.listener.say(f"{part.name}: its process {how}; it goes on from its last checkpoint.")
        self.waiting.appendleft(part)
        self.workers.append(Worker(self.threads))
        self._next(self.workers[-1])


def _ended(code: int | None) -> str:
    """was killed by SIGKILL"""
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


class Relay:
    """A listener in a worker, which tells the parent."""

    def __init__(self, name: str, pipe: Connection) -> None:
        self.name, self.pipe = name, pipe
        self.count, self.told = 0, 0.0

    def tell(self, verb: str, *words: Any) -> None:
        self.pipe.send((verb, (self.name, *words)))

    def begin(self, label: str, total: int, done: int = 0) -> None:
        self.tell("begin", label, total, done)

    def advance(self, count: int = 1, **numbers: float) -> None:
        self.count += count
        if time.monotonic() - self.told >= EVERY:
            self.flush()

    def flush(self) -> None:
        self.told = time.monotonic()
        self.tell("advance", self.count)
        self.count = 0

    def end(self) -> None:
        self.flush()
        self.tell("end")

    def say(self, text: str) -> None:
        self.tell("say", text)

    def task(self, name: str) -> "Relay":
        return Relay(f"{self.name} {name}", self.pipe)


def _serve(pipe: Connection, threads: int, parent: int) -> None:
    """What a worker does: one part after the other, until the parent closes the pipe or is gone."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    while True:
        try:
            part = pipe.recv()
        except EOFError:
            return
        try:
            part.work(*part.arguments, Relay(part.name, pipe))
        except Exception as error:
            pipe.send(("failed", (error,)))
            return
        pipe.send(("done", ()))


def _end_with(parent: int) -> None:
    """End this process when the one that began it has gone, so that a kill frees the run folders."""
    while os.getppid() == parent:
        time.sleep(EVERY)
    os._exit(1)

"""Parts of a comparison side by side: a process each, with its share of the cores.

Two small networks train faster on one core each than one after the other on two. What a part does
depends neither on its neighbours nor on how many there are; its progress comes back through a
queue, into a lane of its own.
"""

import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from gradlogp.core.progress import Listener

EVERY = 0.5  # seconds between two reports of progress


class Part(NamedTuple):
    """`work(*arguments, listener)`, where work is a function that another process can import."""

    name: str
    work: Callable[..., None]
    arguments: tuple[Any, ...]


def side_by_side(parts: Sequence[Part], workers: int, listener: Listener) -> None:
    """Do all parts, at most `workers` at a time; the first error ends them all and is raised here."""
    workers = max(1, min(workers, len(parts)))
    if workers == 1:
        for part in parts:
            part.work(*part.arguments, listener)
        return
    context = multiprocessing.get_context("spawn")
    news: Any = context.Queue()
    begin = (news, max(1, torch.get_num_threads() // workers), os.getpid())
    with ProcessPoolExecutor(workers, context, _begin, begin) as pool:
        futures = [pool.submit(_do, part) for part in parts]
        try:
            _follow(news, futures, listener)
        except BaseException:
            for process in list(pool._processes.values()):
                process.terminate()
            raise


def _follow(news: Any, futures: Sequence[Future[None]], listener: Listener) -> None:
    """Pass on what the workers tell, until all are done or one has failed."""
    lanes: dict[str, Listener] = {}
    while True:
        finished = all(f.done() for f in futures)
        with suppress(queue.Empty):
            while True:
                name, verb, words = news.get(timeout=0.1)
                lanes.setdefault(name, listener.lane(name))
                getattr(lanes[name], verb)(*words)
        for future in futures:
            if future.done():
                future.result()
        if finished:
            return


class Relay:
    """A listener in a worker. It ends the process when the one that began it has gone, so that a
    kill frees the run folders.
    """

    def __init__(self, name: str, news: Any, parent: int) -> None:
        self.name = name
        self.news = news
        self.parent = parent
        self.count, self.told = 0, 0.0

    def tell(self, verb: str, *words: Any) -> None:
        self.news.put((self.name, verb, words))

    def begin(self, label: str, total: int, done: int = 0) -> None:
        self.tell("begin", label, total, done)

    def advance(self, count: int = 1, **numbers: float) -> None:
        if os.getppid() != self.parent:
            os._exit(1)
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

    def lane(self, name: str) -> "Relay":
        return Relay(f"{self.name} {name}", self.news, self.parent)


_here: dict[str, Any] = {}  # of a worker process: the queue and the parent's pid


def _begin(news: Any, threads: int, parent: int) -> None:
    torch.set_num_threads(threads)
    _here.update(news=news, parent=parent)


def _do(part: Part) -> None:
    part.work(*part.arguments, Relay(part.name, _here["news"], _here["parent"]))

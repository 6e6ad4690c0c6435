"""Two threads for torch, and no work for who no longer waits.

Two cores serve one person: whatever is computed waits its turn for one of two threads, so that a
long measurement stops no chain, and of requests of one kind from one page the newest alone is worth
an answer. An older one that still waits is answered `Superseded` without being computed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 2
T = TypeVar("T")


class Superseded(Exception):
    """A newer request of the same kind has come; nobody waits for this one."""


class Worker:
    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(THREADS, "torch")
        self._newest: dict[str, object] = {}

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, when its turn has come."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def newest(self, key: str, work: Callable[[], T]) -> T:
        """The same for the newest of all that bear `key`; raises Superseded for the others."""
        mine = self._newest[key] = object()

        def current() -> T:
            if self._newest.get(key) is not mine:
                raise Superseded
            return work()

        try:
            return await self.run(current)
        finally:
            if self._newest.get(key) is mine:
                del self._newest[key]

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

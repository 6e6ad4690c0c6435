"""Signals that end the work: Ctrl-C, SIGTERM of a queue, SIGHUP of a closed terminal.

    while nothing is begun    ->  one line, and the end
    while a model is learned  ->  the step is made, a checkpoint written, and then as the caller says
    at any other moment       ->  `Stopped`, a KeyboardInterrupt

A second signal does not wait for the step. Signals that the caller ignores, as under nohup, are
ignored here. Python hears signals in the main thread alone; elsewhere nothing here has an effect.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
Handler = Callable[[int, FrameType | None], Any]


class Stopped(KeyboardInterrupt):
    """A signal has ended the work; `signum` says which."""

    def __init__(self, signum: int, *words: str) -> None:
        super().__init__(*words)
        self.signum = signum


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Within, `handler` hears the signals."""
    former = _install(handler)
    try:
        yield
    finally:
        _restore(former)


def leave(signum: int, frame: FrameType | None = None) -> NoReturn:
    """End the process with one line: a handler for the time in which nothing is begun, and modules
    that are half imported would each say something else.
    """
    os.write(2, b"gradlogp: stopped; nothing was begun\n")
    os._exit(128 + signum)


def stop(signum: int, frame: FrameType | None = None) -> NoReturn:
    """Raise `Stopped`: a handler for the rest of the time."""
    raise Stopped(signum)


class Waiting:
    """Within the block a signal is kept in `signum` until `deliver`, which whoever works calls
    between two steps; at the latest it is delivered where the block ends well.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.former = _install(self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None and self.signum is not None:
            self.deliver(self.signum)
        _restore(self.former)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        again, self.signum = self.signum is not None, signum
        if again:
            self.deliver(signum)

    def deliver(self, signum: int) -> NoReturn:
        """Hand the signal to whom it would have gone; raises `Stopped` where that one returns."""
        _restore(self.former)
        signal.raise_signal(signum)
        raise Stopped(signum)


def _install(handler: Handler) -> dict[int, Any]:
    """The handlers that there were. One that is no Python function, or ignores, is left."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [s for s in SIGNALS if signal.getsignal(s) not in (signal.SIG_IGN, None)]
    return {signum: signal.signal(signum, handler) for signum in heard}


def _restore(former: dict[int, Any]) -> None:
    while former:
        signal.signal(*former.popitem())

"""Long work tells a listener how far it is; whoever shows it (a terminal, a page, nobody) is the
caller's choice.
"""

from typing import Protocol


class Listener(Protocol):
    def begin(self, label: str, total: int, done: int = 0) -> None: ...

    def advance(self, count: int = 1, **numbers: float) -> None: ...

    def end(self) -> None: ...

    def say(self, text: str) -> None: ...

    def task(self, name: str) -> "Listener":
        """A listener for one of several things that go on at the same time."""
        ...


class Silent:
    """Nobody listens."""

    def begin(self, label: str, total: int, done: int = 0) -> None: ...

    def advance(self, count: int = 1, **numbers: float) -> None: ...

    def end(self) -> None: ...

    def say(self, text: str) -> None: ...

    def task(self, name: str) -> "Listener":
        return self

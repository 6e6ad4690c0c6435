"""Where the words go: progress and talk for a person, one JSON value for a machine.

At a terminal long work shows a bar with its rate and the time left; elsewhere (a file, a pipe) a
plain line every ten seconds. With --json all of that goes to stderr, and stdout holds the result
alone.
"""

import json
import os
import time
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gradlogp.core.errors import printable
from gradlogp.core.progress import Listener
from gradlogp.runs.files import plain

EVERY = 10.0  # seconds between plain lines
WIDTH = 120  # of tables that go to a file or a pipe


class Rate(ProgressColumn):
    def render(self, bar: Task) -> Text:
        return Text(f"{bar.speed:,.0f}/s" if (bar.speed or 0) >= 10 else f"{bar.speed or 0:.2g}/s")


class Terminal:
    """A `Listener`, and the verbs' way to print; `aside` keeps stdout for the result."""

    def __init__(self, as_json: bool = False, aside: bool = False) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json or aside, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = WIDTH
        self.bars: Progress | None = None
        self.main = ProgressTask(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def say(self, text: str = "") -> None:
        """Lines of text; what would move the cursor or colour the screen is spelled out."""
        lines = (printable(line) for line in text.split("\n"))
        self.console.print("\n".join(lines), soft_wrap=True)

    def show(self, table: Table) -> None:
        self.console.print(table)

    def result(self, value: Any) -> None:
        """The machine-readable result; nothing without --json."""
        if self.as_json:
            print(json.dumps(plain(value), indent=1))

    # --- the listener: the terminal itself is its first task ---

    def begin(self, label: str, total: int, done: int = 0) -> None:
        self.main.begin(label, total, done)

    def advance(self, count: int = 1, **numbers: float) -> None:
        self.main.advance(count)

    def end(self) -> None:
        self.main.end()

    def task(self, name: str) -> "ProgressTask":
        return ProgressTask(self, f"{name}: ")

    def progress(self) -> Progress:
        """The bars of all tasks, on the screen while there is one."""
        if self.bars is None:
            count = TextColumn("{task.completed:,.0f} of {task.total:,.0f}")
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                count,
                Rate(),
                TimeRemainingColumn(),
            )
            self.bars = Progress(*columns, console=self.console, transient=True)
            self.bars.start()
        return self.bars

    def drop(self, bar: TaskID) -> None:
        assert self.bars is not None
        self.bars.remove_task(bar)
        if not self.bars.tasks:
            self.bars.stop()
            self.bars = None


class ProgressTask:
    """A bar of its own, or plain lines that begin with its name."""

    def __init__(self, terminal: Terminal, name: str = "") -> None:
        self.terminal, self.name = terminal, name
        self.bar: TaskID | None = None

    def say(self, text: str = "") -> None:
        self.terminal.say(self.name + text)

    def begin(self, label: str, total: int, done: int = 0) -> None:
        self.end()
        self.label = self.name + label
        self.total = total
        self.first = done
        self.done = done
        self.began: float | None = None
        self.told = time.monotonic()
        if self.terminal.console.is_terminal:
            self.bar = self.terminal.progress().add_task(self.label, total=total, completed=done)
        elif done:
            self.terminal.say(f"{self.label}: goes on from {done:,} of {total:,}")

    def advance(self, count: int = 1, **numbers: float) -> None:
        self.done += count
        if self.began is None:  # the first step warms up: the rate is that of those after it
            self.began, self.first = time.monotonic(), self.done
        if self.bar is not None:
            self.terminal.progress().advance(self.bar, count)
        elif time.monotonic() - self.told >= EVERY:
            self.told = time.monotonic()
            self.terminal.say(self.line())

    def line(self) -> str:
        so_far = f"{self.label}: {self.done:,} of {self.total:,}"
        if self.began is None or self.done == self.first:
            return so_far
        rate = (self.done - self.first) / max(time.monotonic() - self.began, 1e-9)
        left = timedelta(seconds=round(max(self.total - self.done, 0) / rate))
        return f"{so_far}, {rate:,.3g}/s, {left} left"

    def end(self) -> None:
        if self.bar is not None:
            self.terminal.drop(self.bar)
            self.bar = None

    def task(self, name: str) -> "ProgressTask":
        return ProgressTask(self.terminal, f"{self.name}{name}: ")


class Download:
    """What `data` calls with (file, bytes so far, bytes in all), told to a listener."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.file = ""
        self.done = 0

    def __call__(self, file: str, done: int, total: int | None) -> None:
        if file != self.file or done < self.done:
            self.listener.end()
            self.listener.begin(f"{file} (bytes)", total or 0, done)
            self.file, self.done = file, done
        self.listener.advance(done - self.done)
        self.done = done

"""A disk that fails, and a process that is killed, at an operation of one's choice.

`Disk` stands in for `os` and `open` in `core.files`, through which all is written, and counts what
changes the disk. What a kill leaves is left: after it no operation is carried out, and so no
cleaning up. With `watch`, what a kill before each operation would leave of that folder is copied
to folders beside it, on the way of one unbroken run.
"""

import builtins
import errno
import io
import os
import shutil
from pathlib import Path

import pytest

from gradlogp.core import files

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)
CHANGES = ("replace", "fsync", "unlink", "mkdir", "truncate")


class Killed(BaseException):
    pass


class Disk:
    """The operation number `at`, from 1, is not carried out: the process is killed before it, or it
    fails with the error `refusal`, once or, where it is `full`, with all that follow.
    """

    def __init__(
        self, at: int = 0, refusal: int | None = None, full: bool = False, watch: Path | None = None
    ) -> None:
        self.at, self.refusal, self.full, self.watch = at, refusal, full, watch
        self.done: list[str] = []
        self.dead = False

    def __getattr__(self, name: str):
        found = getattr(os, name)
        return self.counted(name, found) if name in CHANGES else found

    def counted(self, name: str, call):
        def operation(*args):
            self.change(name)
            return (
                None if name == "fsync" else call(*args)
            )  # what is fsynced, outlives a test anyway

        return operation

    def change(self, name: str) -> None:
        if self.dead:
            raise Killed
        self.done.append(name)
        if self.watch is not None and self.watch.exists():
            shutil.copytree(self.watch, self.left(len(self.done)))
        if len(self.done) == self.at or (self.full and len(self.done) > self.at > 0):
            if self.refusal is not None:
                if name != "unlink" or not self.full:  # a full disk still lets go
                    raise OSError(self.refusal, os.strerror(self.refusal))
            else:
                self.dead = True
                raise Killed

    def left(self, at: int) -> Path:
        """What a kill before the operation number `at` would have left of the folder `watch`."""
        assert self.watch is not None
        return self.watch.with_name(f"{self.watch.name}-{at}")

    def opened(self, path, mode: str):
        if mode == "rb":
            return builtins.open(path, mode)
        self.change("open")
        return File(self, path, mode)


class File(io.BytesIO):
    """Gathers, and writes in one operation; where that fails, half of it."""

    def __init__(self, disk: Disk, path, mode: str) -> None:
        super().__init__()
        self.disk = disk
        self.real = builtins.open(path, mode, buffering=0)  # noqa: SIM115
        self.written = False

    def fileno(self) -> int:
        return self.real.fileno()

    def flush(self) -> None:
        if self.closed or self.written or not self.getvalue():
            return
        self.written, data = True, self.getvalue()
        half = len(data) // 2
        self.real.write(data[:half])
        self.disk.change("write")
        self.real.write(data[half:])

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self.real.close()
            super().close()


def put_in(disk: Disk, patch: pytest.MonkeyPatch) -> None:
    """Let `core.files` use this disk."""
    patch.setattr(files, "os", disk)
    patch.setattr(files, "open", disk.opened, raising=False)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run but the log, which has times, and the lock, which has a process."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("log.txt", ".lock")
    }

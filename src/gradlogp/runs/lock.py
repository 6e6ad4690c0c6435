"""One writer to a run folder. The lock is the system's, so it ends with its process, however that
ends.
"""

import contextlib
import os
import weakref
from pathlib import Path

from gradlogp.core.errors import UserError
from gradlogp.core.files import read_bytes

try:
    import fcntl
except ImportError:  # Windows: the file's existence is the lock, and a crash leaves it
    fcntl = None  # type: ignore[assignment]


class Lock:
    """Held while this object lives. All writers of one process share it: see `hold`."""

    def __init__(self, path: Path):
        self.pid = os.getpid()
        try:
            handle = _claim(path)
        except OSError as error:
            raise _refusal(path, error) from error
        with contextlib.suppress(OSError):  # the number is only told; the lock is the system's
            os.truncate(handle, 0)
            os.write(handle, str(self.pid).encode())
        weakref.finalize(self, _release, handle, path)


_held: "weakref.WeakValueDictionary[Path, Lock]" = weakref.WeakValueDictionary()


def hold(folder: Path) -> tuple[Lock, bool]:
    """The folder's lock, and whether it was taken just now. Raises UserError where another process
    has it.
    """
    path = folder.resolve() / ".lock"
    lock = _held.get(path)
    if lock and lock.pid == os.getpid():  # a fork has its parent's memory but not its lock
        return lock, False
    lock = _held[path] = Lock(path)
    return lock, True


def _claim(path: Path) -> int:
    if fcntl is None:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    # a link would have us write over what it points to, and a pipe would have us wait
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        # lockf, not flock: forked data loaders would keep a flock alive after the run that they
        # served was killed
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(handle)
        raise BlockingIOError from error
    except OSError:  # a file system without locks
        pass
    return handle


def _release(handle: int, path: Path) -> None:
    os.close(handle)
    if fcntl is None:
        path.unlink(missing_ok=True)


def _refusal(path: Path, error: OSError) -> UserError:
    if not isinstance(error, BlockingIOError | FileExistsError):
        return UserError(
            f"cannot write in {path.parent}: {path.name}: {error.strerror}; choose another folder with"
            " --out."
        )
    owner = "another process"
    with contextlib.suppress(OSError, ValueError):
        owner = f"process {int(read_bytes(path))}"
    gone = "" if fcntl else f" (if it is gone, remove {path})"
    return UserError(
        f"{path.parent} is being written by {owner}: wait for it, end it{gone}, or choose another"
        " --out."
    )

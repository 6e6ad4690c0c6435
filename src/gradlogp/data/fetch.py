"""Fetch one published file: mirrors in turn, each going on where the last one stopped.

Bytes gather in `<file>.part`, which survives a cut, a full disk and a kill, and becomes `<file>`
only when its sha256 is right. Who fetches holds the system's lock on the part; others wait, and
find the whole file or go on with the part.
"""

import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from gradlogp.core.errors import UserError
from gradlogp.data.base import Progress
from gradlogp.data.files import sha256

try:
    import fcntl
except ImportError:  # Windows lets nobody replace a file that another has open
    fcntl = None  # type: ignore[assignment]

NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
BLOCK = 1 << 16


def download(
    path: Path, urls: Iterable[str], checksum: str, progress: Progress | None = None
) -> None:
    """Bring the file whose sha256 is `checksum` from the first of `urls` that has it to `path`.

    Raises UserError, one line: what each mirror answered, or why the disk refused, and what to do.
    """
    part = path.with_name(path.name + ".part")
    answers = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_writer(part):
            if path.is_file():  # brought by the one that we waited for
                return
            for url in urls:
                if not (answer := _bring(url, part, checksum, progress)):
                    os.replace(part, path)
                    return
                answers.append(f"{url}: {answer}")
    except OSError as error:
        raise UserError(
            f"cannot write {part}: {error.strerror or error}; make room or name another folder,"
            " then run the same again: it goes on where it stopped."
        ) from error
    raise UserError(
        f"could not download {path.name} ({'; '.join(answers)}); run the same again to go on,"
        f" or bring the file by hand to {path.parent}, or try the data set `digits`, which"
        " needs no network."
    )


@contextmanager
def _only_writer(part: Path) -> Iterator[None]:
    """Wait until nobody else writes `part`; at the end, an empty one is removed."""
    handle = _claim(part) if fcntl else None
    try:
        yield
    finally:
        if part.is_file() and not part.stat().st_size:
            part.unlink()
        if handle is not None:
            os.close(handle)


def _claim(part: Path) -> int:
    """The lock on `part`, created if need be; one that was put into place meanwhile is no part."""
    while True:
        handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(part)):
                return handle
        os.close(handle)


def _bring(url: str, part: Path, checksum: str, progress: Progress | None) -> str:
    """Complete `part` from `url`; what was wrong, or nothing."""
    try:
        _fetch(url, part, progress)
    except NETWORK_ERRORS as error:
        return f"{getattr(error, 'reason', None) or error or type(error).__name__}"
    if (found := sha256(part)) == checksum:
        return ""
    os.truncate(part, 0)
    return f"wrong checksum, expected sha256 {checksum[:12]}.., got {found[:12]}.."


def _fetch(url: str, part: Path, progress: Progress | None) -> None:
    """Complete `part` from `url`. A server that cannot go on from byte `done` sends everything,
    which is taken too.
    """
    done = part.stat().st_size if part.exists() else 0
    try:
        reply = urlopen(
            Request(url, headers={"Range": f"bytes={done}-"} if done else {}), timeout=30
        )
    except HTTPError as error:
        error.close()
        if error.code == 416:
            # nothing lies beyond `done`: the checksum will tell whether that is because we have it
            # all
            return
        raise HTTPException(f"HTTP {error.code} {error.reason}") from error
    with reply:
        part.touch()
        with part.open("r+b") as file:
            done = file.seek(done if reply.status == 206 else 0)
            total = (
                done + int(reply.headers["Content-Length"])
                if "Content-Length" in reply.headers
                else None
            )
            while block := reply.read(BLOCK):
                file.write(block)
                file.flush()
                done += len(block)
                if progress:
                    progress(part.stem, done, total)
            if total and done < total:
                raise ConnectionError(f"cut after {done:,} of {total:,} bytes")
            file.truncate()

"""Files and folders as people have them: where data lies, what lies below a folder, and whether it
fits in memory.
"""

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradlogp.core.errors import UserError, printable


def data_folder(root: str | Path | None) -> Path | None:
    """The folder of data that the user named: the argument, else GRADLOGP_DATA, else None."""
    named = root or os.environ.get("GRADLOGP_DATA")
    return Path(named).expanduser() if named else None


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradlogp"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing_sha256(files: list[Path], below: Path) -> str:
    """The sha256 of what `sha256sum` would list: a line "<sha256>  <path below>" for each file."""
    listing = hashlib.sha256()
    for file in files:
        name = os.fsencode(file.relative_to(below).as_posix())
        listing.update(sha256(file).encode() + b"  " + name + b"\n")
    return listing.hexdigest()


def takes_nothing(name: str, which: str) -> None:
    """Raises UserError for "NAME:WHICH" of a set of which there is only one."""
    if which:
        raise UserError(f"expected {name} alone, there is only one; got {name}:{which}.")


def split_option(
    name: str, option: str, there: Callable[[Path], bool] = Path.exists
) -> tuple[str, str]:
    """("PATH", "32") of "PATH@32" and ("PATH", "") of "PATH"; a path that is there as it stands may
    have an @ of its own. option: a regular expression of what may follow the last @.
    """
    if (found := re.fullmatch(rf"(.*)@({option})", name)) and not there(Path(name).expanduser()):
        return found[1], found[2]
    return name, ""


def joined(name: str, which: str, option: str) -> str:
    """ "NAME:WHICH@OPTION", without what is empty."""
    return name + (f":{which}" if which else "") + (f"@{option}" if option else "")


def files_below(folder: Path, endings: Collection[str]) -> list[Path]:
    """The visible files below `folder` whose lower-case ending is one of `endings`, sorted.

    Links to folders are followed, once each. Raises UserError for one that is no regular file (a
    pipe would never end).
    """
    found = [path for path in _walk(folder) if path.suffix.lower() in endings]
    for path in found:
        require_file(path)
    return sorted(found)


def require_file(path: Path, what: str = "") -> None:
    """Raises UserError unless `path` is a regular file, or a link to one. what: "the picture "."""
    if path.is_file():
        return
    why = "No such file or directory"
    if path.is_dir():
        why = "Is a directory, not a file"
    elif path.exists() or path.is_symlink():
        why = "not a regular file"
    raise UserError(f"cannot read {what}{path}: {why}.")


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(place)
        folders[:] = [] if here in seen else [name for name in folders if not name.startswith(".")]
        names = [] if here in seen else names
        seen.add(here)
        yield from (Path(place, name) for name in names if not name.startswith("."))


def class_folders(
    path: Path, files: list[Path], depth: int = 0
) -> tuple[tuple[str, ...], list[int] | None]:
    """The names of the subfolders `depth` below `path`, and each file's place among them; no names
    and None where there are no such folders.

    Raises UserError for files beside class folders.
    """
    inner = [file.relative_to(path).parts for file in files]
    names = [printable(place[depth]) if len(place) > depth + 1 else "" for place in inner]
    if not any(names):
        return (), None
    if "" in names:
        raise UserError(
            f"{path}: some files lie in class folders, but {files[names.index('')].name} does not:"
            " move it into one, or all out of them."
        )
    classes = sorted(set(names))
    place_of = {name: i for i, name in enumerate(classes)}
    return tuple(classes), [place_of[name] for name in names]


def require_memory(size: int, what: str, instead: str) -> None:
    """Raises UserError where `what` ("70,000 pictures of 28x28") needs more bytes than are free.

    instead: what to do about it.
    """
    free = free_memory()
    if free is not None and size > free:
        raise UserError(
            f"{what} take {size / 2**30:,.1f} GiB of memory and {free / 2**30:,.1f} GiB are free;"
            f" {instead}."
        )


def free_memory() -> int | None:
    """Bytes that can be taken without swapping; None where the system does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends well and is gone when
    it does not. Raises UserError where the system refuses.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            part.unlink()


def reason(error: Exception) -> str:
    """What a decoder says of a damaged file, on one line of no more than 120 characters."""
    return " ".join(str(error).split())[:120] or "it is cut short or damaged"


def needs(extra: str, what: str, error: ImportError) -> UserError:
    """The error for a package that is not there, of the extra that brings it."""
    return UserError(
        f"{what} needs {error.name or 'a package'}, which is not installed: pip install"
        f" 'gradlogp[{extra}]'."
    )

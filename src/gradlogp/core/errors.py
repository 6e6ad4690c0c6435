"""The one error that a person, not a programmer, is meant to read."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar


class UserError(ValueError):
    """A wrong flag, file, setting or number: one line that says what was expected, what was found
    and what to do. Names of files in it are made `printable`. `code` is what the command exits
    with.
    """

    code: ClassVar[int] = 2

    def __init__(self, message: object = "", *more: object) -> None:
        super().__init__(printable(str(message)), *more)


class SystemRefused(UserError):
    """The system would not write: no space, no permission. The same command goes on once it will."""

    code = 1


def printable(text: str) -> str:
    """The text on one line that any UTF-8 terminal takes: a file's name may hold anything."""
    escaped = text.encode("utf-8", "backslashreplace").decode()
    spaced = escaped.translate(dict.fromkeys(map(ord, "\n\r\t"), " "))
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in spaced)


def nearest(name: str, names: Iterable[str], meant: Mapping[str, str] | None = None) -> str | None:
    """The one of `names` that is like `name`, or that others call so, as `meant` has it; None where
    none is: a far guess misleads.
    """
    names, name = list(names), name.lower()
    if meant and meant.get(name) in names:
        return meant[name]
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.5)), None)


def unknown(
    said: str, name: str, names: Iterable[str], meant: Mapping[str, str] | None = None
) -> UserError:
    """The error for a `name` that is not among `names`, which begins with `said`, names the nearest
    and lists all.
    """
    near = nearest(name, names := list(names), meant)
    hint = f"; did you mean {near!r}?" if near else "."
    return UserError(f"{said}{hint} There are {', '.join(names)}.")


def at_least(low: float, **settings: float | Sequence[float] | None) -> None:
    """Raises UserError for a setting, or an entry of a list of settings, below `low`; None passes,
    an empty list does not.
    """
    for name, value in settings.items():
        entries = value if isinstance(value, Sequence) else () if value is None else (value,)
        if any(entry < low for entry in entries) or (isinstance(value, Sequence) and not value):
            raise UserError(f"{name} must be {low:g} or more, got {value!r}.")

"""The one error that a person, not a programmer, is meant to read."""

from collections.abc import Sequence
from typing import ClassVar


class UserError(ValueError):
    """A wrong flag, file, setting or number: one line that says what was expected, what was found
    and what to do. `code` is what the command exits with.
    """

    code: ClassVar[int] = 2


def at_least(low: float, **settings: float | Sequence[float] | None) -> None:
    """Raises UserError for a setting, or an entry of a list of settings, below `low`; None passes,
    an empty list does not.
    """
    for name, value in settings.items():
        entries = value if isinstance(value, Sequence) else () if value is None else (value,)
        if any(entry < low for entry in entries) or (isinstance(value, Sequence) and not value):
            raise UserError(f"{name} must be {low:g} or more, got {value!r}.")

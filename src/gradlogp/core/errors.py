"""The one error that a person, not a programmer, is meant to read."""


class UserError(ValueError):
    """A wrong flag, file, setting or number: one line that says what was expected, what was found and what to do."""

"""A library that a bridge needs and that is not there, in one line."""

import importlib
from typing import Any

from gradlogp.core.errors import UserError


def needed(module: str, extra: str) -> Any:
    """The module; UserError, with the extra that installs it, where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this needs {module.partition('.')[0]}, which cannot be imported ({error}); install it"
            f" with pip install 'gradlogp[{extra}]'."
        ) from error

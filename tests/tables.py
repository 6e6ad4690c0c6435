"""The tables of pieces themselves, which `gradlogp list` only reads of."""

from importlib import import_module
from typing import Any

from gradlogp.cli import contents


def _table(place: str) -> dict[str, Any]:
    module, name = place.split(":")
    return getattr(import_module(module), name)


TABLES = {kind: _table(place) for kind, place in contents.TABLES.items()}

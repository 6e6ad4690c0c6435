"""The rows of a bench, committed with the results: docs/results/bench-<name>.json.

What `gradlogp bench NAME --write docs` measured, a row a line, with the command, the day, the
seconds that it took and the machine, for whatever writes of it later.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.files import there
from gradlogp.runs import read_json, write_text
from gradlogp.runs.files import plain
from gradlogp.runs.schema import COUNT, NUMBER, OBJECT, TEXT, checked

FORMAT = 1
SHAPE = {
    "format": COUNT,
    **dict.fromkeys(("bench", "command", "seeds", "day", "machine"), TEXT),
    "seconds": NUMBER,
    "rows": [OBJECT],
}


@dataclass(frozen=True)
class Measured:
    """The rows of the bench `bench`, and how they were made: by which seeds, and in how many
    `seconds` on `machine`.
    """

    bench: str
    command: str
    seeds: str
    day: str
    seconds: float
    machine: str
    rows: Sequence[Mapping[str, Any]]


def path_of(name: str, folder: Path) -> Path:
    return folder / f"bench-{name}.json"


def write(found: Measured, folder: Path) -> Path:
    """Write FOLDER/bench-<name>.json, a row a line; returns its path."""
    said = {"format": FORMAT, **{k: v for k, v in vars(found).items() if k != "rows"}}
    said["seconds"] = round(found.seconds, 1)
    lines = [f"{json.dumps(key)}: {_line(value)}" for key, value in said.items()]
    rows = ",\n".join(map(_line, found.rows))
    path = path_of(found.bench, folder)
    write_text(path, "{\n" + ",\n".join(lines) + f',\n"rows": [\n{rows}\n]\n' + "}\n")
    return path


def _line(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def read(name: str, folder: Path) -> Measured:
    """The rows of the bench `name` in `folder`. Raises UserError where they are not there."""
    path = path_of(name, folder)
    if not there(path):
        raise UserError(
            f"{folder} lacks the rows of the bench {name}; `gradlogp bench {name} --write docs`"
            " measures them."
        )
    content = checked(path, read_json(path), SHAPE)
    if content.pop("format") != FORMAT:
        raise UserError(f"{path} has another format than {FORMAT}; make it again by its command.")
    return Measured(**{key: content[key] for key in Measured.__dataclass_fields__})

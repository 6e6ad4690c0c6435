"""results.json of a run or of a comparison, and what a comparison's folder says of itself.

    {"format": 2, "rows": [{"metric": "psnr", "axes": {"noise": 0.3}, "value": 21.4, "stderr": 0.1,
    ...}]}

`axes` says at what, of what or after what a metric was measured; it is left out where there is
nothing to say. Folders of earlier versions are read as if today's had written them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gradlogp.core.errors import UserError
from gradlogp.core.files import inside, there
from gradlogp.runs.files import read_json, write_json
from gradlogp.runs.legacy import modern
from gradlogp.runs.schema import checked, read_checked

FORMAT = 2
NAME = "results.json"


class Compared(NamedTuple):
    """note: compare.json; rows: those of results.json, none while the comparison is under way."""

    note: dict[str, Any]
    rows: list[dict[str, Any]]


def write_results(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace results.json in `folder`."""
    write_json(inside(folder, NAME), {"format": FORMAT, "rows": list(rows)})


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The rows in `folder`, of whatever version; none where there is no results.json. Raises
    Damaged.
    """
    path = inside(folder, NAME)
    if not there(path):
        return []
    content = checked(path, modern(read_json(path)))
    if content["format"] != FORMAT:
        raise UserError(
            f"{path} has format {content['format']}, and this version reads 1 and {FORMAT}; install"
            " the one that wrote it."
        )
    return list(content["rows"])


def read_comparison(folder: str | Path) -> Compared:
    """What the comparison in `folder` compares and has found. Raises UserError where it is none."""
    folder = Path(folder)
    return Compared(read_checked(folder, "compare.json"), read_results(folder))

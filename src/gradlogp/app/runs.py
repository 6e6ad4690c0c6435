"""The view of comparison: every run's numbers as they stand in its folder."""

from typing import Any

from gradlogp.app.library import Library, card
from gradlogp.core.errors import UserError
from gradlogp.metrics import quantity
from gradlogp.runs import Run, read_comparison

FACTS = {
    "parameters": "parameters",
    "seconds": "seconds of training",
    "images": "examples seen",
}


def table(library: Library) -> dict[str, Any]:
    """Rows of every run, and the columns that any of them has a number for."""
    rows = [_row(name, path) for name, path in library.places().items()]
    keys = list(dict.fromkeys(key for row in rows for key in row["numbers"]))
    columns = [{"key": key, **_column(key)} for key in keys]
    compared = [
        {"name": name, "question": _question(path)} for name, path in library.comparisons().items()
    ]
    return {"rows": rows, "columns": columns, "comparisons": compared}


def _row(name: str, path: Any) -> dict[str, Any]:
    shown = card(name, path)
    numbers: dict[str, Any] = {}
    if not (shown.get("wrong") and "title" not in shown):
        run = Run.open(path)
        status = run.status()
        numbers = {key: {"value": status[key]} for key in FACTS if key in status}
        try:
            numbers |= {
                row["metric"]: {"value": row["value"], "stderr": row.get("stderr")}
                for row in run.results()
                if not row.get("axes") and isinstance(row.get("value"), int | float)
            }
        except UserError as error:
            shown["wrong"] = str(error)
    return {**shown, "numbers": numbers}


def _column(key: str) -> dict[str, Any]:
    if key in FACTS:
        return {"name": FACTS[key], "better": None}
    known = quantity(key)
    return {"name": known.name if known else key, "better": known.better if known else None}


def _question(path: Any) -> str:
    try:
        return str(read_comparison(path).note.get("question", ""))
    except UserError as error:
        return str(error)

"""Notebooks: a run folder or a comparison's folder as it shows itself in a cell.

    show("runs/demo")    # the tables and the latest picture, as HTML

References: IPython documentation, rich display (`_repr_html_`).
"""

import base64
import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlogp.runs import Run
from gradlogp.runs.results import read_results


@dataclass(frozen=True)
class Shown:
    """A folder with `_repr_html_`: its rows of results, its state, and its latest picture."""

    folder: Path

    def _repr_html_(self) -> str:
        rows = read_results(self.folder)
        body = "".join(_row(row) for row in rows)
        head = "<tr><th>metric</th><th>method</th><th>value</th><th>stderr</th><th>n</th></tr>"
        table = f"<table>{head}{body}</table>" if rows else ""
        return f"<h4>{html.escape(self._title())}</h4>{_picture(self.folder)}{table}"

    def _title(self) -> str:
        if not (self.folder / "config.json").exists():
            return str(self.folder)
        return f"{self.folder}: {Run.open(self.folder).status()['state']}"


def show(folder: str | Path) -> Shown:
    """The folder of a run or of a comparison, for the last line of a cell."""
    return Shown(Path(folder))


def _row(row: dict[str, Any]) -> str:
    axes = row.get("axes") or {}
    cells = (row["metric"], axes.get("method", ""), _number(row["value"]))
    more = (_number(row.get("stderr")), row.get("n", ""))
    return "<tr>" + "".join(f"<td>{html.escape(str(x))}</td>" for x in (*cells, *more)) + "</tr>"


def _number(x: Any) -> str:
    return f"{x:.4g}" if isinstance(x, (int, float)) else "" if x is None else str(x)


def _picture(folder: Path) -> str:
    found = sorted(folder.glob("samples/*.png"), key=lambda path: path.stat().st_mtime)
    if not found:
        return ""
    data = base64.b64encode(found[-1].read_bytes()).decode()
    return f'<img alt="{html.escape(found[-1].stem)}" src="data:image/png;base64,{data}">'

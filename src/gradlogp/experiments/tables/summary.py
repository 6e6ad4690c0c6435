"""All methods together: the error of imputation by table, as a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlogp.harness import figures
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Rows, add_captions
from gradlogp.runs import Run


def summary(folder: Path, runs: Runs) -> Rows:
    """NRMSE and C2ST by table, of the first seed."""
    found = {method: Run.open(paths[0]).results() for method, paths in runs.items()}
    captions = {}
    for metric, axis, says in (
        ("nrmse", "NRMSE of hidden cells", "Error of imputation with three cells in ten hidden"),
        ("auroc", "AUROC", "Anomalies against normal rows, learned from normal rows alone"),
    ):
        series = {m: by_table(rows, metric) for m, rows in found.items()}
        series = {m: values for m, values in series.items() if values}
        if series:
            path = folder / "samples" / f"figure-{metric}.png"
            _bars(path, series, axis)
            captions[path.name] = f"{says}, by table."
    add_captions(folder / "samples" / "figures.json", captions)
    return []


def by_table(rows: Rows, metric: str) -> dict[str, float]:
    """Table -> value, of the rows that have no axis but the table."""
    axes: list[tuple[Mapping[str, Any], Any]] = [
        (row.get("axes") or {}, row) for row in rows if row["metric"] == metric
    ]
    return {str(on["table"]): float(row["value"]) for on, row in axes if set(on) == {"table"}}


def _bars(path: Path, series: Mapping[str, Mapping[str, float]], y: str) -> None:
    tables = list(next(iter(series.values())))
    path.parent.mkdir(parents=True, exist_ok=True)
    with figures.sheet(path, width=9.2, height=3.6) as (axis,):
        values = {method: [each[table] for table in tables] for method, each in series.items()}
        figures.bars(axis, [table.partition("_")[2] or table for table in tables], values, y)

"""results.json as earlier versions wrote it, read as if it were today's.

    ["metric": "denoise_psnr_0.3", "spread": .1, "floor": ..., "ceiling": ...]
        ->  {"format": 2, "rows": [{"metric": "psnr", "axes": {"noise": .3}, "stderr": .1, ...}]}

Format 1 was a bare list. What was measured at a noise level, after so many steps, of a part or on a
task stood in the metric's name; it has axes of its own now.
"""

import re
from collections.abc import Mapping
from typing import Any

RENAMED = {"spread": "stderr", "floor": "reference", "ceiling": "trivial"}
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
TASKS = "accuracy|nll|ece|contrast|from_logistic"
STAR = "777"  # stands for the * of a pattern while its words are taken apart
CHANGED = {
    "of": {"single sample": "one sample"},
    "over": {"long chains": "ebm_long_chains"},
    "protocol": {"table": "tables"},
}
# tried in turn; the group `metric` is the metric, and each other one an axis
GLUED = [
    re.compile(pattern)
    for pattern in (
        rf"denoise_(?P<metric>[a-z]+)_(?P<noise>{NUMBER})",
        rf"(?P<metric>\w+) after (?P<steps>{NUMBER}) steps",
        rf"(?P<metric>\w+) from (?P<start>data) after (?P<steps>{NUMBER}) steps",
        r"(?P<metric>fd) from the (?P<start>buffer)",
        r"(?P<metric>fd_gain) of the buffer(?: over (?P<over>.+))?",
        rf"(?P<metric>gain)_over_(?P<over>\w+) at noise (?P<noise>{NUMBER})",
        rf"(?P<metric>psnr) (?P<of>single sample) at noise (?P<noise>{NUMBER})",
        rf"(?P<metric>\w+) to (?P<to>their own mean) at noise (?P<noise>{NUMBER})",
        rf"(?P<metric>\w+) at noise (?P<noise>{NUMBER})",
        rf"(?P<metric>growth) at step (?P<step>{NUMBER})",
        rf"(?P<metric>rmse) (?P<density>\w+) at (?P<noise>{NUMBER})",
        r"(?P<metric>rmse) (?P<density>\w+) (?P<against>noised)",
        r"(?P<metric>rmse|relative|slope_error) (?P<density>\w+)",
        rf"(?P<metric>deviation|excess) (?P<setting>.+) on (?P<variance>{NUMBER})",
        rf"(?P<metric>{TASKS}) (?P<task>.+)",
        r"(?P<metric>p) against (?P<against>\S+) (?P<task>.+)",
        r"(?P<metric>\w+) (?P<against>.+) by (?P<by>energy|probability)",
        rf"(?P<metric>\w+) digit (?P<class>{NUMBER})",
        rf"(?P<metric>\w+) (?P<protocol>one-class|held-out) (?P<class>{NUMBER})",
        r"(?P<metric>\w+) (?P<protocol>cross) (?P<learned>\S+) to (?P<against>\S+)",
        r"(?P<metric>\w+) (?P<protocol>tables?) (?P<table>.+)",
        r"(?P<metric>auroc|auprc|fpr95|lead|rank|place) (?P<protocol>one-class|held-out|cross|tables?)",
        r"(?P<metric>fd) (?P<setting>.+)",
        r"(?P<metric>\S+) (?P<of>.+)",
    )
]


def modern(content: Any) -> Any:
    """The content of a results.json of any format as that of format 2; what is no list is let
    pass, to be checked like the rest.
    """
    if not isinstance(content, list):
        return content
    rows = [_row(row) if isinstance(row, dict) else row for row in content]
    return {"format": 2, "rows": rows}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    new = {RENAMED.get(key, key): value for key, value in row.items()}
    if isinstance(new.get("metric"), str) and "axes" not in new:
        metric, axes = split(new["metric"])
        new |= {"metric": metric, **({"axes": axes} if axes else {})}
    return new


def split(name: str) -> tuple[str, dict[str, float | str]]:
    """("psnr", {"noise": .3}) of "denoise_psnr_0.3"; ("fd", {"steps": 20}) of "fd after 20 steps"."""
    found = next(filter(None, (pattern.fullmatch(name) for pattern in GLUED)), None)
    if found is None:
        return name, {}
    axes = {key: _level(text) for key, text in found.groupdict().items() if text is not None}
    metric = str(axes.pop("metric"))
    for axis, values in CHANGED.items():
        axes |= {axis: values.get(str(axes[axis]), axes[axis])} if axis in axes else {}
    if metric == "fd_gain":
        axes = {"over": axes.get("over", "ebm_no_buffer")}
    return metric, axes


def _level(text: str) -> float | str:
    if not re.fullmatch(NUMBER, text):
        return text
    number = float(text)
    return int(number) if number.is_integer() else number


def modern_comparison(content: Any) -> Any:
    """The content of a compare.json of any version as today's: columns and tables by metric and
    axes, which were patterns of glued words with a * for the axis that a table goes over.
    """
    if not isinstance(content, dict):
        return content
    new = dict(content)
    if isinstance(new.get("headline"), list):
        new["headline"] = [_column(c) if isinstance(c, str) else c for c in new["headline"]]
    if isinstance(new.get("tables"), list):
        new["tables"] = [_table(t) if _is_old(t) else t for t in new["tables"]]
    return new


def _column(name: str, label: str = "") -> dict[str, Any]:
    metric, axes = split(name)
    return {"metric": metric, "axes": axes, "label": label}


def _is_old(table: Any) -> bool:
    patterns = table.get("metrics") if isinstance(table, dict) else None
    return isinstance(patterns, list) and all(isinstance(p, str) and "*" in p for p in patterns)


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    found = [split(pattern.replace("*", STAR)) for pattern in table["metrics"]]
    axes = found[0][1] if found else {}
    over = next((axis for axis, value in axes.items() if str(value) == STAR), "of")
    last = table.get("last")
    return {
        **table,
        "metrics": [metric for metric, _ in found],
        "over": over,
        "where": {axis: value for axis, value in axes.items() if axis != over},
        "last": [_column(n, str(t)) for n, t in last.items()] if isinstance(last, dict) else [],
    }

"""The table: rows of results.json laid out by method and metric, the best learned method marked.

a beats b  =  a is ahead by more than two standard errors of the difference, 2 sqrt(stderr_a^2 + stderr_b^2)
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, NamedTuple

from gradlogp.metrics import quantity

Row = Mapping[str, Any]

TRIVIAL = "Gaussian of the pixels"  # as the harness names it
EXPECTED = {
    "reference": "a perfect method (expected)",
    "trivial": "a trivial method (expected)",
}


class Key(NamedTuple):
    """What was measured: a metric, and the axes that say of what."""

    metric: str
    axes: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, metric: str, axes: Mapping[str, Any] | None = None) -> "Key":
        return cls(metric, tuple((axes or {}).items()))


def key_of(row: Row) -> Key:
    return Key.of(str(row.get("metric")), row.get("axes"))


@dataclass(frozen=True)
class Cell:
    """value +- stderr of one method in one metric. One seed: the standard error of its row;
    several: their standard error.
    """

    value: float
    stderr: float | None
    rows: tuple[Row, ...]

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value)


class Pairwise(NamedTuple):
    """Metrics in which one method is better than another, worse, or not told apart."""

    better: list[Key]
    worse: list[Key]
    same: list[Key]


def cell(rows: Sequence[Row]) -> Cell | None:
    found = [float(r["value"]) for r in rows if isinstance(r.get("value"), int | float)]
    if not found:
        return None
    if len(found) > 1:
        return Cell(
            fmean(found),
            stdev(found) / math.sqrt(len(found)) if all(map(math.isfinite, found)) else None,
            tuple(rows),
        )
    stderr = rows[0].get("stderr")
    return Cell(
        found[0],
        float(stderr) if isinstance(stderr, int | float) and math.isfinite(stderr) else None,
        tuple(rows),
    )


class Numbers:
    """`rows` carry `method`; `learned` are the methods that were trained, in their order. All
    others are references.
    """

    def __init__(self, rows: Iterable[Row], learned: Sequence[str]):
        self.learned = list(learned)
        found: dict[tuple[str, Key], list[Row]] = defaultdict(list)
        for row in rows:
            found[str(row.get("method")), key_of(row)].append(row)
        self.rows = dict(found)
        if not any(method not in learned for method, _ in self.rows):
            self._expect()

    def _expect(self) -> None:
        """Without measured references, the values of a perfect and of a trivial method that the
        metrics themselves know stand in for them.

        A prevalence is that of the examples that were measured: where methods saw unlike many, of
        the most.
        """
        by_size = sorted(self.rows.items(), key=lambda item: item[1][0].get("n") or 0)
        for (_, key), (row, *_) in by_size:
            for name, label in EXPECTED.items():
                if isinstance(row.get(name), int | float):
                    said = {"method": label, "value": row[name], "better": row.get("better")}
                    self.rows[label, key] = [{"metric": key.metric, "axes": dict(key.axes), **said}]

    @cached_property
    def metrics(self) -> list[Key]:
        """As they come, but a metric with axes follows the same without."""
        keys = list(dict.fromkeys(key for _, key in self.rows))
        place = {key: i for i, key in enumerate(keys)}
        return sorted(keys, key=lambda k: place.get(Key(k.metric), place[k]))

    @cached_property
    def references(self) -> list[str]:
        return [
            m for m in dict.fromkeys(method for method, _ in self.rows) if m not in self.learned
        ]

    @property
    def attainable(self) -> list[str]:
        """References that mark what can be hoped for."""
        return [m for m in self.references if m not in self.trivial]

    @property
    def trivial(self) -> list[str]:
        """References that a method must beat to be worth anything."""
        return [m for m in self.references if m in (TRIVIAL, EXPECTED["trivial"])]

    def cell(self, method: str, metric: Key) -> Cell | None:
        return cell(self.rows.get((method, metric), ()))

    def lower(self, metric: Key) -> bool:
        return any(
            row.get("better") == "lower"
            for (_, name), rows in self.rows.items()
            if name == metric
            for row in rows
        )

    def neutral(self, metric: Key) -> bool:
        """Whether the metric names no winner."""
        return self.aim(metric) is not None

    def aim(self, metric: Key) -> str | None:
        """The value that is right where neither less nor more is better; empty where none is."""
        known = quantity(metric.metric)
        if known is None or known.better != "none":
            return None
        return "" if known.aim is None else f"{known.aim:g}"

    def head(self, metric: Key, label: str) -> str:
        """The label and what is good: low, high, near 1, or nothing."""
        aim = self.aim(metric)
        good = (
            f"near {aim}" if aim else "" if aim == "" else "low" if self.lower(metric) else "high"
        )
        return f"{label} ({good})" if good else label

    def ranked(self, metric: Key) -> list[str]:
        """Learned methods with a finite value, the best first; nobody where the metric names no
        winner.
        """
        if self.neutral(metric):
            return []
        cells = {m: c for m in self.learned if (c := self.cell(m, metric)) and c.finite}
        return sorted(cells, key=lambda m: cells[m].value, reverse=not self.lower(metric))

    def mark(self, method: str, metric: Key) -> str:
        """ "best", "close" (not told apart from the best) or nothing; with a single method there is
        no contest.
        """
        order = self.ranked(metric)
        if len(order) < 2 or method not in order:
            return ""
        first = self.cell(order[0], metric)
        found = self.cell(method, metric)
        return (
            "best"
            if first and found and found.value == first.value
            else "close"
            if self.close(order[0], method, metric)
            else ""
        )

    def close(self, one: str, other: str, metric: Key) -> bool:
        a, b = self.cell(one, metric), self.cell(other, metric)
        if a is None or b is None or a.stderr is None or b.stderr is None:
            return False
        return abs(a.value - b.value) <= 2 * math.hypot(a.stderr, b.stderr)

    def beats(self, one: str, other: str, metric: Key) -> bool:
        """Ahead by more than two standard errors (by anything, where no standard error is known)."""
        a, b = self.cell(one, metric), self.cell(other, metric)
        if a is None or b is None or not (a.finite and b.finite) or self.close(one, other, metric):
            return False
        return a.value < b.value if self.lower(metric) else a.value > b.value

    def place(self, method: str, metric: Key) -> float | None:
        """Where a value lies between the trivial method (0) and real pictures (1), kept inside."""
        if not (self.trivial and self.attainable) or self.neutral(metric):
            return None
        value, low, high = (
            self._value(m, metric) for m in (method, self.trivial[0], self.attainable[0])
        )
        if (
            value is None
            or low is None
            or high is None
            or low == high
            or (high > low) == self.lower(metric)
        ):
            return None
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def _value(self, method: str, metric: Key) -> float | None:
        found = self.cell(method, metric)
        return found.value if found and found.finite else None

    def said(self, metric: Key, key: str) -> Any:
        """What the first learned row of a metric says under `key`, such as its reference."""
        return next(
            (
                row[key]
                for m in self.learned
                for row in self.rows.get((m, metric), ())
                if row.get(key) is not None
            ),
            None,
        )

    def pairwise(self, one: str, other: str, metrics: Sequence[Key]) -> Pairwise:
        both = [k for k in metrics if one in self.ranked(k) and other in self.ranked(k)]
        better, worse = (
            [k for k in both if self.beats(a, b, k)] for a, b in ((one, other), (other, one))
        )
        return Pairwise(better, worse, [k for k in both if k not in better and k not in worse])

    def verdicts(self, metrics: Sequence[Key]) -> dict[str, tuple[list[Key], list[Key]]]:
        """For each learned method, the metrics that it leads, and those in which the trivial method
        beats it.
        """
        return {
            m: (
                [k for k in metrics if self.mark(m, k) == "best"],
                [
                    k
                    for k in metrics
                    if not self.neutral(k) and any(self.beats(c, m, k) for c in self.trivial)
                ],
            )
            for m in self.learned
        }

"""A further table of a comparison: which measurements stand side by side, and how they are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Column:
    """The measurements of one metric with exactly these axes: Column("fd", {"steps": 20}).

    `label` is the head of the column, by default the metric and its axes in words.
    """

    metric: str
    axes: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


@dataclass(frozen=True)
class Table:
    """Methods down, and across the values that the axis `over` takes, in order of appearance, for
    each of `metrics`; the measurement has no axes but that one and those that `where` fixes.

    `last` adds columns at the end, such as a mean, by the first of which methods are sorted.
    `turned` has the methods across. `decimals` is their number, without standard errors; without
    it, values have as many digits as their standard errors allow, and ± them.
    """

    title: str
    metrics: tuple[str, ...]
    over: str
    where: Mapping[str, Any] = field(default_factory=dict)
    last: tuple[Column, ...] = ()
    turned: bool = False
    decimals: int | None = None

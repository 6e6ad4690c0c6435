"""A further table of a comparison: which of its metrics stand side by side, and how they are
written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Methods down, and across every metric that one of the patterns `metrics` matches, in order of
    appearance.

    A pattern holds one *, and a column is called what that stands for: of "auroc digit *", 0 to 9.
    `last`, metric -> label, adds columns at the end, such as a mean, by the first of which methods
    are sorted. `turned` has the methods across. `decimals` is their number, without spreads;
    without it, values have as many digits as their spreads allow, and ± them.
    """

    title: str
    metrics: tuple[str, ...]
    last: Mapping[str, str] = field(default_factory=dict)
    turned: bool = False
    decimals: int | None = None


def stands_for(pattern: str, metric: str) -> str:
    """What the * of `pattern` stands for in `metric`; nothing where they do not match."""
    head, _, tail = pattern.partition("*")
    return (
        metric[len(head) : len(metric) - len(tail)]
        if metric.startswith(head) and metric.endswith(tail)
        else ""
    )

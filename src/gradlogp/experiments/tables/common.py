"""What all methods of the comparison share: whatever a method can answer of a table is measured.

Reference: Lopez-Paz & Oquab (2017), arXiv 1610.06545 (can new rows be told apart?).
"""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.random import seeded
from gradlogp.experiments.tables.problems import Problem, problems
from gradlogp.harness.record import Recorder, Rows
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure
from gradlogp.metrics.base import standard_error
from gradlogp.metrics.detection import auprc, auroc
from gradlogp.metrics.two_sample import c2st, one_nn

Detect = Callable[[Tensor], Tensor]  # rows [n, d] -> score [n], high = anomalous
Impute = Callable[[Tensor, Tensor], Tensor]  # (rows, known) -> rows without holes
Draw = Callable[[int, Generator], Tensor]  # (n, generator) -> rows [n, d]


@final
@dataclass(frozen=True)
class Learned:
    """What a method can do with a table, None for what it cannot; and what its networks have cost."""

    detect: Detect | None = None
    impute: Impute | None = None
    draw: Draw | None = None
    parameters: int = 0
    evaluations: int = 0


@dataclass(frozen=True)
class Tabular(Trial):
    """further: data sets beside the one at hand. shares: of the cells that are hidden, the first of
    which counts. rows: of the normal test part, at most.
    """

    further: tuple[str, ...] = ()
    shares: tuple[float, ...] = (0.3,)
    rows: int = 300

    @abc.abstractmethod
    def learn(self, problem: Problem) -> Learned:
        """From the normal training rows of one table."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training() as cost:
            known = [(p, self.learn(p)) for p in problems(context, self.further, self.rows)]
            cost.images = sum(len(p.train) for p, _ in known)
            cost.parameters = max(each.parameters for _, each in known)
            cost.evaluations = sum(each.evaluations for _, each in known)
        recorder.listener.begin(self.experiment, len(known))
        for problem, learned in known:
            for measure in self._measures(problem, learned):
                recorder.add(measure.at(table=problem.name.partition(":")[2] or problem.name))
            recorder.listener.advance()
        recorder.listener.end()
        recorder.add(*means(recorder.rows))

    def _measures(self, problem: Problem, learned: Learned) -> Iterator[Measure]:
        if learned.detect is not None and len(problem.anomalies):
            yield from detection(problem, learned.detect)
        if learned.impute is not None:
            for share in self.shares:
                found = imputation(problem, learned.impute, share)
                yield found if share == self.shares[0] else found.at(hidden=share)
        if learned.draw is not None:
            yield from synthesis(problem, learned.draw, self.seed)


def detection(problem: Problem, score: Detect) -> list[Measure]:
    """AUROC and AUPRC of the anomalies against the normal rows of the test part."""
    normal, anomalous = score(problem.test), score(problem.anomalies)
    return [auroc(normal, anomalous), auprc(normal, anomalous)]


def imputation(problem: Problem, impute: Impute, share: float) -> Measure:
    """NRMSE of hidden cells; its standard error is that over rows, by the delta method."""
    hidden = problem.hidden(problem.test, share)
    filled = impute(problem.test.masked_fill(hidden, torch.nan).nan_to_num(0), ~hidden)
    error = (filled - problem.test).double().square() * hidden
    value = float((error.sum() / hidden.sum()).sqrt())
    each = (error.sum(1) - value**2 * hidden.sum(1)) / hidden.sum(1).double().mean()
    error_of_square = standard_error(each)
    stderr = None if error_of_square is None else error_of_square / max(2 * value, 1e-12)
    protocol = (
        f"root mean square error of hidden cells, in standard deviations of the normal training rows;"
        f" {share:.0%} of the cells hidden at random, {len(error)} normal test rows"
    )
    return Measure("nrmse", value, stderr, len(error), "lower", protocol)


def synthesis(problem: Problem, draw: Draw, seed: int) -> list[Measure]:
    """Can as many new rows be told from the normal test rows?"""
    rows = draw(len(problem.test), seeded(seed, "synthetic rows", problem.name)).float()
    return [metric(problem.test, rows, "none: the standardised cells") for metric in (c2st, one_nn)]


def means(rows: Rows) -> list[Measure]:
    """The mean over the tables of every metric; its standard error takes them as independent."""
    kinds: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        axes = {name: value for name, value in row.get("axes", {}).items() if name != "table"}
        kinds.setdefault((row["metric"], *sorted(axes.items())), []).append(row)
    return [_mean(key[0], dict(key[1:]), those) for key, those in kinds.items()]


def _mean(metric: str, axes: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Measure:
    count = len(rows)
    value = sum(row["value"] for row in rows) / count
    stderr = sum(float(row["stderr"] or 0) ** 2 for row in rows) ** 0.5 / count
    says = f"mean over {count} tables: {rows[0]['protocol']}"
    aim = rows[0].get("reference")
    n = sum(row["n"] for row in rows)
    return Measure(metric, value, stderr, n, rows[0]["better"], says, aim, axes=dict(axes))

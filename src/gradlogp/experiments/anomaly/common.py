"""What all detectors share: score the test part of every problem, measure, and keep the scores for
paired tests.

Reference: Han et al. (2022), ADBench, arXiv 2206.09426 (AUROC and AUPRC over many tables).
"""

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gradlogp.core.random import seeded
from gradlogp.experiments.anomaly.problems import NORMAL, Problem, Scope, problems
from gradlogp.harness.record import Cost, Recorder, Rows
from gradlogp.harness.settings import Choices
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure
from gradlogp.metrics.detection import auprc, auroc, fpr95
from gradlogp.objectives import Objective
from gradlogp.runs.cache import Cache
from gradlogp.training import Guard, GuardSettings, Learner, Training, learn

PICTURES = ("scope.protocols='one-class','held-out'",)
EVERYTHING = ("scope.protocols='one-class','held-out','cross','tables'",)
# quick: 20,000 training pictures at most, and held-out and cross test parts thinned to about 2,500.
# Cross data and tables go with mnist and fashion_mnist, cross data with cifar10 too; other sets have
# the first two protocols.
SCOPES: Choices = {
    "any": {"any": PICTURES, "quick": ("scope.test=2500", "scope.train=20000")},
    "mnist": {"any": EVERYTHING},
    "fashion_mnist": {"any": EVERYTHING},
    "cifar10": {"any": ("scope.protocols='one-class','held-out','cross'",)},
}
# no limits but being finite: tables have outliers, and the energies of outliers are large
LIMITS = GuardSettings(max_energy=math.inf, max_growth=math.inf, max_gap=math.inf)


@dataclass(frozen=True)
class Detecting(Trial):
    """A method of anomaly detection, on all problems of a scope."""

    scope: Scope = field(default_factory=Scope)

    @abc.abstractmethod
    def scores(self, problem: Problem, cache: Cache, cost: Cost) -> Tensor:
        """One score for each test example [m], high = anomalous; what was learned is added to
        `cost`.
        """

    def narrowed(self, problem: Problem) -> Problem:
        """The problem, with a smaller test part where a score is costly."""
        return problem

    def features(self, problem: Problem, cache: Cache) -> Mapping[str, Tensor]:
        """Further arrays to keep of a problem, for a figure."""
        return {}

    def perform(self, context: Context, recorder: Recorder) -> None:
        cache = Cache(recorder.run.path.parent / "shared")
        cost = Cost()
        recorder.listener.begin(self.experiment, 1)
        for problem in map(self.narrowed, problems(context, self.scope)):
            score = self.scores(problem, cache, cost)
            record(recorder, problem, score)
            recorder.keep(problem.axes, **self.features(problem, cache))
        recorder.listener.end()
        recorder.trained(cost)
        recorder.add(*means(recorder.rows))
        recorder.save()


D = TypeVar("D", bound=Detecting)


def of_pictures(trial: D) -> D:
    """Without the tables of its scope."""
    kept = tuple(p for p in trial.scope.protocols if p != "tables")
    return replace(trial, scope=replace(trial.scope, protocols=kept))


def record(recorder: Recorder, problem: Problem, score: Tensor) -> None:
    """AUROC, AUPRC and FPR95 of each kind of anomaly as rows, and the scores."""
    normal = score[problem.kind == NORMAL]
    recorder.keep(problem.axes, normal=normal.float())
    for axes, mask in problem.anomalies():
        for metric in (auroc, auprc, fpr95):
            measure = metric(normal, score[mask])
            protocol = f"{problem.says}; {measure.protocol}"
            recorder.add(replace(measure, protocol=protocol), axes=axes)
        recorder.keep(axes, anomalous=score[mask].float())


def means(rows: Rows) -> list[Measure]:
    """The mean over the classes or tables of each protocol; its standard error takes them as
    independent.
    """
    found = []
    for metric in ("auroc", "auprc"):
        for protocol in ("one-class", "held-out", "tables"):
            those = [r for r in rows if r["metric"] == metric and r["axes"]["protocol"] == protocol]
            if those:
                found.append(_mean(metric, protocol, those))
    return found


def _mean(metric: str, protocol: str, rows: Sequence[Mapping[str, Any]]) -> Measure:
    stderr = math.sqrt(sum(float(r["stderr"] or 0) ** 2 for r in rows)) / len(rows)
    value = sum(r["value"] for r in rows) / len(rows)
    n = sum(r["n"] for r in rows)
    says = f"mean over {len(rows)} of {protocol}: {rows[0]['protocol']}"
    return Measure(metric, value, stderr, n, "higher", says, axes={"protocol": protocol})


def learned(
    model: nn.Module,
    objective: Objective,
    x: Tensor,
    training: Training,
    seed: int,
    *words: str,
    cond: Tensor | None = None,
) -> nn.Module:
    """The averaged weights after `training` on x [n, *shape] with conditions [n], in evaluation
    mode; `words` decide the noise with the seed.
    """
    generator = seeded(seed, "noise", *words)
    learner = Learner(model, objective, training, generator, Guard(LIMITS))
    averaged: nn.Module = learn(learner, x, cond, seed)
    return averaged


def seed_weights(seed: int, problem: Problem) -> None:
    """The weights of the next model are decided by the seed and the problem."""
    torch.manual_seed(seeded(seed, "weights", problem.name).initial_seed())


def spend(cost: Cost, model: nn.Module, images: int, each: int = 1) -> None:
    """One more model: of the parameters the most count, the rest is summed."""
    cost.parameters = max(cost.parameters, sum(p.numel() for p in model.parameters()))
    cost.images += images
    cost.evaluations += images * each

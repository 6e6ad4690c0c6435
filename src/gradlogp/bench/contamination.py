r"""What a detector is worth whose training rows hold outliers that nobody has marked.

Tables of ADBench: a detector learns from normal rows among which a share c of anomalies is hidden,
never told which, and scores rows that it has not seen, and the very rows that it has learned from
(cross-fitted: each by a detector that has not seen it). Half of each table's anomalies are kept for
the test whatever c is; those that are hidden come from the other half, so small tables may fall
short of c.

Reference: Han et al. (2022), ADBench, arXiv 2206.09426, section 4.4 (contaminated training data).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from gradlogp.baselines.detectors import (
    Detector,
    Isolation,
    NearestNeighbours,
    NoisedEnergy,
    Scores,
    Standardised,
    cross_fitted,
)
from gradlogp.bench.page import one_thread, table
from gradlogp.core.batch import Batch
from gradlogp.core.random import seeded
from gradlogp.data.adbench import table as read, tables
from gradlogp.metrics.detection import auroc
from gradlogp.models import PreconditionedEnergy, mlp_noisy_energy
from gradlogp.models.nets.mlp import LevelMLP
from gradlogp.models.noisy import Reconstruction
from gradlogp.objectives import DenoisingScoreMatching, LogNormal
from gradlogp.tasks import detect
from gradlogp.training import Guard, GuardSettings, Learner, Training, shuffled

SHARES = (0.0, 0.02, 0.05, 0.1)
MOST, TESTED = 2000, 2000  # rows learned from; normal rows, and anomalies, scored


@final
@dataclass(frozen=True)
class Learned(Detector):
    """An energy at every noise level by denoising score matching, asked at `level` deviations: a
    perceptron's scalar output, or half its squared error.
    """

    form: Literal["scalar", "squared error"]
    level: float
    images: int = 15_000

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        model = fitted(self.form, normal.float(), self.images, seed)
        return lambda x: detect.energy(model, x.float(), self.level)


def fitted(form: str, x: Tensor, images: int, seed: int) -> nn.Module:
    """The averaged weights of an energy learned from rows x [n, D] of unit deviation."""
    torch.manual_seed(seeded(seed, "weights").initial_seed())
    width = x.shape[1]
    model: nn.Module = (
        mlp_noisy_energy(width, 1.0, blocks=2)
        if form == "scalar"
        else PreconditionedEnergy(Reconstruction(LevelMLP(width, blocks=2)), 1.0)
    )
    objective = DenoisingScoreMatching(LogNormal(0.3, 1.2), "edm")
    training = Training(images, batch=min(64, len(x)), learning_rate=2e-3)
    limits = GuardSettings(max_energy=math.inf, max_growth=math.inf, max_gap=math.inf)
    learner = Learner(model, objective, training, seeded(seed, "noise"), Guard(limits))
    order = shuffled(len(x), training.batch, seed)
    for step in range(training.steps):
        learner.update(Batch(x[order(step)], None))
    averaged: nn.Module = learner.ema.module
    return averaged.eval().requires_grad_(False)


METHODS: dict[str, Detector] = {
    "noised energy": NoisedEnergy(),
    "nearest neighbour": Standardised(NearestNeighbours(1), robustly=False),
    "5th neighbour": Standardised(NearestNeighbours(5), robustly=False),
    "5th neighbour, robust columns": Standardised(NearestNeighbours(5)),
    "isolation forest": Isolation(),
}
# a network for each cell takes seconds, so these are measured on every third table, clean and dirty
LEARNED: dict[str, Detector] = {
    "mlp_noisy_energy, at 1": Standardised(Learned("scalar", 1.0), robustly=False),
    "half a squared error, at 4": Standardised(Learned("squared error", 4.0)),
}
THIRD, DIRTY = 3, (0.0, 0.05)


@final
@dataclass(frozen=True)
class Dirty:
    """Rows to learn from [n, D], which of them are anomalies [n], and rows to score."""

    rows: Tensor
    planted: Tensor
    normal: Tensor
    anomalous: Tensor


def dirty(name: str, share: float, seed: int = 0) -> Dirty:
    """The table `name` with a `share` of anomalies among its training rows."""
    one = read(name)
    train, test, labels = one.train.x[:MOST], one.test.x, one.test.labels
    anomalous = test[labels == 1]
    mixed = torch.randperm(len(anomalous), generator=seeded(seed, "anomalies"))
    pool, kept = anomalous[mixed].tensor_split([len(mixed) // 2])
    count = min(len(pool), round(share / (1 - share) * len(train)))
    order = torch.randperm(len(train) + count, generator=seeded(seed, "rows"))
    planted = torch.arange(len(order)) >= len(train)
    rows = torch.cat([train, pool[:count]])
    return Dirty(rows[order], planted[order], test[labels == 0][:TESTED], kept[:TESTED])


def rows(
    seeds: int = 1,
    names: Sequence[str] = (),
    shares: Sequence[float] = SHARES,
    methods: Mapping[str, Detector] = METHODS,
    learned: Mapping[str, Detector] = LEARNED,
) -> list[dict[str, Any]]:
    """AUROC of every method on every table at every share: of new rows, and of the table's own."""
    every = list(names or tables())
    cells = [(name, share, methods) for name in every for share in shares]
    cells += [(name, share, learned) for name in every[::THIRD] for share in DIRTY]
    with one_thread():
        return [
            {"table": name, "share": share, "seed": seed, "method": method}
            | _measured(dirty(name, share, seed), detector, seed)
            for name, share, those in cells
            for seed in range(seeds)
            for method, detector in those.items()
        ]


def _measured(given: Dirty, detector: Detector, seed: int) -> dict[str, Any]:
    score = detector.fit(given.rows, seed=seed)
    found = {
        "planted": int(given.planted.sum()),
        "learned": len(given.rows),
        "new": float(auroc(score(given.normal), score(given.anomalous))),
    }
    trained = isinstance(detector, Standardised) and isinstance(detector.detector, Learned)
    if found["planted"] and not trained:  # five more networks for each
        own = cross_fitted(detector, given.rows, seed=seed)
        found["own"] = float(auroc(own[~given.planted], own[given.planted]))
    return found


PAGE = """# Detectors whose training rows hold outliers

{tables} tables of ADBench, {seeds} seed(s). A detector learns from normal rows (half of a table's, a fifth of them held
back, at most {most:,}) among which a share of anomalies is hidden, and is never told which. Mean AUROC over the tables;
settings are the defaults of `gradlogp.baselines.detectors`, and nothing is chosen by an anomaly. Tables with few
anomalies fall short of the share: on average {planted} are hidden.

## Rows that the detector has not seen

{new}

## The table's own rows, cross-fitted

Each row is scored by a detector that has not learned it (`cross_fitted`): how to find the outliers of one unmarked table.

{own}

`noised energy` is what denoising learns at one robust deviation of noise, in closed form:
`NoisedEnergy().fit(rows)(rows)`.

## Why it is not a network

New rows of every third table. The learned ones have 15,000 examples of denoising score matching each: `mlp_noisy_energy`
on columns over their standard deviation, asked at one, and half a perceptron's squared error on robust columns, asked at
four deviations of noise.

{learned}

<details><summary>Every table at {share:.0%}: AUROC of new rows</summary>

{each}

</details>
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    trained = {row["method"] for row in rows} & LEARNED.keys()
    found = [row for row in rows if row["method"] not in trained]
    methods, shares, names = (
        list(dict.fromkeys(row[key] for row in found)) for key in ("method", "share", "table")
    )
    hidden = [s for s in shares if s > 0]
    planted = [fmean(r["planted"] / r["learned"] for r in found if r["share"] == s) for s in hidden]
    third = [row for row in rows if row["table"] in names[::THIRD]]
    shown = DIRTY[-1]
    return PAGE.format(
        tables=len(names),
        seeds=len({row["seed"] for row in rows}),
        most=MOST,
        planted=", ".join(f"{share:.1%}" for share in planted),
        new=_table(found, methods, shares, "new"),
        own=_table(found, methods, hidden, "own"),
        learned=_table(third, [*methods, *LEARNED], DIRTY, "new"),
        share=shown,
        each=table(
            ["table", *methods],
            [
                [n, *(_mean(found, "new", table=n, share=shown, method=m) for m in methods)]
                for n in names
            ],
        ),
    )


def _table(
    rows: Sequence[dict[str, Any]], methods: Sequence[str], shares: Sequence[float], key: str
) -> str:
    measured = [m for m in methods if any(key in row for row in rows if row["method"] == m)]
    cells = [[m, *(_mean(rows, key, share=s, method=m) for s in shares)] for m in measured]
    return table(["method", *(f"{share:.0%} hidden" for share in shares)], cells)


def _mean(rows: Sequence[dict[str, Any]], key: str, **where: Any) -> str:
    found = [row[key] for row in rows if key in row and all(row[k] == v for k, v in where.items())]
    return f"{fmean(found):.3f}" if found else ""

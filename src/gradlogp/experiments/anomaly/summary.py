"""Ranks on tables, and paired tests of the methods against the best baseline.

References: DeLong et al. (1988), Biometrics 44 (paired tests of AUROC); Han et al. (2022), arXiv
2206.09426 (ranks over tables).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlogp.experiments.anomaly import drawing
from gradlogp.experiments.anomaly.classical import BASELINES
from gradlogp.experiments.anomaly.scores import Kept, asked, mean_auroc, problems_of, scores_of
from gradlogp.harness.compare import Runs
from gradlogp.harness.record import Rows, add_captions, row
from gradlogp.harness.trial import items
from gradlogp.metrics import Measure
from gradlogp.metrics.detection import auroc, auroc_difference
from gradlogp.runs import Run

TABLES = {"protocol": "tables"}
GROUPS: tuple[Mapping[str, Any], ...] = (
    {"protocol": "one-class"},
    {"protocol": "held-out"},
    {"protocol": "cross", "learned": "fashion_mnist"},
    {"protocol": "cross", "learned": "mnist"},
    {"protocol": "cross", "learned": "cifar10"},
)


def summary(folder: Path, runs: Runs) -> Rows:
    """Ranks and paired tests seed by seed, and figures of the first."""
    every = [
        dict(zip(runs, map(items, paths), strict=True))
        for paths in zip(*runs.values(), strict=True)
    ]
    classes = Run.open(next(iter(runs.values()))[0]).config["data"]["classes"]
    samples = folder / "samples"
    add_captions(samples / "figures.json", drawing.figures_of(samples, every[0], classes))
    return [r for kept in every for r in (*ranks(kept), *leads(kept))]


def leads(kept: Kept) -> Rows:
    """AUROC of each method less that of the best baseline in each protocol, paired by DeLong."""
    rows: Rows = []
    for group in GROUPS:
        means = {m: mean_auroc(found, group) for m, found in asked(kept, group).items()}
        ours, theirs = _sides(means)
        if not ours or not theirs:
            continue
        best = max(theirs, key=lambda m: means[m])
        for method in ours:
            rows += [{"method": method, **row(m)} for m in _lead(kept, method, best, group)]
    return rows


def _sides(kept: Iterable[str]) -> tuple[list[str], list[str]]:
    """The methods, and the baselines."""
    names = list(kept)
    ours = [m for m in names if m not in BASELINES]
    return ours, [m for m in names if m in BASELINES]


def _lead(kept: Kept, method: str, best: str, group: Mapping[str, Any]) -> list[Measure]:
    """The mean over the problems that both have scored on the same test part; none without any."""
    found = []
    for problem in problems_of(kept[method], group):
        mine, theirs = (scores_of(kept[m], problem) for m in (method, best))
        if [len(x) for x in mine] == [len(x) for x in theirs]:
            found.append(auroc_difference(*zip(mine, theirs, strict=True)))
    if not found:
        return []
    value, stderr = (sum(column) / len(found) for column in zip(*found, strict=True))
    together = ", averaged over classes as if they erred together" if len(found) > 1 else ""
    says = (
        f"AUROC less that of {best}, the best baseline, on the same test pictures; paired standard"
        f" error by DeLong{together}"
    )
    return [Measure("lead", value, stderr, len(found), "higher", says, axes=group)]


def ranks(kept: Kept) -> Rows:
    """The mean over tables of each method's rank by AUROC among all, and of its place among the
    baselines alone.
    """
    kept = asked(kept, TABLES)
    if not kept:
        return []
    tables = problems_of(next(iter(kept.values())), TABLES)
    values = {
        m: torch.tensor([float(auroc(*scores_of(found, t))) for t in tables], dtype=torch.float64)
        for m, found in kept.items()
    }
    ours, theirs = _sides(kept)
    every = f"all {len(kept)} methods"
    rows = [{"method": m, **row(_rank("rank", values, m, list(kept), every))} for m in kept]
    if theirs:
        some = f"itself and the {len(theirs)} baselines"
        rows += [{"method": m, **row(_rank("place", values, m, theirs, some))} for m in ours]
    return rows


def _rank(
    metric: str, values: Mapping[str, Tensor], method: str, among: Sequence[str], says: str
) -> Measure:
    """Of AUROC [tables] by method; ties count half."""
    others = torch.stack([values[m] for m in among if m != method])
    mine = values[method]
    rank = 1 + (others > mine).sum(0) + (others == mine).sum(0) / 2
    protocol = (
        f"mean rank by AUROC among {says} over {len(mine)} tables, 1 is best; standard error over"
        " tables"
    )
    stderr = float(rank.std() / len(mine) ** 0.5)
    mean = float(rank.mean())
    return Measure(metric, mean, stderr, len(mine), "lower", protocol, axes=TABLES)

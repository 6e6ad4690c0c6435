"""Anomaly detection: does an energy, does a score field know what it has never seen?"""

from gradlogp.experiments.anomaly.methods import ENERGIES, SCORES
from gradlogp.experiments.anomaly.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

HEADLINE = (
    Column("auroc", {"protocol": "one-class"}),
    Column("auroc", {"protocol": "held-out"}),
    Column("auroc", {"protocol": "cross", "learned": "fashion_mnist", "against": "mnist"}),
    Column("auroc", {"protocol": "cross", "learned": "mnist", "against": "fashion_mnist"}),
    Column("auroc", {"protocol": "cross", "learned": "cifar10", "against": "smooth"}),
    Column("auroc", {"protocol": "cross", "learned": "cifar10", "against": "mnist"}),
    Column("auroc", {"protocol": "tables"}),
    Column("rank", {"protocol": "tables"}),
)


def _by_class(title: str, metric: str, protocol: str) -> Table:
    where = {"protocol": protocol}
    mean = Column(metric, where, "mean")
    return Table(title, (metric,), "class", where, last=(mean,), decimals=3)


def _across(learned: str) -> Table:
    title = f"Learned {learned}, by the other test part: AUROC"
    where = {"protocol": "cross", "learned": learned}
    return Table(title, ("auroc",), "against", where, decimals=3)


TABLES = (
    _by_class("One-class, by class learned: AUROC", "auroc", "one-class"),
    _by_class("Held-out, by class left out: AUROC", "auroc", "held-out"),
    _by_class("Held-out, by class left out: AUPRC", "auprc", "held-out"),
    _across("fashion_mnist"),
    _across("mnist"),
    _across("cifar10"),
    Table(
        "AUROC less that of the best baseline on the same test pictures, by protocol",
        ("lead",),
        "protocol",
    ),
    Table(
        "AUROC less that of the best baseline across data sets, by the one learned",
        ("lead",),
        "learned",
        {"protocol": "cross"},
    ),
    Table(
        "All tables of ADBench: AUROC",
        ("auroc",),
        "table",
        {"protocol": "tables"},
        last=(
            Column("rank", {"protocol": "tables"}, "mean rank"),
            Column("auroc", {"protocol": "tables"}, "mean AUROC"),
            Column("place", {"protocol": "tables"}, "mean place among the baselines"),
        ),
        turned=True,
        decimals=3,
    ),
)

EBM_ANOMALY = Comparison(
    "Does an energy know what it has never seen?",
    ENERGIES,
    dataset="mnist",
    draws_samples=False,
    headline=HEADLINE,
    tables=TABLES,
    summary=summary,
)
SCORE_ANOMALY = Comparison(
    "Does a score field know what it has never seen?",
    SCORES,
    dataset="mnist",
    draws_samples=False,
    headline=HEADLINE,
    tables=TABLES,
    summary=summary,
)

"""Energies as classifiers, and whether they know what is out of distribution."""

from gradlogp.experiments.classify.common import PAIRS
from gradlogp.experiments.classify.methods import METHODS
from gradlogp.experiments.classify.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

COMPARISON = Comparison(
    "What makes an energy a good classifier, and does it know what is out of distribution?",
    METHODS,
    dataset="mnist",
    draws_samples=False,
    headline=(
        *(Column("accuracy", {"task": task}) for task in (*PAIRS, "parity")),
        Column("nll", {"task": "3v5"}),
        Column("ece", {"task": "3v5"}),
        Column("auroc", {"against": "fashion_mnist", "by": "energy"}),
        Column("auroc", {"against": "fashion_mnist", "by": "probability"}),
    ),
    tables=(
        Table("Negative log-likelihood (NLL) in nats, by task", ("nll",), "task"),
        Table("Calibration error (ECE), by task", ("ece",), "task"),
        Table(
            "AUROC of out-of-distribution pictures by energy",
            ("auroc",),
            "against",
            {"by": "energy"},
        ),
        Table(
            "AUROC of out-of-distribution pictures by the probability of the class",
            ("auroc",),
            "against",
            {"by": "probability"},
        ),
        Table(
            "Contrast: the gap between the two energies over their size, by task",
            ("contrast",),
            "task",
        ),
        Table(
            "McNemar's p against cnn_energy, on the same test pictures",
            ("p",),
            "task",
            {"against": "cnn_energy"},
        ),
    ),
    summary=summary,
)

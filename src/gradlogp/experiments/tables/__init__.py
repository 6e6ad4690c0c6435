"""One's own table: which rows are unusual, what stands in a missing cell, and rows like these."""

from gradlogp.experiments.tables.methods import METHODS
from gradlogp.experiments.tables.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

COMPARISON = Comparison(
    "What can one network make of a table: unusual rows, missing cells, new rows?",
    METHODS,
    dataset="adbench:6_cardio",
    draws_samples=False,
    headline=tuple(map(Column, ("nrmse", "auroc", "c2st", "1nna"))),
    tables=(
        Table(
            "Missing cells, three in ten hidden: NRMSE by table",
            ("nrmse",),
            "table",
            last=(Column("nrmse", label="mean NRMSE"),),
            decimals=3,
        ),
        Table("Missing cells by the share hidden: NRMSE, mean over tables", ("nrmse",), "hidden"),
        Table(
            "Unusual rows: AUROC by table",
            ("auroc",),
            "table",
            last=(Column("auroc", label="mean AUROC"),),
            decimals=3,
        ),
        Table(
            "New rows: accuracy of a classifier that tells them from test rows, by table",
            ("c2st",),
            "table",
            decimals=3,
        ),
        Table(
            "New rows: share whose nearest row is of their own kind, by table",
            ("1nna",),
            "table",
            decimals=3,
        ),
    ),
    summary=summary,
)

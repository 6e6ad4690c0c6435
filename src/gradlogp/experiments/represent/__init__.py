"""What a representation knows of the classes that it was never told."""

from gradlogp.experiments.represent.methods import METHODS
from gradlogp.experiments.represent.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

COMPARISON = Comparison(
    "What do features learned without classes know of the classes?",
    METHODS,
    dataset="cifar10",
    draws_samples=False,
    headline=tuple(map(Column, ("knn_accuracy", "linear_probe", "cluster_accuracy", "nmi", "ari"))),
    tables=(
        Table("20 neighbours on validation, by layer", ("knn_accuracy",), "layer", decimals=3),
        Table(
            "The same, after whitening to 128 components",
            ("knn_accuracy",),
            "whitened_layer",
            decimals=3,
        ),
    ),
    summary=summary,
)

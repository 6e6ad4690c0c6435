"""What guidance buys and costs: the class that was asked for, against variety."""

from gradlogp.experiments.guidance.methods import METHODS
from gradlogp.experiments.guidance.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

MEASURED = ("agreement", "fd", "recall")

COMPARISON = Comparison(
    "How much variety does the right class cost, by guidance of a classifier and without one?",
    METHODS,
    dataset="mnist",
    headline=tuple(map(Column, ("agreement", "fd", "recall", "coverage"))),
    tables=(
        Table("By the scale of guidance", MEASURED, "scale"),
        Table("Guidance in the middle of the levels alone", MEASURED, "interval_scale"),
        Table(
            "Two Gaussians, where all is known: the share of the right class, mean and standard"
            " deviation by the scale",
            ("agreement", "drawn_mean", "drawn_std", "tilted_mean", "tilted_std"),
            "toy_scale",
        ),
    ),
    summary=summary,
    presets={"quick": ("ebm_class:training.images=60000", "ebm_class:evaluation.sigmas=0.3,")},
)

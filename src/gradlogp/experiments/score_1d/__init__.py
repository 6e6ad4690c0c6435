"""Score matching on the line, where the answer is known: explicit, implicit, sliced, finite
differences, denoising.
"""

from gradlogp.experiments.score_1d.methods import METHODS
from gradlogp.experiments.score_1d.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

COMPARISON = Comparison(
    "Which score matching finds the score, and how fast?",
    METHODS,
    dataset="laws",
    draws_samples=False,
    headline=(
        Column("rmse", {"density": "gaussian"}),
        Column("rmse", {"density": "mixture"}),
        Column("slope_error", {"density": "gaussian"}),
        Column("relative", {"density": "mixture"}),
    ),
    tables=(
        Table("Error of the fitted line's slope", ("slope_error",), "density"),
        Table(
            "Squared error weighted by the density, relative to the score's",
            ("relative",),
            "density",
        ),
        Table(
            "Gaussian: error of one network for all levels, by noise level",
            ("rmse",),
            "noise",
            {"density": "gaussian"},
        ),
        Table(
            "Mixture: error of one network for all levels, by noise level",
            ("rmse",),
            "noise",
            {"density": "mixture"},
        ),
        Table(
            "Error against the noised density, which is what one noise level learns",
            ("rmse",),
            "density",
            {"against": "noised"},
        ),
    ),
    summary=summary,
)

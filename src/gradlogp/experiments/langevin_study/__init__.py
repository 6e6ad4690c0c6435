"""Annealed Langevin dynamics taken apart: levels, steps at each, step size, and the last denoising
step.
"""

from gradlogp.experiments.langevin_study.methods import METHODS
from gradlogp.experiments.langevin_study.recursion import VARIANCES
from gradlogp.experiments.langevin_study.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

SHOWN = (
    "L=10 T=1",
    "L=20 T=1",
    "L=40 T=1",
    "consistent L=40",
    "down to .3",
    "down to .3 not denoised",
)
DEVIATION = (
    "Measured variance less that of the exact recursion, in standard errors, by setting; {:g} is that"
    " of the data"
)

COMPARISON = Comparison(
    "What do the ladder, the steps and the last denoising step buy?",
    METHODS,
    headline=(
        *(Column("fd", {"setting": name}) for name in SHOWN),
        Column("largest_deviation"),
    ),
    tables=(
        Table("Fréchet distance by setting", ("fd",), "setting", turned=True),
        *(
            Table(DEVIATION.format(v), ("deviation",), "setting", {"variance": v}, decimals=1)
            for v in VARIANCES
        ),
        Table(
            "Growth by a step on a Gaussian, by the size of the step over its variance",
            ("growth",),
            "step",
        ),
    ),
    summary=summary,
)

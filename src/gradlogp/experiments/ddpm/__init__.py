"""What the loss of a diffusion model buys: likelihood or pictures."""

from gradlogp.experiments.ddpm.methods import METHODS
from gradlogp.experiments.ddpm.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

COMPARISON = Comparison(
    "Likelihood or pictures: what do the loss, the prediction, the schedule and the variance buy?",
    METHODS,
    dataset="mnist",
    headline=tuple(map(Column, ("bits_per_dim", "fd", "precision", "recall", "coverage"))),
    tables=(
        Table("By the variance of the reverse steps", ("bits_per_dim", "fd"), "variance"),
        Table("Fréchet distance after so many evaluations of DDIM", ("fd",), "ddim"),
        Table("Along the training", ("bits_per_dim", "fd"), "share"),
    ),
    summary=summary,
)

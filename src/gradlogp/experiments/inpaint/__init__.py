"""Filling holes: chains and diffusion that sample what is missing, against networks that guess it."""

from gradlogp.experiments.inpaint.methods import METHODS
from gradlogp.experiments.inpaint.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

COMPARISON = Comparison(
    "What was in the hole: one good guess, or many that could have been?",
    METHODS,
    dataset="cifar10",
    headline=(
        Column("hole_psnr", {"mask": "hole"}),
        Column("hole_psnr", {"mask": "hole", "of": "one sample"}),
        Column("ssim", {"mask": "hole"}),
        Column("fd", {"mask": "hole"}),
        Column("diversity", {"mask": "hole"}),
        Column("agreement", {"mask": "hole"}),
    ),
    tables=(
        Table("In the unknown part, by mask", ("hole_psnr",), "mask"),
        Table("The same of one sample", ("hole_psnr",), "mask", {"of": "one sample"}),
        Table("Fréchet distance of completed pictures, by mask", ("fd",), "mask"),
        Table(
            "The score network's ways to fill the hole",
            ("hole_psnr", "fd", "diversity"),
            "way",
        ),
    ),
    summary=summary,
)

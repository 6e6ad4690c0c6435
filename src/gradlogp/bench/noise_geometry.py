"""What the geometry of a data set asks of its noise: the coarsest level, and how many levels.

The largest distance between two examples is technique 1's coarsest level; technique 2's number of
levels follows from the dimension, the coarsest and the finest level. No network is trained.

References: Song & Ermon (2020), Improved Techniques for Training Score-Based Generative Models,
arXiv 2006.09011, techniques 1 and 2.
"""

from collections.abc import Sequence
from typing import Any

from gradlogp import data as shelf
from gradlogp.bench import noise_scales
from gradlogp.bench.page import one_thread, table

SETS = ("digits", "mnist", "fashion_mnist", "cifar10")
FINEST = 0.05  # the finest level of the recipes, in model coordinates


def rows(datasets: Sequence[str] = SETS) -> list[dict[str, Any]]:
    """A row for each set: its dimension, its deviation, its distances, and the levels of technique
    2.
    """
    with one_thread():
        return [_row(name) for name in datasets]


def _row(name: str) -> dict[str, Any]:
    data = shelf.load(name)
    asked = next(ladder for ladder in noise_scales.ladders(data, FINEST) if ladder["asked"])
    steps = {key: asked[key] for key in ("levels", "ratio", "overlap")}
    return {**noise_scales.about(data), "finest": FINEST, **steps}


PAGE = """# What the geometry of a data set asks of its noise

In model coordinates, where pictures lie on [-1, 1]. *Largest* and *median* distances among the first {most:,} training
examples; technique 1 of NCSNv2 takes the largest as its coarsest level. *Levels*: as many as technique 2 asks for between
{finest:g} and that, so that neighbours overlap by one half.

{table}

The number of levels grows with the root of the dimension: shells of noise are thin in many dimensions.
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    lines = [
        [
            r["dataset"],
            r["dim"],
            f"{r['std']:.2f}",
            f"{r['largest']:.1f}",
            f"{r['median']:.1f}",
            r["levels"],
            f"{r['ratio']:.3f}",
        ]
        for r in rows
    ]
    heads = ["data set", "dimension", "deviation", "largest", "median", "levels", "ratio"]
    return PAGE.format(most=noise_scales.FAR, finest=FINEST, table=table(heads, lines))

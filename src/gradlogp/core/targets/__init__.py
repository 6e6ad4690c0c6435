"""Laws whose energy, score, samples and log Z are known exactly: what everything else is tested
against.

Continuous ones (`Target`) know them at every noise level; discrete ones (`Lattice`) are fields
whose score is the vector of conditional logits. Every member of TARGETS stands ready without
arguments: `TARGETS["funnel"]()`.
"""

from collections.abc import Callable

from gradlogp.core.targets.base import Target
from gradlogp.core.targets.curved import Banana, DoubleWell, Funnel
from gradlogp.core.targets.empirical import Empirical
from gradlogp.core.targets.gaussian import (
    Gaussian,
    GaussianMixture,
    correlated_gaussian,
    gaussian,
    grid_of_gaussians,
    ring_of_gaussians,
)
from gradlogp.core.targets.lattice import Ising, Lattice, Potts
from gradlogp.core.targets.product import Product, double_well
from gradlogp.core.targets.rings import Rings

TARGETS: dict[str, Callable[..., Target | Lattice]] = {
    "gaussian": gaussian,
    "correlated_gaussian": correlated_gaussian,
    "ring_of_gaussians": ring_of_gaussians,
    "grid_of_gaussians": grid_of_gaussians,
    "banana": Banana,
    "funnel": Funnel,
    "double_well": double_well,
    "rings": Rings,
    "ising": Ising,
    "potts": Potts,
}

__all__ = [
    "TARGETS",
    "Banana",
    "DoubleWell",
    "Empirical",
    "Funnel",
    "Gaussian",
    "GaussianMixture",
    "Ising",
    "Lattice",
    "Potts",
    "Product",
    "Rings",
    "Target",
    "correlated_gaussian",
    "double_well",
    "gaussian",
    "grid_of_gaussians",
    "ring_of_gaussians",
]

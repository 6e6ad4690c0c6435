"""Samplers: each is one step on a field. `kind` says whether it samples a density or only generates."""

from gradlogp.samplers.annealed import AnnealedLangevin
from gradlogp.samplers.langevin import Langevin

SAMPLERS = {
    "langevin": Langevin,
    "annealed_langevin": AnnealedLangevin,
}

__all__ = ["SAMPLERS", "AnnealedLangevin", "Langevin"]

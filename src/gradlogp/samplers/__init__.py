"""Samplers: each is one step on a field. `kind` says whether it samples a density or only generates."""

from gradlogp.samplers.annealed import Annealed, AnnealedLangevin, ConsistentAnnealedLangevin
from gradlogp.samplers.langevin import Langevin

SAMPLERS = {
    "langevin": Langevin,
    "annealed_langevin": AnnealedLangevin,
    "consistent_annealed_langevin": ConsistentAnnealedLangevin,
}

__all__ = ["SAMPLERS", "Annealed", "AnnealedLangevin", "ConsistentAnnealedLangevin", "Langevin"]

"""Samplers: each is one step on a field. `kind` says whether it samples a density or only generates."""

from gradlogp.samplers.annealed import Annealed, AnnealedLangevin, ConsistentAnnealedLangevin
from gradlogp.samplers.hamiltonian import HMC, MALA
from gradlogp.samplers.langevin import Langevin
from gradlogp.samplers.masked import Masked
from gradlogp.samplers.nuts import NUTS
from gradlogp.samplers.preconditioned import PreconditionedLangevin
from gradlogp.samplers.tempering import ParallelTempering, TemperedTransitions
from gradlogp.samplers.underdamped import Underdamped

SAMPLERS = {
    "langevin": Langevin,
    "preconditioned_langevin": PreconditionedLangevin,
    "mala": MALA,
    "hmc": HMC,
    "nuts": NUTS,
    "underdamped": Underdamped,
    "parallel_tempering": ParallelTempering,
    "tempered_transitions": TemperedTransitions,
    "annealed_langevin": AnnealedLangevin,
    "consistent_annealed_langevin": ConsistentAnnealedLangevin,
}

__all__ = ["HMC", "MALA", "NUTS", "SAMPLERS", "Annealed", "AnnealedLangevin", "ConsistentAnnealedLangevin", "Langevin", "Masked",
           "ParallelTempering", "PreconditionedLangevin", "TemperedTransitions", "Underdamped"]

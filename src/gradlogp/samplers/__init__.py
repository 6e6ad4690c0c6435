"""Samplers: each is one step on a field. `kind` says whether it samples a density or only
generates.
"""

import inspect

from gradlogp.samplers.adaptive import AdaptiveFlow
from gradlogp.samplers.annealed import Annealed, AnnealedLangevin, ConsistentAnnealedLangevin
from gradlogp.samplers.block import BlockGibbs, GibbsLangevin
from gradlogp.samplers.corrector import PredictorCorrector
from gradlogp.samplers.descent import Descent
from gradlogp.samplers.gibbs import CheckerboardGibbs, Gibbs, GibbsWithGradients
from gradlogp.samplers.hamiltonian import HMC, MALA
from gradlogp.samplers.langevin import Langevin
from gradlogp.samplers.masked import Masked
from gradlogp.samplers.nuts import NUTS
from gradlogp.samplers.posterior import GaussianPosterior, PosteriorLangevin
from gradlogp.samplers.preconditioned import PreconditionedLangevin
from gradlogp.samplers.recovery import RecoveryLangevin
from gradlogp.samplers.restore import DPS, RePaint
from gradlogp.samplers.reverse import DDIM, Ancestral, Reverse, ReverseSDE
from gradlogp.samplers.solvers import DPMSolver, Heun, ProbabilityFlow, UniPC
from gradlogp.samplers.tempering import ParallelTempering, TemperedTransitions
from gradlogp.samplers.underdamped import Underdamped


def _needs(sampler: type) -> list[str]:
    """The settings without which it cannot be made."""
    parameters = inspect.signature(sampler).parameters.values()
    return [p.name for p in parameters if p.default is p.empty]


SAMPLERS = {
    "langevin": Langevin,
    "preconditioned_langevin": PreconditionedLangevin,
    "mala": MALA,
    "hmc": HMC,
    "nuts": NUTS,
    "underdamped": Underdamped,
    "descent": Descent,
    "parallel_tempering": ParallelTempering,
    "tempered_transitions": TemperedTransitions,
    "gibbs": Gibbs,
    "checkerboard_gibbs": CheckerboardGibbs,
    "block_gibbs": BlockGibbs,
    "gibbs_langevin": GibbsLangevin,
    "gibbs_with_gradients": GibbsWithGradients,
    "annealed_langevin": AnnealedLangevin,
    "consistent_annealed_langevin": ConsistentAnnealedLangevin,
    "recovery_langevin": RecoveryLangevin,
    "ancestral": Ancestral,
    "ddim": DDIM,
    "reverse_sde": ReverseSDE,
    "predictor_corrector": PredictorCorrector,
    "probability_flow": ProbabilityFlow,
    "adaptive_flow": AdaptiveFlow,
    "heun": Heun,
    "dpm_solver": DPMSolver,
    "unipc": UniPC,
}

# Those that walk down the levels of a noise-conditional field, and those that follow the score of
# one density and need nothing but a step size: what recipes let one choose from.
LADDER_SAMPLERS = {name: s for name, s in SAMPLERS.items() if hasattr(s, "ladder")}
STEP_SAMPLERS = {
    name: s
    for name, s in SAMPLERS.items()
    if name not in LADDER_SAMPLERS and _needs(s) == ["step_size"]
}

__all__ = [
    "DDIM",
    "DPS",
    "HMC",
    "LADDER_SAMPLERS",
    "MALA",
    "NUTS",
    "SAMPLERS",
    "STEP_SAMPLERS",
    "AdaptiveFlow",
    "Ancestral",
    "Annealed",
    "AnnealedLangevin",
    "BlockGibbs",
    "CheckerboardGibbs",
    "ConsistentAnnealedLangevin",
    "DPMSolver",
    "Descent",
    "GaussianPosterior",
    "Gibbs",
    "GibbsLangevin",
    "GibbsWithGradients",
    "Heun",
    "Langevin",
    "Masked",
    "ParallelTempering",
    "PosteriorLangevin",
    "PreconditionedLangevin",
    "PredictorCorrector",
    "ProbabilityFlow",
    "RePaint",
    "RecoveryLangevin",
    "Reverse",
    "ReverseSDE",
    "TemperedTransitions",
    "Underdamped",
    "UniPC",
]

"""Objectives: a model and a batch in, one loss value per example out."""

from collections.abc import Callable

from gradlogp.objectives.augment import CROPS_AND_COLOURS, FLIPS_AND_SHIFTS, Augmented
from gradlogp.objectives.base import Asks, Loss, Objective
from gradlogp.objectives.buffer import ReplayBuffer
from gradlogp.objectives.caption import CLIP, CaptionJoint
from gradlogp.objectives.classification import CrossEntropy, MarginLoss
from gradlogp.objectives.contrastive import (
    ContrastiveDivergence,
    improved_contrastive_divergence,
    persistent_contrastive_divergence,
)
from gradlogp.objectives.denoising import (
    DenoisingScoreMatching,
    FromProcess,
    Ladder,
    LevelDistribution,
    LogNormal,
    SingleLevel,
    Uncertainty,
    Weight,
)
from gradlogp.objectives.diffusion import (
    DiscreteDiffusion,
    HybridBound,
    VariationalBound,
    ddpm_simple,
)
from gradlogp.objectives.discrepancy import EnergyDiscrepancy
from gradlogp.objectives.discrete import PseudoLikelihood, RatioMatching
from gradlogp.objectives.dual import DualScoreMatching, log_normaliser
from gradlogp.objectives.entropy import nearest_neighbour_entropy
from gradlogp.objectives.equilibrium import EquilibriumMatching
from gradlogp.objectives.flow import EnergyMatching, FlowMatching, FromHalves
from gradlogp.objectives.info_nce import NTXent
from gradlogp.objectives.joint import JEM
from gradlogp.objectives.matching import (
    ExplicitScoreMatching,
    FiniteDifferenceScoreMatching,
    ImplicitScoreMatching,
    SlicedScoreMatching,
)
from gradlogp.objectives.nce import ConditionalNoiseContrastive, GaussianNoise, NoiseContrastive
from gradlogp.objectives.noised import NoisedCrossEntropy
from gradlogp.objectives.phases import WarmedUp
from gradlogp.objectives.recovery import Recovery, RecoveryLikelihood
from gradlogp.objectives.starts import FromBuffer, FromData, FromNoise, FromProposal

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "contrastive_divergence": ContrastiveDivergence,
    "persistent_contrastive_divergence": persistent_contrastive_divergence,
    "improved_contrastive_divergence": improved_contrastive_divergence,
    "recovery_likelihood": RecoveryLikelihood,
    "noise_contrastive": NoiseContrastive,
    "conditional_noise_contrastive": ConditionalNoiseContrastive,
    "energy_discrepancy": EnergyDiscrepancy,
    "pseudo_likelihood": PseudoLikelihood,
    "ratio_matching": RatioMatching,
    "jem": JEM,
    "clip": CLIP,
    "caption_joint": CaptionJoint,
    "explicit_score_matching": ExplicitScoreMatching,
    "implicit_score_matching": ImplicitScoreMatching,
    "sliced_score_matching": SlicedScoreMatching,
    "finite_difference_score_matching": FiniteDifferenceScoreMatching,
    "denoising_score_matching": DenoisingScoreMatching,
    "ddpm_simple": ddpm_simple,
    "variational_bound": VariationalBound,
    "hybrid_bound": HybridBound,
    "flow_matching": FlowMatching,
    "energy_matching": EnergyMatching,
    "equilibrium_matching": EquilibriumMatching,
    "dual_score_matching": DualScoreMatching,
    "cross_entropy": CrossEntropy,
    "noised_cross_entropy": NoisedCrossEntropy,
    "margin_loss": MarginLoss,
    "nt_xent": NTXent,
}

__all__ = [
    "CLIP",
    "CROPS_AND_COLOURS",
    "FLIPS_AND_SHIFTS",
    "JEM",
    "OBJECTIVES",
    "Asks",
    "Augmented",
    "CaptionJoint",
    "ConditionalNoiseContrastive",
    "ContrastiveDivergence",
    "CrossEntropy",
    "DenoisingScoreMatching",
    "DiscreteDiffusion",
    "DualScoreMatching",
    "EnergyDiscrepancy",
    "EnergyMatching",
    "EquilibriumMatching",
    "ExplicitScoreMatching",
    "FiniteDifferenceScoreMatching",
    "FlowMatching",
    "FromBuffer",
    "FromData",
    "FromHalves",
    "FromNoise",
    "FromProcess",
    "FromProposal",
    "GaussianNoise",
    "HybridBound",
    "ImplicitScoreMatching",
    "Ladder",
    "LevelDistribution",
    "LogNormal",
    "Loss",
    "MarginLoss",
    "NTXent",
    "NoiseContrastive",
    "NoisedCrossEntropy",
    "Objective",
    "PseudoLikelihood",
    "RatioMatching",
    "Recovery",
    "RecoveryLikelihood",
    "ReplayBuffer",
    "SingleLevel",
    "SlicedScoreMatching",
    "Uncertainty",
    "VariationalBound",
    "WarmedUp",
    "Weight",
    "ddpm_simple",
    "improved_contrastive_divergence",
    "log_normaliser",
    "nearest_neighbour_entropy",
    "persistent_contrastive_divergence",
]

"""Objectives: a model and a batch in, one loss value per example out."""

from collections.abc import Callable

from gradlogp.objectives.base import Loss, Objective
from gradlogp.objectives.buffer import ReplayBuffer
from gradlogp.objectives.classification import CrossEntropy
from gradlogp.objectives.contrastive import (
    ContrastiveDivergence,
    improved_contrastive_divergence,
    persistent_contrastive_divergence,
)
from gradlogp.objectives.denoising import DenoisingScoreMatching, Ladder, LogNormal, Single
from gradlogp.objectives.discrepancy import EnergyDiscrepancy
from gradlogp.objectives.entropy import nearest_neighbour_entropy
from gradlogp.objectives.joint import JEM
from gradlogp.objectives.nce import ConditionalNoiseContrastive, GaussianNoise, NoiseContrastive
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
    "jem": JEM,
    "denoising_score_matching": DenoisingScoreMatching,
    "cross_entropy": CrossEntropy,
}

__all__ = [
    "JEM",
    "OBJECTIVES",
    "ConditionalNoiseContrastive",
    "ContrastiveDivergence",
    "CrossEntropy",
    "DenoisingScoreMatching",
    "EnergyDiscrepancy",
    "FromBuffer",
    "FromData",
    "FromNoise",
    "FromProposal",
    "GaussianNoise",
    "Ladder",
    "LogNormal",
    "Loss",
    "NoiseContrastive",
    "Objective",
    "Recovery",
    "RecoveryLikelihood",
    "ReplayBuffer",
    "Single",
    "improved_contrastive_divergence",
    "nearest_neighbour_entropy",
    "persistent_contrastive_divergence",
]

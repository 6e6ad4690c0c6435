"""Objectives: a model and a batch in, one loss value per example out."""

from gradlogp.objectives.base import Loss, Objective
from gradlogp.objectives.buffer import ReplayBuffer
from gradlogp.objectives.classification import CrossEntropy
from gradlogp.objectives.contrastive import ContrastiveDivergence
from gradlogp.objectives.denoising import DenoisingScoreMatching, Ladder, LogNormal, Single
from gradlogp.objectives.starts import FromBuffer, FromData, FromNoise, FromProposal

OBJECTIVES = {
    "contrastive_divergence": ContrastiveDivergence,
    "denoising_score_matching": DenoisingScoreMatching,
    "cross_entropy": CrossEntropy,
}

__all__ = ["OBJECTIVES", "ContrastiveDivergence", "CrossEntropy", "DenoisingScoreMatching", "FromBuffer", "FromData",
           "FromNoise", "FromProposal", "Ladder", "LogNormal", "Loss", "Objective", "ReplayBuffer", "Single"]

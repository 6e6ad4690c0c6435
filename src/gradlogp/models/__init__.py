"""Energy models and score models."""

from gradlogp.models.classifier import ConvClassifier
from gradlogp.models.energy import ConvEnergy, EnergyModel, MLPEnergy
from gradlogp.models.score import Preconditioned, ScoreModel, unet_score

MODELS = {
    "conv_energy": ConvEnergy,
    "mlp_energy": MLPEnergy,
    "unet_score": unet_score,
    "conv_classifier": ConvClassifier,
}

__all__ = ["MODELS", "ConvClassifier", "ConvEnergy", "EnergyModel", "MLPEnergy", "Preconditioned", "ScoreModel",
           "unet_score"]

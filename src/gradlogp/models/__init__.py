"""Energy models and score models."""

from gradlogp.models.autoencoder import AutoencoderEnergy, autoencoder_energy
from gradlogp.models.classifier import ConvClassifier
from gradlogp.models.energy import ConvEnergy, EnergyModel, MLPEnergy, QuadraticEnergy, ResidualEnergy
from gradlogp.models.score import (
    Preconditioned,
    ScoreModel,
    SigmaScaled,
    VectorScore,
    mlp_score,
    refinenet_score,
    unet_score,
    wavenet_score,
)

MODELS = {
    "autoencoder_energy": autoencoder_energy,
    "conv_energy": ConvEnergy,
    "mlp_energy": MLPEnergy,
    "quadratic_energy": QuadraticEnergy,
    "residual_energy": ResidualEnergy,
    "mlp_score": mlp_score,
    "refinenet_score": refinenet_score,
    "unet_score": unet_score,
    "vector_score": VectorScore,
    "wavenet_score": wavenet_score,
    "conv_classifier": ConvClassifier,
}

__all__ = ["MODELS", "AutoencoderEnergy", "ConvClassifier", "ConvEnergy", "EnergyModel", "MLPEnergy", "Preconditioned",
           "QuadraticEnergy", "ResidualEnergy", "ScoreModel", "SigmaScaled", "VectorScore", "autoencoder_energy", "mlp_score",
           "refinenet_score", "unet_score", "wavenet_score"]

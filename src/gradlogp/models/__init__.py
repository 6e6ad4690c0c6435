"""Energy models and score models."""

from gradlogp.models.autoencoder import AutoencoderEnergy, autoencoder_energy
from gradlogp.models.classifier import ConvClassifier, MLPClassifier
from gradlogp.models.energy import (
    ConvEnergy,
    EnergyModel,
    MLPEnergy,
    QuadraticEnergy,
    ResidualEnergy,
)
from gradlogp.models.noisy import (
    NoisyEnergyModel,
    PreconditionedEnergy,
    conv_noisy_energy,
    mlp_noisy_energy,
    unet_noisy_energy,
)
from gradlogp.models.rbm import RBM, BernoulliRBM, GaussianRBM
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
    "bernoulli_rbm": BernoulliRBM,
    "gaussian_rbm": GaussianRBM,
    "conv_noisy_energy": conv_noisy_energy,
    "mlp_noisy_energy": mlp_noisy_energy,
    "unet_noisy_energy": unet_noisy_energy,
    "mlp_score": mlp_score,
    "refinenet_score": refinenet_score,
    "unet_score": unet_score,
    "vector_score": VectorScore,
    "wavenet_score": wavenet_score,
    "conv_classifier": ConvClassifier,
    "mlp_classifier": MLPClassifier,
}

__all__ = [
    "MODELS",
    "RBM",
    "AutoencoderEnergy",
    "BernoulliRBM",
    "ConvClassifier",
    "ConvEnergy",
    "EnergyModel",
    "GaussianRBM",
    "MLPClassifier",
    "MLPEnergy",
    "NoisyEnergyModel",
    "Preconditioned",
    "PreconditionedEnergy",
    "QuadraticEnergy",
    "ResidualEnergy",
    "ScoreModel",
    "SigmaScaled",
    "VectorScore",
    "autoencoder_energy",
    "conv_noisy_energy",
    "mlp_noisy_energy",
    "mlp_score",
    "refinenet_score",
    "unet_noisy_energy",
    "unet_score",
    "wavenet_score",
]

"""Energy models and score models."""

from gradlogp.models.autoencoder import AutoencoderEnergy, autoencoder_energy
from gradlogp.models.caption import CaptionEnergy, caption_energy
from gradlogp.models.classifier import (
    Classifier,
    ConvClassifier,
    MLPClassifier,
    ResidualClassifier,
    SpectrogramClassifier,
)
from gradlogp.models.descriptor import DescriptorEnergy
from gradlogp.models.diffusion import (
    DiffusionModel,
    Prediction,
    mlp_diffusion,
    unet_diffusion,
)
from gradlogp.models.energy import (
    ConvEnergy,
    EnergyModel,
    MLPEnergy,
    QuadraticEnergy,
    ResidualEnergy,
    TiltedEnergy,
)
from gradlogp.models.gaussian import (
    GaussianDiffusion,
    GaussianEnergy,
    GaussianScore,
    NoisyGaussian,
    fit_gaussian,
    gaussian_diffusion,
    with_gaussian,
)
from gradlogp.models.marginals import (
    MarginalDiffusion,
    Marginals,
    check_values,
    fit_marginals,
)
from gradlogp.models.mixture import PrincipalMixture, Proposed
from gradlogp.models.noisy import (
    NoisyEnergyModel,
    PreconditionedEnergy,
    conv_noisy_energy,
    mlp_noisy_energy,
    unet_noisy_energy,
)
from gradlogp.models.noisy_caption import NoisyCaptionEnergy, noisy_caption_energy
from gradlogp.models.noisy_classifier import NoisyClassifier, noisy_classifier
from gradlogp.models.noisy_gaussians import NoisyGaussians
from gradlogp.models.rbm import RBM, BernoulliRBM, GaussianRBM
from gradlogp.models.score import (
    Preconditioned,
    ScoreModel,
    SigmaScaled,
    TwoValued,
    VectorScore,
    mlp_score,
    refinenet_score,
    unet_score,
    wavenet_score,
)
from gradlogp.models.text import Vocabulary

MODELS = {
    "autoencoder_energy": autoencoder_energy,
    "conv_energy": ConvEnergy,
    "descriptor_energy": DescriptorEnergy,
    "caption_energy": caption_energy,
    "noisy_caption_energy": noisy_caption_energy,
    "mlp_energy": MLPEnergy,
    "quadratic_energy": QuadraticEnergy,
    "principal_mixture": PrincipalMixture,
    "residual_energy": ResidualEnergy,
    "tilted_energy": TiltedEnergy,
    "bernoulli_rbm": BernoulliRBM,
    "gaussian_rbm": GaussianRBM,
    "conv_noisy_energy": conv_noisy_energy,
    "mlp_noisy_energy": mlp_noisy_energy,
    "unet_noisy_energy": unet_noisy_energy,
    "mlp_diffusion": mlp_diffusion,
    "unet_diffusion": unet_diffusion,
    "mlp_score": mlp_score,
    "refinenet_score": refinenet_score,
    "unet_score": unet_score,
    "vector_score": VectorScore,
    "wavenet_score": wavenet_score,
    "conv_classifier": ConvClassifier,
    "residual_classifier": ResidualClassifier,
    "mlp_classifier": MLPClassifier,
    "spectrogram_classifier": SpectrogramClassifier,
    "noisy_classifier": noisy_classifier,
}

__all__ = [
    "MODELS",
    "RBM",
    "AutoencoderEnergy",
    "BernoulliRBM",
    "CaptionEnergy",
    "Classifier",
    "ConvClassifier",
    "ConvEnergy",
    "DescriptorEnergy",
    "DiffusionModel",
    "EnergyModel",
    "GaussianDiffusion",
    "GaussianEnergy",
    "GaussianRBM",
    "GaussianScore",
    "MLPClassifier",
    "MLPEnergy",
    "MarginalDiffusion",
    "Marginals",
    "NoisyCaptionEnergy",
    "NoisyClassifier",
    "NoisyEnergyModel",
    "NoisyGaussian",
    "NoisyGaussians",
    "Preconditioned",
    "PreconditionedEnergy",
    "Prediction",
    "PrincipalMixture",
    "Proposed",
    "QuadraticEnergy",
    "ResidualClassifier",
    "ResidualEnergy",
    "ScoreModel",
    "SigmaScaled",
    "SpectrogramClassifier",
    "TiltedEnergy",
    "TwoValued",
    "VectorScore",
    "Vocabulary",
    "autoencoder_energy",
    "caption_energy",
    "check_values",
    "conv_noisy_energy",
    "fit_gaussian",
    "fit_marginals",
    "gaussian_diffusion",
    "mlp_diffusion",
    "mlp_noisy_energy",
    "mlp_score",
    "noisy_caption_energy",
    "noisy_classifier",
    "refinenet_score",
    "unet_diffusion",
    "unet_noisy_energy",
    "unet_score",
    "wavenet_score",
    "with_gaussian",
]

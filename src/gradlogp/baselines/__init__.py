"""Baselines: what the models are measured against, one file each."""

from collections.abc import Callable
from typing import Any

from gradlogp.baselines.autoencoder import autoencoder
from gradlogp.baselines.clip import clip
from gradlogp.baselines.conditional_gan import conditional_gan
from gradlogp.baselines.context_encoder import context_encoder
from gradlogp.baselines.copula import GaussianCopula
from gradlogp.baselines.detectors import (
    ClusterMeans,
    Isolation,
    Mahalanobis,
    NearestNeighbours,
    OneClassSVM,
    PrincipalComponents,
)
from gradlogp.baselines.gan import gan
from gradlogp.baselines.impute import (
    IterativeImputer,
    LinearImputer,
    MajorityImputer,
    MeanImputer,
    NearestImputer,
)
from gradlogp.baselines.simclr import simclr
from gradlogp.baselines.vae import vae
from gradlogp.baselines.wave_gan import wave_gan

# networks by shapes and widths, and methods without one by their settings
BASELINES: dict[str, Callable[..., Any]] = {
    "autoencoder": autoencoder,
    "vae": vae,
    "gan": gan,
    "conditional_gan": conditional_gan,
    "wave_gan": wave_gan,
    "simclr": simclr,
    "clip": clip,
    "context_encoder": context_encoder,
    "nearest_neighbours": NearestNeighbours,
    "principal_components": PrincipalComponents,
    "mahalanobis": Mahalanobis,
    "isolation": Isolation,
    "cluster_means": ClusterMeans,
    "one_class_svm": OneClassSVM,
    "mean_imputer": MeanImputer,
    "nearest_imputer": NearestImputer,
    "linear_imputer": LinearImputer,
    "iterative_imputer": IterativeImputer,
    "majority_imputer": MajorityImputer,
    "gaussian_copula": GaussianCopula.fit,
}

__all__ = ["BASELINES"]

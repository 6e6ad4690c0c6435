"""The detectors of both comparisons, each with its settings; quick presets are minutes on two
cores.

References: Mahmood et al. (2021), arXiv 2010.13132 (MSMA); Yoon, Noh & Park (2021), arXiv
2105.05735.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from gradlogp.experiments.anomaly.classical import BASELINES, field_gaussian
from gradlogp.experiments.anomaly.common import SCOPES, Detecting, of_pictures
from gradlogp.experiments.anomaly.contrastive import (
    ContrastiveDetector,
    CorrectedGaussian,
    NormalisedAutoencoder,
)
from gradlogp.experiments.anomaly.levels import (
    DenoisingError,
    FieldOfScore,
    FlowLikelihood,
    FlowTypicality,
    GradientNorm,
    LevelEnergy,
    NormMixture,
    NormNeighbours,
    PathEnergy,
    RelativeError,
)
from gradlogp.experiments.anomaly.networks import Budget, LevelDetector
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target
from gradlogp.harness.settings import Choices, chosen

LARGE_SCORE = (
    "budget.one_class=200000",
    "budget.held_out=400000",
    "budget.cross=600000",
    "budget.tables=200000",
    "budget.width=512",
    "budget.table_width=256",
    "budget.blocks=3",
)
SCORE_BUDGETS: Choices = {"any": {"full": LARGE_SCORE, "gpu": LARGE_SCORE}}
LARGE_UNET = (
    "budget.one_class=60000",
    "budget.held_out=100000",
    "budget.cross=100000",
    "budget.tables=200000",
)
# the perceptron's width and blocks would make the UNet many times dearer: they are for a GPU
UNET_BUDGETS: Choices = {"any": {"full": LARGE_UNET, "gpu": LARGE_SCORE}}
LARGE_ENERGY = (
    "budget.one_class=100000",
    "budget.held_out=200000",
    "budget.cross=300000",
    "budget.tables=100000",
)
ENERGY_BUDGETS: Choices = {"any": {"full": LARGE_ENERGY, "gpu": LARGE_ENERGY}}
DRAWS: Choices = {"any": {"quick": ("draws=1",), "full": ("draws=4",), "gpu": ("draws=4",)}}
LARGE_FLOW = ("likelihoods=1000", "steps=16")
FLOWS: Choices = {"any": {"quick": ("likelihoods=250",), "full": LARGE_FLOW, "gpu": LARGE_FLOW}}
CONTRASTIVE: Choices = {
    "any": {"quick": ("images=12000",), "full": ("images=200000",), "gpu": ("images=200000",)}
}
PRETRAINING: Choices = {
    "any": {
        "quick": ("pretrain=12000",),
        "full": ("pretrain=150000",),
        "gpu": ("pretrain=150000",),
    }
}
GAUSSIAN = Budget(12_800, 12_800, 12_800, 50_000, clusters=0, blocks=1, batch=32)
T = TypeVar("T", bound=Detecting)


def _with(trial: T, target: Target, *tables: Choices) -> T:
    """The settings that the tables have for these data and this preset."""
    for table in (SCOPES, *tables):
        trial = chosen(trial, table, target.families, trial.preset)
    return trial


def denoising_error(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """Denoising error of a score network at three levels."""
    trial = DenoisingError("denoising_error", target.name, preset, seed)
    return _with(trial, target, SCORE_BUDGETS, DRAWS)


def relative_error(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """Denoising error of a score network over that of Wiener's filter."""
    trial = RelativeError("relative_error", target.name, preset, seed, budget=GAUSSIAN)
    return _with(replace(trial, net="gaussian"), target, UNET_BUDGETS)


def path_energy(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """Log-density by the work of the score along the line from the mean."""
    trial = PathEnergy("path_energy", target.name, preset, seed)
    return _with(trial, target, SCORE_BUDGETS)


def score_norm(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """The norm of the score at one noise level."""
    trial = GradientNorm("score_norm", target.name, preset, seed)
    return _with(trial, target, SCORE_BUDGETS)


def msma_mixture(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """MSMA: score norms at ten levels under a Gaussian mixture."""
    trial = NormMixture("msma_mixture", target.name, preset, seed)
    return _with(trial, target, SCORE_BUDGETS)


def msma_neighbours(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """MSMA: score norms at ten levels, by their neighbours."""
    trial = NormNeighbours("msma_neighbours", target.name, preset, seed)
    return _with(trial, target, SCORE_BUDGETS)


def field_neighbours(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """Where a score is large and which way it points, at five levels, by the nearest neighbour."""
    trial = FieldOfScore("field_neighbours", target.name, preset, seed, budget=GAUSSIAN)
    return of_pictures(_with(replace(trial, net="gaussian"), target, UNET_BUDGETS))


def ode_likelihood(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """Minus log-likelihood by the probability-flow ODE, alone."""
    trial = FlowLikelihood("ode_likelihood", target.name, preset, seed)
    return _with(trial, target, SCORE_BUDGETS, FLOWS)


def ode_typicality(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """How far the log-likelihood is from its mean on normal examples."""
    trial = FlowTypicality("ode_typicality", target.name, preset, seed)
    return _with(trial, target, SCORE_BUDGETS, FLOWS)


SMALL = Budget(15_000, 25_000, 40_000, 15_000, batch=64)


def level_energy(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """Energy at the data's own noise level, by denoising score matching."""
    trial = LevelEnergy("level_energy", target.name, preset, seed, budget=SMALL)
    return _with(replace(trial, net="energy", residual=True), target, ENERGY_BUDGETS)


def level_gradient(target: Target, preset: str = "quick", seed: int = 0) -> LevelDetector:
    """The norm of that energy's gradient."""
    trial = GradientNorm("level_gradient", target.name, preset, seed, budget=SMALL)
    return _with(replace(trial, net="energy"), target, ENERGY_BUDGETS)


def contrastive_energy(target: Target, preset: str = "quick", seed: int = 0) -> ContrastiveDetector:
    """Energy by contrastive divergence: a Gaussian, corrected."""
    trial = CorrectedGaussian("contrastive_energy", target.name, preset, seed)
    return _with(trial, target, CONTRASTIVE)


def normalised_autoencoder(
    target: Target, preset: str = "quick", seed: int = 0
) -> ContrastiveDetector:
    """Energy of a normalised autoencoder (NAE)."""
    trial = NormalisedAutoencoder("normalised_autoencoder", target.name, preset, seed)
    return _with(trial, target, CONTRASTIVE, PRETRAINING)


# The first method makes the networks that the others would wait for; baselines go on beside it.
ENERGIES: Mapping[str, Maker] = {
    "level_energy": level_energy,
    "neighbour_1": BASELINES["neighbour_1"],
    "neighbour_5": BASELINES["neighbour_5"],
    "cluster_means": BASELINES["cluster_means"],
    "pca_32": BASELINES["pca_32"],
    "isolation_forest": BASELINES["isolation_forest"],
    "autoencoder_error": BASELINES["autoencoder_error"],
    "level_gradient": level_gradient,
    "contrastive_energy": contrastive_energy,
    "normalised_autoencoder": normalised_autoencoder,
}
SCORES: Mapping[str, Maker] = {
    "denoising_error": denoising_error,
    "relative_error": relative_error,
    **BASELINES,
    "path_energy": path_energy,
    "score_norm": score_norm,
    "msma_mixture": msma_mixture,
    "msma_neighbours": msma_neighbours,
    "field_neighbours": field_neighbours,
    "field_gaussian": field_gaussian,
    "ode_likelihood": ode_likelihood,
    "ode_typicality": ode_typicality,
}

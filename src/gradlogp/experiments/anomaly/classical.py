"""Baselines: classical detectors, distances to the nearest training examples, a plain autoencoder.

References: Ramaswamy et al. (2000), Efficient Algorithms for Mining Outliers (k-th neighbour); Liu
et al. (2008), Isolation Forest; Scholkopf et al. (2001), Estimating the Support of a
High-Dimensional Distribution.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor, nn

from gradlogp.baselines.autoencoder import Reconstruction, autoencoder
from gradlogp.baselines.detectors import (
    ClusterMeans,
    Isolation,
    Mahalanobis,
    OneClassSVM,
    PrincipalComponents,
)
from gradlogp.baselines.picture_detectors import GaussianField, WhitenedNeighbours
from gradlogp.core.neighbours import nearest
from gradlogp.experiments.anomaly.common import (
    SCOPES,
    Detecting,
    learned,
    of_pictures,
    seed_weights,
    spend,
)
from gradlogp.experiments.anomaly.problems import Problem
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target
from gradlogp.harness.record import Cost
from gradlogp.harness.settings import Choices, chosen
from gradlogp.runs.cache import Cache, checksum
from gradlogp.tasks import detect
from gradlogp.training import Training

Detector = (
    WhitenedNeighbours
    | GaussianField
    | PrincipalComponents
    | Mahalanobis
    | Isolation
    | ClusterMeans
    | OneClassSVM
)
AUTOENCODER: Choices = {
    "any": {"quick": ("images=8000",), "full": ("images=60000",), "gpu": ("images=60000",)}
}


@final
@dataclass(frozen=True)
class Classical(Detecting):
    """A detector of `baselines.detectors`, fitted to each problem anew."""

    detector: Detector = field(default_factory=PrincipalComponents)

    def scores(self, problem: Problem, cache: Cache, cost: Cost) -> Tensor:
        began = time.perf_counter()
        score = self.detector.fit(problem.normal, problem.held_out, self.seed)
        cost.seconds += time.perf_counter() - began
        cost.images += len(problem.normal)
        return detect.by_batch(lambda x, _: score(x), problem.test)


@final
@dataclass(frozen=True)
class Neighbours(Detecting):
    """The distance to the k-th nearest training example; methods that differ in k share the
    search.
    """

    k: int = 5
    furthest: int = 5

    def scores(self, problem: Problem, cache: Cache, cost: Cost) -> Tensor:
        count = max(self.k, self.furthest)
        found = cache(
            f"{problem.name} neighbours",
            [count, problem.checksum, checksum(problem.test)],
            lambda: {"distances": nearest(problem.test, problem.normal, count)},
        )
        cost.images += len(problem.normal)
        return found["distances"][:, self.k - 1]


@final
@dataclass(frozen=True)
class Autoencoder(Detecting):
    """The squared error of a plain autoencoder, convolutional for pictures; `passes` over the data,
    at most `images` of them.
    """

    images: int = 30_000
    passes: int = 100
    latent: int = 32
    channels: tuple[int, ...] = (8, 16)
    width: int = 64

    def scores(self, problem: Problem, cache: Cache, cost: Cost) -> Tensor:
        began = time.perf_counter()
        images = min(self.images, self.passes * len(problem.normal))
        model = self._learned(problem, images)
        cost.seconds += time.perf_counter() - began
        spend(cost, model, images)
        return detect.energy(model, problem.test)

    def _learned(self, problem: Problem, images: int) -> nn.Module:
        shape = tuple(problem.normal.shape[1:])
        latent = min(self.latent, max(1, shape[0] // 2)) if len(shape) == 1 else self.latent
        seed_weights(self.seed, problem)
        training = Training(images, batch=64, learning_rate=2e-3, ema=0.99)
        model = autoencoder(shape, latent, self.channels, self.width)
        objective = Reconstruction()
        return learned(model, objective, problem.normal, training, self.seed, problem.name)


def _classical(name: str, detector: Detector, target: Target, preset: str, seed: int) -> Classical:
    trial = Classical(name, target.name, preset, seed, detector=detector)
    return chosen(trial, SCOPES, target.families, preset)


def neighbour_1(target: Target, preset: str = "quick", seed: int = 0) -> Neighbours:
    """Distance to the nearest training example."""
    trial = Neighbours("neighbour_1", target.name, preset, seed, k=1)
    return chosen(trial, SCOPES, target.families, preset)


def neighbour_5(target: Target, preset: str = "quick", seed: int = 0) -> Neighbours:
    """Distance to the fifth nearest training example."""
    trial = Neighbours("neighbour_5", target.name, preset, seed, k=5)
    return chosen(trial, SCOPES, target.families, preset)


def neighbour_whitened(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """Distance to the nearest training example, of directions in whitened coordinates."""
    return of_pictures(_classical("neighbour_whitened", WhitenedNeighbours(), target, preset, seed))


def field_gaussian(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """Where the score of one Gaussian is large and which way it points, by the nearest neighbour."""
    return of_pictures(_classical("field_gaussian", GaussianField(), target, preset, seed))


def pca_32(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """Reconstruction error of 32 principal components."""
    return _classical("pca_32", PrincipalComponents(32), target, preset, seed)


def pca_chosen(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """The same, the rank chosen by held-out likelihood."""
    return _classical("pca_chosen", PrincipalComponents(None), target, preset, seed)


def mahalanobis(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """Mahalanobis distance with a ridge of a tenth of the mean variance."""
    return _classical("mahalanobis", Mahalanobis(), target, preset, seed)


def isolation_forest(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """Isolation forest of 100 trees."""
    return _classical("isolation_forest", Isolation(), target, preset, seed)


def cluster_means(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """Distance to the nearest of 200 cluster means, less its own."""
    return _classical("cluster_means", ClusterMeans(), target, preset, seed)


def one_class_svm(target: Target, preset: str = "quick", seed: int = 0) -> Classical:
    """One-class SVM, RBF kernel, nu = .1, 2,000 examples."""
    return _classical("one_class_svm", OneClassSVM(), target, preset, seed)


def autoencoder_error(target: Target, preset: str = "quick", seed: int = 0) -> Autoencoder:
    """Reconstruction error of a convolutional autoencoder."""
    trial = Autoencoder("autoencoder_error", target.name, preset, seed)
    trial = chosen(trial, SCOPES, target.families, preset)
    return chosen(trial, AUTOENCODER, target.families, preset)


BASELINES: Mapping[str, Maker] = {
    "neighbour_1": neighbour_1,
    "neighbour_5": neighbour_5,
    "neighbour_whitened": neighbour_whitened,
    "pca_32": pca_32,
    "pca_chosen": pca_chosen,
    "mahalanobis": mahalanobis,
    "isolation_forest": isolation_forest,
    "cluster_means": cluster_means,
    "one_class_svm": one_class_svm,
    "autoencoder_error": autoencoder_error,
}

r"""Detectors without a generative network: what an anomaly score must beat before it has shown
anything. High = anomalous.

| detector | score | chosen on held-out normal examples |
|---|---|---|
| `NoisedEnergy` | :math:`-\log` density of the rows with noise added | nothing: noise of one robust deviation |
| `NearestNeighbours` | distance to the k-th nearest training example | nothing: k = 5, or 1, fixed |
| `WhitenedNeighbours` | of pictures: the angle of whitened x and its nearest | nothing: a ridge of the mean variance |
| `GaussianField` | of pictures: nearest training example by the score of one Gaussian | levels, places, weights: fixed |
| `PrincipalComponents` | :math:`\|x - P x\|^2`, P onto the r leading components | r, where it is not fixed |
| `Mahalanobis` | :math:`(x-\mu)^T (\Sigma + \lambda I)^{-1} (x-\mu)` | :math:`\lambda`, where it is not fixed |
| `Isolation` | isolation forest: few random cuts isolate an anomaly | nothing: 100 trees of 256 |
| `ClusterMeans` | :math:`\|x - \mu_c\|^2 - \|\mu_c\|^2`, c the nearest of 200 clusters by k-means | nothing |
| `OneClassSVM` | the margin of a one-class SVM with an RBF kernel | nothing: nu = .1, gamma = 1 / (d var), on 2,000 examples |

PCA's reconstruction error falls for ever as r grows, so r cannot be chosen by it: where it is
chosen, r maximises the likelihood that probabilistic PCA gives to held-out examples, and so does
the ridge that of a Gaussian. All but the first and the isolation forest depend on the units of the
columns, the ridge of `Mahalanobis` too: `Standardised` takes them away. All means and deviations
are those of the training examples.
`WhitenedNeighbours` and `GaussianField` are in `picture_detectors`.
`ClusterMeans` is what is left of a score that is told the cluster, :math:`\log p(0|c) - \log
p(x|c)` with 0 the mean of all, as the noise grows; no network is needed for that. It is an odds,
not a distance: what lies beyond an outer cluster is normal to it.

References: Ramaswamy et al. (2000), Efficient Algorithms for Mining Outliers (k-th neighbour);
Tipping & Bishop (1999), Probabilistic PCA, eq. 8; Liu et al. (2008), Isolation Forest; Scholkopf et
al. (2001), Estimating the Support of a High-Dimensional Distribution; Karras et al. (2022), arXiv
2206.00364, app. B.3 (the ideal denoiser, whose energy `NoisedEnergy` is).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.baselines.detector import (
    BLOCK,
    Detector,
    Scores,
    cross_fitted as cross_fitted,
    subsample,
)
from gradlogp.baselines.picture_detectors import GaussianField, WhitenedNeighbours
from gradlogp.core.arrays import finite
from gradlogp.core.neighbours import nearest
from gradlogp.core.spectrum import Spectrum
from gradlogp.core.targets import Empirical


def robust(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Median and deviation of each column of rows [n, D]: the distance of the quartiles over 1.349,
    which is the standard deviation of a Gaussian and hardly minds outliers.

    Where more than half of a column is one number, its standard deviation; 1 where all of it is.
    """
    low, middle, high = torch.quantile(rows, rows.new_tensor([0.25, 0.5, 0.75]), dim=0)
    deviation = (high - low) / 1.349
    deviation = torch.where(deviation > 0, deviation, rows.std(0))
    return middle, torch.where(deviation > 0, deviation, 1.0)


@final
@dataclass(frozen=True)
class NoisedEnergy(Detector):
    r"""The energy of all rows with noise of one robust deviation added: what denoising learns, in
    closed form.

    .. math:: E(z) = -\log \tfrac1n \sum_i \mathcal N(z; z_i, \sigma^2 I), \qquad \sigma = 1,

    of rows standardised by median and quartiles (`robust`). It is the exact minimiser of denoising
    score matching at that level (`core.targets.Empirical`), so nothing is trained and nothing
    chosen: the level is that of the data's own deviation. Small enough to know the shape of the
    data, large enough for a few unmarked outliers among the rows not to hollow it out: at a quarter
    of it they are modes of their own, and at four times it nothing but the distance from the median
    is left.

    Not a network: those learned by the same loss are worse on tables (docs/contamination.md).
    `most` caps the rows that are kept.
    """

    level: float = 1.0
    most: int | None = None

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        rows = subsample(normal, self.most, seed).flatten(1).double()
        middle, deviation = robust(rows)
        noised = Empirical((rows - middle) / deviation)

        def score(x: Tensor) -> Tensor:
            z = (x.flatten(1).double() - middle) / deviation
            return torch.cat([noised.energy(part, self.level) for part in z.split(BLOCK)])

        return score


@final
@dataclass(frozen=True)
class Standardised(Detector):
    """Another detector on columns less their median over their `robust` deviation, or less their
    mean over their standard deviation: a metre counts for no less than a millimetre.

    What measures distances needs it where columns have units of their own; a picture's pixels share
    one.
    """

    detector: Detector
    robustly: bool = True

    @property
    def chooses(self) -> bool:
        return self.detector.chooses

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        rows = normal.double()
        middle, deviation = (
            robust(rows) if self.robustly else (rows.mean(0), _positive(rows.std(0)))
        )

        def scaled(x: Tensor) -> Tensor:
            return ((x.double() - middle) / deviation).to(normal)

        score = self.detector.learn(scaled(normal), scaled(held_out), seed)
        return lambda x: score(scaled(x))


def _positive(deviation: Tensor) -> Tensor:
    return torch.where(deviation > 1e-6, deviation, 1.0)


@final
@dataclass(frozen=True)
class NearestNeighbours(Detector):
    """The distance to the k-th nearest training example, among `most` of them: no training, and
    hard to beat.
    """

    k: int = 5
    most: int | None = None

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        among = subsample(normal, self.most, seed)
        centre = among.mean(0)
        return lambda x: nearest(x - centre, among - centre, self.k)[:, -1]


@final
@dataclass(frozen=True)
class PrincipalComponents(Detector):
    """The squared error of reconstruction from the leading principal components.

    `rank` of them; None chooses it by probabilistic PCA's likelihood.
    """

    rank: int | None = 32
    ranks: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        spectrum = Spectrum.fit(normal)
        dim = len(spectrum.mean)
        rank = (
            self.choose(spectrum, held_out)
            if self.rank is None
            else min(self.rank, max(1, dim // 2))
        )
        return lambda x: spectrum.coordinates(x)[:, rank:].double().square().sum(1)

    @property
    def chooses(self) -> bool:
        return self.rank is None

    def choose(self, spectrum: Spectrum, held_out: Tensor) -> int:
        squared = spectrum.coordinates(held_out).double().square().mean(0)
        fitting = [r for r in self.ranks if r < len(squared)] or [1]
        return min(
            fitting, key=lambda r: spectrum.nats(squared, probabilistic(spectrum.variances, r))
        )


def probabilistic(variances: Tensor, rank: int) -> Tensor:
    """The variances with all beyond `rank` replaced by their mean: probabilistic PCA."""
    rest = (
        variances[rank:].mean().clamp(min=1e-9)
        if rank < len(variances)
        else variances.new_zeros(())
    )
    return torch.where(torch.arange(len(variances)) < rank, variances.clamp(min=1e-9), rest)


@final
@dataclass(frozen=True)
class Mahalanobis(Detector):
    """The squared Mahalanobis distance, with a ridge on the covariance.

    The ridge is a `share` of the mean variance; None takes the share that finds held-out likeliest.
    """

    share: float | None = 0.1
    shares: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3)

    @property
    def chooses(self) -> bool:
        return self.share is None

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        spectrum = Spectrum.fit(normal)
        squared = spectrum.coordinates(held_out).double().square().mean(0)
        mean = spectrum.variances.mean().clamp(min=1e-12)
        shares = self.shares if self.share is None else (self.share,)
        ridged = min(
            (spectrum.variances + share * mean for share in shares),
            key=lambda v: spectrum.nats(squared, v),
        )
        return lambda x: (spectrum.coordinates(x).double().square() / ridged).sum(1)


@final
@dataclass(frozen=True)
class Isolation(Detector):
    """How few random cuts isolate an example: scikit-learn's isolation forest."""

    trees: int = 100

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        from sklearn.ensemble import IsolationForest

        def single(x: Tensor, name: str) -> Any:  # trees cut in float32
            return finite(x.flatten(1), name, torch.float32).cpu().numpy()

        forest: Any = IsolationForest(n_estimators=self.trees, random_state=seed)
        forest.fit(single(normal, "normal"))
        return lambda x: torch.from_numpy(-forest.score_samples(single(x, "x")))


def clusters_of(x: Tensor, count: int, seed: int) -> dict[str, Tensor]:
    """k-means of x [n, *shape] on 32 principal components of its first 10,000 rows.

    directions [D, 32]; means [count, 32] in these coordinates; pictures [count, D], the mean of all
    x that are nearest to each.
    """
    from sklearn.cluster import KMeans

    flat, some = x.flatten(1), x[:10_000]
    directions = Spectrum.fit(some.double()).directions[:, :32].to(x.dtype)
    found = KMeans(count, n_init=1, max_iter=20, random_state=seed).fit(
        (some.flatten(1) @ directions).numpy()
    )
    means = torch.from_numpy(found.cluster_centers_).to(x.dtype)
    members = torch.nn.functional.one_hot(nearest_of(flat @ directions, means), count).to(x.dtype)
    return {
        "directions": directions,
        "means": means,
        "pictures": members.T @ flat / members.sum(0).clamp(min=1)[:, None],
    }


def nearest_of(z: Tensor, means: Tensor) -> Tensor:
    """The index of the mean that each z is nearest to, [B]."""
    return torch.cdist(z, means).argmin(1)


@final
@dataclass(frozen=True)
class ClusterMeans(Detector):
    """The squared distance to the mean of the nearest cluster, less that mean's own from the mean
    of all.
    """

    count: int = 200  # where there are ten examples for each

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        mean = normal.mean(0)
        found = clusters_of(normal - mean, max(1, min(self.count, len(normal) // 10)), seed)

        def score(x: Tensor) -> Tensor:
            flat = (x - mean).flatten(1)
            near = found["pictures"][nearest_of(flat @ found["directions"], found["means"])]
            return (flat - near).square().sum(1) - near.square().sum(1)

        return score


@final
@dataclass(frozen=True)
class OneClassSVM(Detector):
    """The margin of scikit-learn's one-class SVM with an RBF kernel, on a subsample.

    Its time grows with the square of the examples.
    """

    nu: float = 0.1
    most: int = 2000

    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        from sklearn.svm import OneClassSVM as Machine

        among = subsample(normal, self.most, seed).flatten(1)
        centre = among.mean(0)
        machine: Any = Machine(kernel="rbf", nu=self.nu, gamma="scale").fit(
            (among - centre).numpy()
        )
        return lambda x: torch.from_numpy(
            -machine.decision_function((x.flatten(1) - centre).numpy())
        )


DETECTORS: dict[str, Callable[[], Detector]] = {
    "noised_energy": NoisedEnergy,
    "neighbours": NearestNeighbours,
    "whitened_neighbours": WhitenedNeighbours,
    "gaussian_field": GaussianField,
    "principal_components": PrincipalComponents,
    "mahalanobis": Mahalanobis,
    "isolation_forest": Isolation,
    "cluster_means": ClusterMeans,
    "one_class_svm": OneClassSVM,
}
PICTURES = ("whitened_neighbours", "gaussian_field")  # those that are for pictures alone

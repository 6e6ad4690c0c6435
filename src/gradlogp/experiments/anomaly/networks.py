r"""The networks that know noise levels, one for each problem: a preconditioned residual perceptron
learned by denoising score matching, as a score or as an energy; or a score with the Gaussian of the
normal examples wired in, for pictures a UNet.

Nine digits are many modes. In the held-out protocol the network is told which of 200 clusters
(k-means on 32 principal components, no labels) an example is nearest to, in training and in testing
alike: a hard mixture, :math:`p(x \mid c(x))`. Its logarithm is known up to an offset of each
cluster. An energy may be given :math:`x - \mu_c` and c (`residual`): its training begins at the
limit of large sigma, :math:`(\|x - \mu_c\|^2 - \|\mu_c\|^2) / 2\sigma^2`.

Reference: Vincent (2011), A Connection Between Score Matching and Denoising Autoencoders, eq. 11.
"""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

from torch import Tensor

from gradlogp.baselines.detectors import clusters_of, nearest_of
from gradlogp.core.batch import Batch
from gradlogp.experiments.anomaly.common import Detecting, learned, seed_weights, spend
from gradlogp.experiments.anomaly.problems import Problem
from gradlogp.harness.record import Cost
from gradlogp.harness.settings import to_dict
from gradlogp.models import (
    GaussianScore,
    Preconditioned,
    PreconditionedEnergy,
    fit_gaussian,
    mlp_score,
    unet_score,
    with_gaussian,
)
from gradlogp.models.nets.mlp import LevelMLP
from gradlogp.models.noisy import Reconstruction
from gradlogp.objectives import DenoisingScoreMatching, LogNormal
from gradlogp.runs.cache import Cache
from gradlogp.training import Training

Network = Preconditioned | PreconditionedEnergy


@final
@dataclass(frozen=True)
class Budget:
    """Training examples for a problem of each protocol, and the perceptron."""

    one_class: int = 25_000
    held_out: int = 50_000
    cross: int = 80_000
    tables: int = 50_000
    clusters: int = 200  # that the network of the held-out protocol is told of; 0 is none
    width: int = 256
    table_width: int = 128
    blocks: int = 2
    batch: int = 128
    learning_rate: float = 2e-3

    def images(self, problem: Problem) -> int:
        return {
            "one-class": self.one_class,
            "held-out": self.held_out,
            "cross": self.cross,
            "tables": self.tables,
        }[problem.protocol]

    def clusters_of(self, problem: Problem) -> int:
        """How many clusters the network of the problem is told of; 0 is none."""
        return self.clusters if problem.protocol == "held-out" else 0


@final
@dataclass(frozen=True)
class Clusters:
    """directions [D, 32]; means [count, 32] in these coordinates; pictures [count, D]: the mean of
    all examples nearest to each.
    """

    directions: Tensor
    means: Tensor
    pictures: Tensor

    def nearest(self, x: Tensor) -> Tensor:
        """The cluster that each x [B, *shape] is nearest to, [B]."""
        return nearest_of(x.flatten(1) @ self.directions, self.means)


@final
@dataclass(frozen=True)
class Learned:
    """The network of a problem, the clusters that it is told of, and a way to keep what several
    methods need of it: `shared(name, key, make)`.
    """

    problem: Problem
    network: Network
    clusters: Clusters | None
    residual: bool
    shared: Callable[[str, Any, Callable[[], Mapping[str, Tensor]]], dict[str, Tensor]]

    def nearest(self, x: Tensor) -> Tensor | None:
        """The cluster of each x, [B], where the network is told of it."""
        return None if self.clusters is None else self.clusters.nearest(x)

    def centre(self, cond: Tensor | None) -> Tensor | float:
        """What is taken from examples before the network is given them: the mean pictures of their
        clusters [B, *shape], or nothing.
        """
        return centre_of(self.clusters, cond, self.residual, self.problem)


def centre_of(
    clusters: Clusters | None, cond: Tensor | None, residual: bool, problem: Problem
) -> Tensor | float:
    if clusters is None or cond is None or not residual:
        return 0.0
    return clusters.pictures[cond].reshape(-1, *problem.normal.shape[1:])


@dataclass(frozen=True)
class LevelDetector(Detecting):
    """A way to turn a network that knows noise levels into an anomaly score; equal budgets share
    their networks.

    residual: whether a network that knows clusters is given x less the cluster's mean picture.
    """

    budget: Budget = field(default_factory=Budget)
    net: Literal["score", "energy", "gaussian"] = "score"
    residual: bool = False

    @abc.abstractmethod
    def score(self, learned: Learned) -> Tensor:
        """One score for each test example [m], high = anomalous."""

    def scores(self, problem: Problem, cache: Cache, cost: Cost) -> Tensor:
        return self.score(self.learned(problem, cache, cost))

    def narrowed(self, problem: Problem) -> Problem:
        return replace(problem, says=problem.says + self.told(problem))

    def told(self, problem: Problem) -> str:
        """What the protocol says of the method."""
        count = self.budget.clusters_of(problem)
        return f"; the network is told the nearest of {count} clusters" if count else ""

    def learned(self, problem: Problem, cache: Cache, cost: Cost) -> Learned:
        """The network, from the cache or trained now."""
        clusters = self._clusters(problem, cache)
        cond = None if clusters is None else clusters.nearest(problem.normal)
        x = problem.normal - centre_of(clusters, cond, self.residual, problem)
        coordinates = ["residual"] if self.residual and clusters is not None else []
        key = [to_dict(self.budget), self.net, self.seed, problem.checksum, *coordinates]

        def make() -> dict[str, Tensor]:
            return dict(self._trained(problem, x, cond).state_dict())

        def shared(
            name: str, more: Any, make: Callable[[], Mapping[str, Tensor]]
        ) -> dict[str, Tensor]:
            return cache(f"{problem.name} {name}", [*key, *problem.checksums, more], make)

        weights = cache(f"{problem.name} {self.net}", key, make)
        network = self._fresh(problem, x)
        cost.seconds += float(weights.pop("seconds"))
        network.load_state_dict(weights)
        spend(cost, network, self.budget.images(problem))
        network.eval().requires_grad_(False)
        return Learned(problem, network, clusters, self.residual, shared)

    def _clusters(self, problem: Problem, cache: Cache) -> Clusters | None:
        count = self.budget.clusters_of(problem)
        if not count:
            return None
        key = [count, self.seed, problem.checksum]
        found = cache(
            f"{problem.name} clusters", key, lambda: clusters_of(problem.normal, count, self.seed)
        )
        return Clusters(found["directions"], found["means"], found["pictures"])

    def _fresh(self, problem: Problem, x: Tensor) -> Network:
        """The network before training on x, its weights decided by the seed."""
        budget = self.budget
        width = budget.table_width if problem.protocol == "tables" else budget.width
        seed_weights(self.seed, problem)
        clusters = budget.clusters_of(problem)
        return NETWORKS[self.net](tuple(x.shape[1:]), _std(x), width, budget.blocks, clusters)

    def _trained(self, problem: Problem, x: Tensor, cond: Tensor | None) -> Network:
        std = _std(x)
        budget = self.budget
        objective = DenoisingScoreMatching(LogNormal(math.log(std) + 0.3, 1.2), "edm", std)
        training = Training(
            budget.images(problem),
            batch=min(budget.batch, len(x)),
            learning_rate=budget.learning_rate,
        )
        network: Any = self._fresh(problem, x)
        fit_gaussian(network, lambda: Batch(x, cond))
        found: Any = learned(network, objective, x, training, self.seed, problem.name, cond=cond)
        trained: Network = found
        return trained


def _std(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def mlp_reconstruction(
    shape: tuple[int, ...], std: float, width: int, blocks: int, classes: int
) -> PreconditionedEnergy:
    """A perceptron's energy by its squared error: at one price, a scalar output denoises held-out
    pictures less well.
    """
    return PreconditionedEnergy(Reconstruction(LevelMLP(shape, width, blocks, classes)), std)


def gaussian_score(
    shape: tuple[int, ...], std: float, width: int, blocks: int, classes: int
) -> GaussianScore:
    """A perceptron of rows, and of pictures a UNet with a quarter of the width, around the Gaussian
    of the data.
    """
    if len(shape) == 1:
        score = mlp_score(shape, std, width, blocks, classes)
    else:
        score = unet_score(shape, std, (width // 8, width // 4), blocks, 2, classes)
    return with_gaussian(score, shape, std)


NETWORKS: Mapping[str, Callable[..., Any]] = {
    "score": mlp_score,
    "energy": mlp_reconstruction,
    "gaussian": gaussian_score,
}

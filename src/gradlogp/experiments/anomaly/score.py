r"""Anomaly scores of noise-conditional score networks, on pictures and on tables: what a trained
score field says of strangers.

One small network per problem, a preconditioned residual perceptron learned by denoising score
matching, serves every score here:

* **denoising error** at levels around the data's own standard deviation :math:`\sigma_d`, each
  relative to that of held-out normal examples (`tasks.detect.relative`): a network that knows one
  kind only makes everything else into that kind.
* **score norms** (MSMA): the vector :math:`\sigma_i\|s(x, \sigma_i)\|` at ten levels, under a
  Gaussian mixture, by its neighbours; and one level of it alone.
* **path energy**: log-density by the work along the straight line from the mean of all normal
examples,

  .. math:: \log p(0 \mid c) - \log p(x \mid c) = -\int_0^1 s(tx, \sigma \mid c)\cdot x\,dt,

  at level :math:`\sigma_d`, without c but in the held-out protocol. An energy needs no path:
  :math:`E(x \mid c) - E(0 \mid c)`.
* **likelihood** by the probability-flow ODE, and its distance from typical. Likelihood rewards what
is simple: it is here to fail.

Nine digits are many modes. In the held-out protocol the network is told which of 200 clusters
(k-means on 32 principal components, no labels) an example is nearest to, in training and in testing
alike: a hard mixture, :math:`p(x \mid c(x))`. Its logarithm is known up to an offset of each
cluster. Paths that begin at the mean of all measure each cluster's by one and the same picture; as
sigma grows they come to :math:`(\|x - \mu_c\|^2 - \|\mu_c\|^2) / 2\sigma^2`. Those that begin at
:math:`\mu_c` find simple strangers (the digit 1) too likely. An energy may be given :math:`x -
\mu_c` and c (`residual`): its training begins at that limit.

Levels are multiples of :math:`\sigma_d`, the same in all problems of a kind: MSMA 8 to 0.1;
denoising 1, 2, 4 for pictures and 1/4, 1/2, 1 for tables. They, and the number of clusters, were
settled while looking at one-class 2, 5, 8 and held-out 1, 4, 9 of MNIST. Path, energy and norm are
taken at :math:`\sigma_d`, with clusters at :math:`4\sigma_d`. That was chosen among eight levels,
1/4 to 12, on the train and validation parts of MNIST: the mean AUROC of the path, pictures of the
digit left out against validation pictures of the others. Whichever digit is set aside, the problems
of the nine others choose 4.

References: Mahmood et al. (2021), arXiv 2010.13132; Graham et al. (2023), Denoising Diffusion
Models for Out-of-Distribution Detection, arXiv 2211.07740 (error over several levels); Nalisnick et
al. (2019), arXiv 1810.09136 (likelihood fails).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from gradlogp.baselines.detectors import clusters_of, nearest_of
from gradlogp.core.calculus import draw_probes
from gradlogp.core.random import seeded
from gradlogp.experiments.anomaly.common import (
    BASELINES,
    CLOUDS,
    Bank,
    Detecting,
    Problem,
    learn,
    order,
    scope_of,
)
from gradlogp.harness.settings import to_dict
from gradlogp.harness.trial import Cost
from gradlogp.models import Preconditioned, PreconditionedEnergy, mlp_score
from gradlogp.models.nets.mlp import LevelMLP
from gradlogp.models.noisy import Reconstruction
from gradlogp.objectives import DenoisingScoreMatching, LogNormal
from gradlogp.tasks import detect
from gradlogp.tasks.likelihood import measured_prior, ode_likelihood
from gradlogp.training import Training

How = Literal[
    "denoising",
    "msma_mixture",
    "msma_neighbours",
    "norm",
    "path",
    "energy",
    "likelihood",
    "typicality",
]
Network = Preconditioned | PreconditionedEnergy
PICTURES, TABLES = (
    (1.0, 2.0, 4.0),
    (0.25, 0.5, 1.0),
)  # denoising levels, in standard deviations of the data
FIT = 2000  # normal training examples that the density of the norms is fitted to


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
        return int(getattr(self, problem.protocol.replace("-", "_")))


@final
@dataclass(frozen=True)
class ScoreDetector(Detecting):
    """One way to turn a score network, or a noise-conditional energy, into an anomaly score; equal
    budgets share their networks.
    """

    how: How = "denoising"
    budget: Budget = field(default_factory=Budget)
    draws: int = 2  # of noise, for the denoising error
    levels: int = 10
    nodes: int = 6
    steps: int = 8  # of RK4, for the likelihood
    likelihoods: int = 500  # test examples of a problem
    net: Literal["score", "energy"] = "score"
    residual: bool = (
        False  # whether a network that knows clusters is given x less the cluster's mean picture
    )
    # of path, energy and norm in the held-out protocol, in standard deviations; elsewhere 1
    clustered_level: float = 4.0

    def narrowed(self, problem: Problem) -> Problem:
        told = (
            f"; the network is told the nearest of {self.clusters(problem)} clusters"
            if self.clusters(problem)
            else ""
        )
        if self.how in ("path", "energy", "norm"):
            told += f"; at {self.level(problem) / problem.std:g} standard deviations of noise"
        problem = replace(problem, says=problem.says + told)
        return (
            problem.thinned(self.likelihoods)
            if self.how in ("likelihood", "typicality")
            else problem
        )

    def level(self, problem: Problem) -> float:
        """The noise level of path, energy and norm."""
        return problem.std * (self.clustered_level if self.clusters(problem) else 1.0)

    def scores(self, problem: Problem, bank: Bank, cost: Cost) -> Tensor:
        model = self.network(problem, bank, cost)
        return getattr(self, f"_{self.how}")(model, problem, bank)

    def decides(self, problem: Problem, *more: Any) -> list[Any]:
        """All that decides a network: the settings of its training, and the examples."""
        examples = [self.dataset, len(problem.normal), float(problem.normal.double().abs().sum())]
        return [to_dict(self.budget), self.net, self.seed, *examples, *more]

    def clusters(self, problem: Problem) -> int:
        return self.budget.clusters if problem.protocol == "held-out" else 0

    def nearest(self, problem: Problem, x: Tensor, bank: Bank) -> Tensor | None:
        """The cluster that each x is nearest to, [B], or None."""
        if not self.clusters(problem):
            return None
        found = self._clusters(problem, bank)
        return nearest_of(x.flatten(1) @ found["directions"], found["means"])

    def _clusters(self, problem: Problem, bank: Bank) -> dict[str, Tensor]:
        return bank(
            f"{problem.name} clusters",
            self.decides(problem, "pictures"),
            lambda: clusters_of(problem.normal, self.clusters(problem), self.seed),
        )

    def centre(self, problem: Problem, cond: Tensor | None, bank: Bank) -> Tensor | float:
        """What is taken from examples before the network is given them: the mean pictures of their
        clusters, or nothing.
        """
        if cond is None or not self.residual:
            return 0.0
        return self._clusters(problem, bank)["pictures"][cond].reshape(
            -1, *problem.normal.shape[1:]
        )

    def network(self, problem: Problem, bank: Bank, cost: Cost) -> Network:
        b = self.budget
        cond = self.nearest(problem, problem.normal, bank)
        x = problem.normal - self.centre(problem, cond, bank)
        std = float(x.square().mean().sqrt())
        table, images = problem.protocol == "tables", b.images(problem)

        def fresh() -> Network:
            torch.manual_seed(seeded(self.seed, "weights", problem.name).initial_seed())
            make = mlp_score if self.net == "score" else mlp_reconstruction
            return make(
                tuple(x.shape[1:]),
                std,
                b.table_width if table else b.width,
                b.blocks,
                self.clusters(problem),
            )

        def make() -> dict[str, Tensor]:
            objective = DenoisingScoreMatching(LogNormal(math.log(std) + 0.3, 1.2), "edm", std)
            training = Training(images, batch=min(b.batch, len(x)), learning_rate=b.learning_rate)
            return dict(
                learn(
                    fresh(), objective, x, training, self.seed, problem.name, cond=cond
                ).state_dict()
            )

        coordinates = ["residual"] if self.residual and self.clusters(problem) else []
        weights = bank(f"{problem.name} {self.net}", self.decides(problem, *coordinates), make)
        model = fresh()
        cost.seconds += float(weights.pop("seconds"))
        cost.images = cost.images + images
        cost.evaluations = cost.evaluations + images
        cost.parameters = max(cost.parameters, sum(p.numel() for p in model.parameters()))
        model.load_state_dict(weights)
        return model.eval().requires_grad_(False)

    def _denoising(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        levels = [problem.std * k for k in (TABLES if problem.protocol == "tables" else PICTURES)]
        generator = seeded(self.seed, "denoising", problem.name)

        def errors(x: Tensor) -> Tensor:
            return detect.denoising_errors(
                model, x, levels, generator, self.draws, self.nearest(problem, x, bank)
            )

        return detect.relative(errors(problem.test), errors(problem.held_out))

    def _norms(self, model: Network, problem: Problem, bank: Bank) -> dict[str, Tensor]:
        """MSMA's features of training, held-out and test examples."""
        levels = [
            problem.std * 8 * (0.1 / 8) ** (i / (self.levels - 1)) for i in range(self.levels)
        ]
        parts = {
            "normal": problem.normal[:FIT],
            "held_out": problem.held_out[:FIT],
            "test": problem.test,
        }
        conds = {name: self.nearest(problem, x, bank) for name, x in parts.items()}
        return bank(
            f"{problem.name} norms",
            self.decides(problem, self.levels, len(problem.test)),
            lambda: {
                name: detect.score_norms(model, x, levels, conds[name]) for name, x in parts.items()
            },
        )

    def _msma_mixture(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        norms = self._norms(model, problem, bank)
        return detect.NormMixture(norms["normal"], norms["held_out"], seed=self.seed).score(
            norms["test"]
        )

    def clouds(self, problem: Problem, bank: Bank) -> Mapping[str, Tensor]:
        if self.how != "msma_neighbours" or problem.name not in CLOUDS:
            return {}
        norms = self._norms(self.network(problem, bank, Cost()), problem, bank)
        return {f"norms {problem.name} {part}": norms[part] for part in ("normal", "test")}

    def _msma_neighbours(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        norms = self._norms(model, problem, bank)
        return detect.NormNeighbours(norms["normal"]).score(norms["test"])

    def _norm(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        cond = self.nearest(problem, problem.test, bank)
        return detect.gradient_norm(
            model, problem.test - self.centre(problem, cond, bank), self.level(problem), cond
        )

    def _path(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        mean, cond = (
            torch.zeros_like(problem.test[0]),
            self.nearest(problem, problem.test, bank),
        )  # examples are centred
        return detect.path_energy(model, problem.test, mean, self.level(problem), self.nodes, cond)

    def _energy(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        """E(x | c) - E(0 | c): each cluster's energy has a constant of its own, which no score
        matching sees.
        """
        x = problem.test
        level = self.level(problem)
        cond = self.nearest(problem, problem.test, bank)
        centre = self.centre(problem, cond, bank)
        here, mean = (
            detect.energy(model, at - centre, level, cond) for at in (x, torch.zeros_like(x))
        )
        return here - mean

    def _nats(self, model: Network, problem: Problem, bank: Bank) -> dict[str, Tensor]:
        """-log p of the data with noise of a tenth of their standard deviation, one Rademacher
        probe.
        """
        levels = [problem.std * 10 * (0.1 / 10) ** (i / self.steps) for i in range(self.steps + 1)]
        prior = measured_prior(problem.normal, levels[0])

        def nats(x: Tensor, part: str) -> Tensor:
            probes = draw_probes(x, 1, seeded(self.seed, "probes", part))
            return ode_likelihood(
                model, x, levels, prior, probes, cond=self.nearest(problem, x, bank)
            ).nats

        return bank(
            f"{problem.name} nats",
            self.decides(problem, self.steps, len(problem.test)),
            lambda: {
                "held_out": nats(problem.held_out[:100], "held_out"),
                "test": nats(problem.test, "test"),
            },
        )

    def _likelihood(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        return self._nats(model, problem, bank)["test"]

    def _typicality(self, model: Network, problem: Problem, bank: Bank) -> Tensor:
        nats = self._nats(model, problem, bank)
        return detect.typicality(nats["test"], nats["held_out"])


def mlp_reconstruction(
    shape: tuple[int, ...], std: float, width: int, blocks: int, classes: int
) -> PreconditionedEnergy:
    """A perceptron's energy by its squared error: at one price, a scalar output denoises held-out
    pictures less well.
    """
    return PreconditionedEnergy(Reconstruction(LevelMLP(shape, width, blocks, classes)), std)


Maker = Callable[[str, str, int], Detecting]


def _detector(name: str, how: How, says: str) -> Maker:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> ScoreDetector:
        quick = preset == "quick"
        budget = (
            Budget()
            if quick
            else Budget(200_000, 400_000, 600_000, 200_000, width=512, table_width=256, blocks=3)
        )
        draws, likelihoods, steps = (1, 250, 8) if quick else (4, 1000, 16)
        return ScoreDetector(
            name,
            dataset,
            preset,
            seed,
            scope_of(dataset, preset),
            how,
            budget,
            draws,
            likelihoods=likelihoods,
            steps=steps,
        )

    make.__doc__ = says
    return make


TRIALS: dict[str, Maker] = {
    "denoising_error": _detector(
        "denoising_error", "denoising", "Denoising error of a score network at three levels."
    ),
    "path_energy": _detector(
        "path_energy", "path", "Log-density by the work of the score along the line from the mean."
    ),
    "score_norm": _detector("score_norm", "norm", "The norm of the score at one noise level."),
    "msma_mixture": _detector(
        "msma_mixture", "msma_mixture", "MSMA: score norms at ten levels under a Gaussian mixture."
    ),
    "msma_neighbours": _detector(
        "msma_neighbours",
        "msma_neighbours",
        "MSMA: score norms at ten levels, by their neighbours.",
    ),
    "ode_likelihood": _detector(
        "ode_likelihood", "likelihood", "Minus log-likelihood by the probability-flow ODE, alone."
    ),
    "ode_typicality": _detector(
        "ode_typicality",
        "typicality",
        "How far the log-likelihood is from its mean on normal examples.",
    ),
}
METHODS = order(TRIALS, BASELINES)

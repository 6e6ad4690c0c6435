r"""Anomaly scores of networks that know noise levels, on pictures and on tables: what a trained
score field says of what is out of distribution.

* **denoising error** at levels around the data's own standard deviation :math:`\sigma_d`, each
  relative to that of held-out normal examples (`tasks.detect.relative`): a network that knows one
  kind only makes everything else into that kind.
* **relative error**: the logarithm of that error over the error of Wiener's filter of the same
  normal examples, :math:`\log \|D - x\|^2 / \|D_{linear} - x\|^2`, at six levels. Busy pictures are
  hard for both and plain ones easy, so what is left is what the network knows of this kind alone.
* **score norms** (MSMA): the vector :math:`\sigma_i\|s(x, \sigma_i)\|` at ten levels, under a
  Gaussian mixture, by its neighbours; and one level of it alone.
* **field neighbours**: the distance to the nearest normal example by what the score says at five
  levels of where it is large, which way it points in each channel, and which way as a whole
  (`core.score_features`); MSMA keeps one norm of it for the whole picture.
* **path energy**: log-density by the work along the straight line from the mean of all normal
  examples,

  .. math:: \log p(0 \mid c) - \log p(x \mid c) = -\int_0^1 s(tx, \sigma \mid c)\cdot x\,dt,

  at level :math:`\sigma_d`, without c but in the held-out protocol. An energy needs no path:
  :math:`E(x \mid c) - E(0 \mid c)`.
* **likelihood** by the probability-flow ODE, and its distance from typical. Likelihood rewards what
  is simple: it is here to fail.

Clusters c (see `networks`) have offsets of their own in log-density. Paths that begin at the mean
of all measure each cluster's by one and the same picture; as sigma grows they come to :math:`(\|x -
\mu_c\|^2 - \|\mu_c\|^2) / 2\sigma^2`. Those that begin at :math:`\mu_c` find simple anomalies (the
digit 1) too likely.

Levels are multiples of :math:`\sigma_d`, the same in all problems of a kind: MSMA 8 to 0.1;
denoising 1, 2, 4 for pictures and 1/4, 1/2, 1 for tables. They, and the number of clusters, were
settled while looking at one-class 2, 5, 8 and held-out 1, 4, 9 of MNIST. Path, energy and norm are
taken at :math:`\sigma_d`, with clusters at :math:`4\sigma_d`. That was chosen among eight levels,
1/4 to 12, on the train and validation parts of MNIST: the mean AUROC of the path, pictures of the
digit left out against validation pictures of the others. Whichever digit is set aside, the problems
of the nine others choose 4.

Five levels, 4 x 4 places and the weights of the three parts of field neighbours were chosen by the
mean one-class AUROC of the Gaussian's field on validation pictures of CIFAR-10, all classes of it: in
one-class on these data they have seen the kinds of anomalies, though no test picture. Of the others
only the ridge of `neighbour_whitened` was fixed so.

Energies are half the squared error of a perceptron (`models.noisy`). In the held-out protocol the
energy is learned of :math:`x - \mu_c` (the norm is not), which suited it better and the norm worse
on the train and validation parts of MNIST. Its form and its batch were chosen by the loss on
validation pictures of Fashion-MNIST and of MNIST's digit 2.

References: Mahmood et al. (2021), arXiv 2010.13132; Serra et al. (2020), Input Complexity and
Out-of-distribution Detection with Likelihood-based Generative Models, arXiv 1909.11480 (relative to
what is hard for all); Graham et al. (2023), Denoising Diffusion
Models for Out-of-Distribution Detection, arXiv 2211.07740 (error over several levels); Nalisnick et
al. (2019), arXiv 1810.09136 (likelihood fails).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.baselines.detectors import subsample
from gradlogp.core.calculus import draw_probes
from gradlogp.core.fields import Denoiser, as_noisy
from gradlogp.core.random import seeded
from gradlogp.core.score_features import LEVELS, field_distances, score_features
from gradlogp.experiments.anomaly.networks import Learned, LevelDetector
from gradlogp.experiments.anomaly.problems import NORMAL, Problem
from gradlogp.harness.record import Cost
from gradlogp.runs.cache import Cache
from gradlogp.tasks import detect
from gradlogp.tasks.likelihood import measured_prior, ode_likelihood

# denoising levels, in standard deviations of the data
PICTURE_LEVELS, TABLE_LEVELS = (1.0, 2.0, 4.0), (0.25, 0.5, 1.0)
RELATIVE_LEVELS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
FIT = 2000  # normal training examples that the density of the norms is fitted to
TYPICAL = 100  # held-out examples whose likelihood is typical
# problems whose score norms are drawn
DRAWN = ({"protocol": "cross", "learned": "fashion_mnist"}, {"protocol": "one-class", "class": 2})


def geometric(std: float, high: float, low: float, n: int) -> list[float]:
    """n + 1 levels from `high` to `low` standard deviations."""
    return [std * high * (low / high) ** (i / n) for i in range(n + 1)]


@final
@dataclass(frozen=True)
class DenoisingError(LevelDetector):
    """The error at three levels, relative to that of held-out normal examples; the mean over
    `draws` of noise.
    """

    draws: int = 2

    def score(self, learned: Learned) -> Tensor:
        problem = learned.problem
        multiples = TABLE_LEVELS if problem.protocol == "tables" else PICTURE_LEVELS
        levels = [problem.std * k for k in multiples]
        generator = seeded(self.seed, "denoising", problem.name)

        def errors(x: Tensor) -> Tensor:
            cond = learned.nearest(x)
            return detect.denoising_errors(learned.network, x, levels, generator, self.draws, cond)

        return detect.relative(errors(problem.test), errors(problem.held_out))


@final
@dataclass(frozen=True)
class RelativeError(LevelDetector):
    """The mean over levels of the log of the network's error over that of the Gaussian wired into
    it; for `examples` of the test part, with `draws` of noise.
    """

    draws: int = 2
    examples: int = 1000

    def narrowed(self, problem: Problem) -> Problem:
        return super().narrowed(problem).thinned(self.examples)

    def score(self, learned: Learned) -> Tensor:
        x = learned.problem.test
        levels = [learned.problem.std * k for k in RELATIVE_LEVELS]
        gaussian: Any = learned.network.gaussian
        linear = Denoiser(lambda x, sigma, *cond: gaussian.denoise(x, sigma))

        def errors(model: Any, cond: Tensor | None = None) -> Tensor:
            generator = seeded(self.seed, "denoising", learned.problem.name)
            return detect.denoising_errors(model, x, levels, generator, self.draws, cond)

        gain = errors(learned.network, learned.nearest(x)) / errors(linear)
        return gain.log().mean(1)


@dataclass(frozen=True)
class ScoreNorms(LevelDetector):
    """MSMA's features: the norms of the score at `levels` levels."""

    levels: int = 10

    def norms(self, learned: Learned) -> dict[str, Tensor]:
        """Of training, held-out and test examples, [n, levels] each."""
        problem = learned.problem
        levels = geometric(problem.std, 8, 0.1, self.levels - 1)
        parts = {
            "normal": problem.normal[:FIT],
            "held_out": problem.held_out[:FIT],
            "test": problem.test,
        }

        def make() -> dict[str, Tensor]:
            return {
                name: detect.score_norms(learned.network, x, levels, learned.nearest(x))
                for name, x in parts.items()
            }

        return learned.shared("norms", self.levels, make)


@final
@dataclass(frozen=True)
class NormMixture(ScoreNorms):
    """Their density under a Gaussian mixture."""

    def score(self, learned: Learned) -> Tensor:
        norms = self.norms(learned)
        mixture = detect.NormMixture(norms["normal"], norms["held_out"], seed=self.seed)
        return mixture.score(norms["test"])


@final
@dataclass(frozen=True)
class NormNeighbours(ScoreNorms):
    """Their distance to the nearest of training examples."""

    def score(self, learned: Learned) -> Tensor:
        norms = self.norms(learned)
        return detect.NormNeighbours(norms["normal"]).score(norms["test"])

    def features(self, problem: Problem, cache: Cache) -> Mapping[str, Tensor]:
        if dict(problem.axes) not in DRAWN:
            return {}
        norms = self.norms(self.learned(problem, cache, Cost()))
        _, first = next(problem.anomalies())
        return {
            "norms_learned": norms["normal"],
            "norms_normal": norms["test"][problem.kind == NORMAL],
            "norms_anomalous": norms["test"][first],
        }


@final
@dataclass(frozen=True)
class FieldOfScore(LevelDetector):
    """The distance to the nearest of `among` training pictures by what the whole field says, at
    cells x cells places.
    """

    cells: int = 4
    among: int = 5000

    def score(self, learned: Learned) -> Tensor:
        problem = learned.problem
        levels = [problem.std * k for k in LEVELS]

        def features(x: Tensor) -> dict[str, Tensor]:
            noisy = as_noisy(learned.network, learned.nearest(x))
            return score_features(noisy, x, levels, self.cells)

        known = subsample(problem.normal, self.among, self.seed)
        return field_distances(features, known)(problem.test)


@dataclass(frozen=True)
class AtOneLevel(LevelDetector):
    """Scores at the data's own standard deviation; with clusters at `clustered_level` of them."""

    clustered_level: float = 4.0

    def level(self, problem: Problem) -> float:
        """The noise level."""
        return problem.std * (self.clustered_level if self.budget.clusters_of(problem) else 1.0)

    def told(self, problem: Problem) -> str:
        multiple = self.level(problem) / problem.std
        return f"{super().told(problem)}; at {multiple:g} standard deviations of noise"


@final
@dataclass(frozen=True)
class GradientNorm(AtOneLevel):
    """The norm of the score."""

    def score(self, learned: Learned) -> Tensor:
        x = learned.problem.test
        cond = learned.nearest(x)
        level = self.level(learned.problem)
        return detect.gradient_norm(learned.network, x - learned.centre(cond), level, cond)


@final
@dataclass(frozen=True)
class PathEnergy(AtOneLevel):
    """The work of the score along the line from the mean, by `nodes` evaluations."""

    nodes: int = 6

    def score(self, learned: Learned) -> Tensor:
        x = learned.problem.test
        mean = torch.zeros_like(x[0])  # examples are centred
        level = self.level(learned.problem)
        cond = learned.nearest(x)
        return detect.path_energy(learned.network, x, mean, level, self.nodes, cond)


@final
@dataclass(frozen=True)
class LevelEnergy(AtOneLevel):
    """E(x | c) - E(0 | c): each cluster's energy has a constant of its own, which no score matching
    sees.
    """

    def score(self, learned: Learned) -> Tensor:
        x = learned.problem.test
        level = self.level(learned.problem)
        cond = learned.nearest(x)
        centre = learned.centre(cond)
        here, mean = (
            detect.energy(learned.network, at - centre, level, cond)
            for at in (x, torch.zeros_like(x))
        )
        return here - mean


@dataclass(frozen=True)
class Flow(LevelDetector):
    """-log p of the data with noise of a tenth of their standard deviation, by the probability-flow
    ODE: `steps` of RK4 and one Rademacher probe, for `likelihoods` test examples of a problem.
    """

    steps: int = 8
    likelihoods: int = 500

    def narrowed(self, problem: Problem) -> Problem:
        return super().narrowed(problem).thinned(self.likelihoods)

    def nats(self, learned: Learned) -> dict[str, Tensor]:
        """Of held-out and test examples."""
        problem = learned.problem
        levels = geometric(problem.std, 10, 0.1, self.steps)
        prior = measured_prior(problem.normal, levels[0])

        def nats(x: Tensor, part: str) -> Tensor:
            probes = draw_probes(x, 1, seeded(self.seed, "probes", part))
            cond = learned.nearest(x)
            return ode_likelihood(learned.network, x, levels, prior, probes, cond=cond).nats

        def make() -> dict[str, Tensor]:
            held_out = problem.held_out[:TYPICAL]
            return {"held_out": nats(held_out, "held_out"), "test": nats(problem.test, "test")}

        return learned.shared("nats", self.steps, make)


@final
@dataclass(frozen=True)
class FlowLikelihood(Flow):
    """The likelihood alone."""

    def score(self, learned: Learned) -> Tensor:
        return self.nats(learned)["test"]


@final
@dataclass(frozen=True)
class FlowTypicality(Flow):
    """How far the likelihood is from its mean on held-out normal examples."""

    def score(self, learned: Learned) -> Tensor:
        nats = self.nats(learned)
        return detect.typicality(nats["test"], nats["held_out"])

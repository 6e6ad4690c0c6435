r"""scikit-learn estimators: rows in, scores, classes, features and densities out.

| estimator | learned from rows X | out |
|---|---|---|
| `EnergyDetector` | nothing: the energy of X with noise, in closed form | :math:`-E(x)`, high = normal |
| `ScoreDetector` | a denoiser D at many noise levels | how well a row is denoised, high = normal |
| `EnergyClassifier` | a joint energy, by :math:`-\log p(y \mid x)` | :math:`p(y \mid x) \propto e^{-E(x, y)}` |
| `EnergyTransformer` | an energy, by denoising score matching | the features under its last layer |
| `ScoreDensity` | a denoiser D at many noise levels | :math:`\log p(x)` by the probability-flow ODE; samples |

The conventions are scikit-learn's: parameters are stored as given, what is learned ends in an
underscore, `score_samples` is high for normal rows (in `tasks.detect` it is low), and columns are
standardised by the training rows. Networks learn in float32 and are asked in float64, so that what
a row gets does not depend on its neighbours.

References: Buitinck et al. (2013), API design for machine learning software, arXiv 1309.0238;
Vincent (2011), eq. 11 (denoising); Grathwohl et al. (2020), arXiv 1912.03263 (joint energies); Song
et al. (2021), arXiv 2011.13456, eq. 39 (the ODE).
"""

import abc
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from gradlogp import tasks
from gradlogp.baselines.detectors import NoisedEnergy
from gradlogp.core.fields import Denoiser
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.random import normal_, seeded
from gradlogp.models import MLPEnergy, mlp_score
from gradlogp.objectives import (
    CrossEntropy,
    DenoisingScoreMatching,
    LogNormal,
    Objective,
    SingleLevel,
)
from gradlogp.objectives.classification import OfJointEnergy
from gradlogp.samplers import Heun
from gradlogp.tasks.likelihood import unit_prior
from gradlogp.training import Learner, Training
from gradlogp.training.loop import learn

Contamination = float | Literal["auto"]
AUTO = 0.1  # the share of fresh normal rows that "auto" flags


def drawn_seed(random_state: Any) -> int:
    """A seed by scikit-learn's rules: of a number, a RandomState, or None, numpy's global one."""
    return int(check_random_state(random_state).randint(2**31 - 1))


class Standardised(BaseEstimator):
    """Rows with columns of mean 0 and deviation 1, and a network that learns from them."""

    steps: int
    batch_size: int
    learning_rate: float
    random_state: Any

    def _begin(self, X: Any) -> Tensor:
        """The training rows [n, D] in float32; sets the columns' mean and scale, and the seed."""
        self.mean_ = X.mean(0)
        deviation = X.std(0)
        self.scale_ = np.where(deviation > 0, deviation, 1.0)
        self.seed_ = drawn_seed(self.random_state)
        return self._rows(X).float()

    def _rows(self, X: Any) -> Tensor:
        return torch.from_numpy((X - self.mean_) / self.scale_)

    def _ask(self, X: Any) -> Tensor:
        """Rows to score [n, D], in float64. Raises NotFittedError before `fit`."""
        check_is_fitted(self)
        return self._rows(validate_data(self, X, dtype=np.float64, reset=False))

    def _network(self, build: Any) -> nn.Module:
        """A network with weights of the seed; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed_)
            return build()

    def _train(
        self, model: nn.Module, objective: Objective, x: Tensor, y: Tensor | None = None
    ) -> Any:
        """The averaged network in float64 after `steps` updates."""
        batch = min(self.batch_size, len(x))
        settings = Training(self.steps * batch, batch, self.learning_rate)
        learner = Learner(model, objective, settings, seeded(self.seed_, "noise"))
        return learn(learner, x, y, self.seed_).double()

    def _denoiser(self, x: Tensor) -> Any:
        model = self._network(lambda: mlp_score(x.shape[1], 1.0))
        return self._train(model, DenoisingScoreMatching(LogNormal(-0.5, 1.0), "edm", 1.0), x)


class Detector(OutlierMixin, BaseEstimator, abc.ABC):
    """What detectors share: thresholds. `_learn(X)` learns, `_score(X)` is high for normal rows.

    contamination: the share of the training rows that lies below the threshold, as everywhere in
    scikit-learn; "auto" takes the threshold from rows that were held out instead, a tenth of which
    lie below it. A network finds the rows that it has learned from normal, and a threshold from
    them may flag most fresh rows of a small table.

    What PyOD's users look for is there besides, by its names and high = anomalous:
    `decision_scores_` and `labels_` (0 or 1) of the training rows, and `threshold_`.
    """

    contamination: Contamination

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from normal rows X [n, D]; y is ignored."""
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        share = self.contamination
        if not (share == "auto" or (isinstance(share, (int, float)) and 0 < share <= 0.5)):
            raise ValueError(f"contamination is 'auto' or a share in (0, 0.5], got {share!r}.")
        held = np.arange(len(X)) % 5 == 4 if share == "auto" and len(X) >= 20 else None
        self._learn(X if held is None else X[~held])
        scored = self._score(X if held is None else X[held])
        below = AUTO if share == "auto" else share
        self.offset_ = float(np.percentile(scored, 100 * below))
        self.threshold_ = -self.offset_
        self.decision_scores_ = -self._score(X)
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    @abc.abstractmethod
    def _learn(self, X: Any) -> None: ...

    @abc.abstractmethod
    def _score(self, X: Any) -> Any: ...

    def score_samples(self, X: Any) -> Any:
        """How normal each row is, [n], float64; high = normal."""
        check_is_fitted(self)
        return self._score(validate_data(self, X, dtype=np.float64, reset=False))

    def decision_function(self, X: Any) -> Any:
        """`score_samples` less the threshold, [n]; below 0 = anomalous."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Any:
        """1 for normal rows, -1 for anomalous ones, [n]."""
        return np.where(self.decision_function(X) < 0, -1, 1)


class EnergyDetector(Detector):
    """Anomalies by the energy of the training rows with noise added, in closed form: the first
    choice.

    It is `baselines.NoisedEnergy`: nothing is trained, a few unmarked outliers among the training
    rows do little harm, and the level is in robust deviations of the columns
    (docs/contamination.md).
    """

    def __init__(
        self,
        level: float = 1.0,
        most: int | None = None,
        contamination: Contamination = "auto",
        random_state: Any = 0,
    ) -> None:
        self.level = level
        self.most = most
        self.contamination = contamination
        self.random_state = random_state

    def _learn(self, X: Any) -> None:
        self.seed_ = drawn_seed(self.random_state)
        self.energy_ = NoisedEnergy(self.level, self.most)
        self.rows_ = np.array(X)

    def _score(self, X: Any) -> Any:
        return -self.energy_.fit(self.rows_, seed=self.seed_)(np.array(X)).numpy()


class ScoreDetector(Standardised, Detector):
    """Anomalies by how badly a row is denoised, by a score network that has learned normal rows.

    levels: noise in deviations of the columns, at which the errors are taken, each relative to that
    of normal rows (`tasks.detect.relative`). steps x batch_size rows are shown in training.
    """

    def __init__(
        self,
        steps: int = 500,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        levels: tuple[float, ...] = (0.3, 0.6, 1.0),
        contamination: Contamination = "auto",
        random_state: Any = 0,
    ) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.levels = levels
        self.contamination = contamination
        self.random_state = random_state

    def _learn(self, X: Any) -> None:
        x = self._begin(X)
        self.model_ = self._denoiser(x)
        self.normal_ = self._errors(x.double())

    def _errors(self, x: Tensor) -> Tensor:
        generator = seeded(self.seed_, "detect")
        return tasks.detect.denoising_errors(self.model_, x, self.levels, generator)

    def _score(self, X: Any) -> Any:
        return -tasks.detect.relative(self._errors(self._rows(X)), self.normal_).numpy()


class EnergyClassifier(ClassifierMixin, Standardised):
    """A classifier that is a joint energy E(x, y): softmax of its negatives, learned by
    cross-entropy.

    `energy(X)` is the marginal energy of each row, low = likely under the classes that it knows.
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (64, 64),
        steps: int = 400,
        batch_size: int = 64,
        learning_rate: float = 5e-3,
        random_state: Any = 0,
    ) -> None:
        self.hidden = hidden
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from rows X [n, D] and their classes y [n], of any type."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs two classes, got one class, {self.classes_[0]}.")
        x = self._begin(X)
        build = self._network(lambda: MLPEnergy(x.shape[1], self.hidden, len(self.classes_)))
        self.model_ = self._train(build, OfJointEnergy(CrossEntropy()), x, torch.tensor(labels))
        return self

    def _logits(self, X: Any) -> Any:
        return tasks.detect.by_batch(lambda x, cond: self.model_.logits(x), self._ask(X)).numpy()

    def decision_function(self, X: Any) -> Any:
        """-E(x, y) for each class, [n, classes]; of two, the difference [n]."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: Any) -> Any:
        """p(y | x), [n, classes]."""
        return torch.from_numpy(self._logits(X)).softmax(1).numpy()

    def predict(self, X: Any) -> Any:
        """The class of lowest energy, [n]."""
        best = self._logits(X).argmax(1)
        return self.classes_[best]

    def energy(self, X: Any) -> Any:
        """E(x) = -log sum_y exp(-E(x, y)), [n]."""
        return -torch.from_numpy(self._logits(X)).logsumexp(1).numpy()


class EnergyTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Standardised):
    """Features of rows: those under the last layer of an energy learned without labels.

    `level` is the noise, in deviations of the columns, of its denoising score matching.
    """

    def __init__(
        self,
        n_components: int = 64,
        level: float = 0.5,
        steps: int = 500,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.level = level
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows X [n, D]; y is ignored."""
        x = self._begin(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        build = self._network(lambda: MLPEnergy(x.shape[1], (128, self.n_components)))
        self.model_ = self._train(build, DenoisingScoreMatching(SingleLevel(self.level)), x)
        self._n_features_out = self.n_components
        return self

    def transform(self, X: Any) -> Any:
        """The features [n, n_components] of rows [n, D]."""
        return tasks.detect.by_batch(lambda x, cond: self.model_.trunk(x), self._ask(X)).numpy()


class ScoreDensity(DensityMixin, Standardised):
    """A density of rows: log p by the probability-flow ODE of a learned score, and samples of it.

    The density is that of the rows with noise of `finest` deviations, walked to a normal one of
    `coarsest` by `levels` of the ladder; the divergence is exact, at the price of one backward pass
    a column.
    """

    def __init__(
        self,
        steps: int = 1000,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        levels: int = 20,
        finest: float = 0.05,
        coarsest: float = 10.0,
        random_state: Any = 0,
    ) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.levels = levels
        self.finest = finest
        self.coarsest = coarsest
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows X [n, D]; y is ignored."""
        x = self._begin(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        self.model_ = self._denoiser(x)
        return self

    def _process(self) -> VarianceExploding:
        return VarianceExploding(self.finest, self.coarsest)

    def score_samples(self, X: Any) -> Any:
        """log p of each row in nats, [n], in the units of X."""
        x = self._ask(X)
        prior = unit_prior(self.coarsest)
        ladder = self._process().ladder(self.levels)
        nats = tasks.ode_likelihood(self.model_.field(), x, ladder, prior).nats
        return -nats.numpy() - np.log(self.scale_).sum()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of log p over rows, in nats."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = 0) -> Any:
        """Rows drawn from the density, [n_samples, D], in the units of X."""
        check_is_fitted(self)
        sampler = Heun(self._process(), self.levels)
        top = unit_prior(self.coarsest).std

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return self.model_(x.double(), sigma.double()).to(x.dtype)

        def prior(x: Tensor, generator: Any) -> Tensor:
            return normal_(x, generator).mul_(top)

        shape = (self.n_features_in_,)
        how = tasks.Sampling(lambda cond: Denoiser(denoise), sampler, prior, sampler.steps, shape)
        drawn = tasks.generate(how, n_samples, drawn_seed(random_state), batch=1000)
        return drawn.double().numpy() * self.scale_ + self.mean_

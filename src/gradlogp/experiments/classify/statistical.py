"""Classifiers that are fitted to the last digit: a linear and a quadratic energy, and
scikit-learn's logistic regression and quadratic discriminant analysis beside them.

A linear energy under cross-entropy *is* logistic regression, and must agree with it to 1e-6. Weight
decay is chosen by the likelihood of validation examples.

Reference: Hastie, Tibshirani & Friedman (2009), The Elements of Statistical Learning, chapter 4.
"""

import abc
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.baselines.linear import Principal, difference, fit_convex
from gradlogp.experiments.classify.common import Classifier, Logits, Task
from gradlogp.harness.record import Cost, Recorder
from gradlogp.metrics import Measure

Features = Callable[[Tensor], Tensor]  # [n, *shape] -> [n, d], float64
RIDGES = (0.0, 0.01, 0.1)  # of the covariances of discriminant analysis


def pixels(x: Tensor) -> Tensor:
    return x.flatten(1).double()


@final
@dataclass(frozen=True)
class ConvexEnergy(Classifier):
    """A linear or quadratic energy under cross-entropy, to the last digit; decay is chosen from
    `decays` on validation examples. The quadratic one is of `rank` principal components.
    """

    net: Literal["linear", "quadratic"] = "linear"
    decays: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    rank: int = 40

    def fits(self, task: Task, recorder: Recorder, cost: Cost) -> Logits:
        linear = self.net == "linear"
        features: Features = pixels if linear else Principal.fit(task.train.x, self.rank, True)
        inside, outside = features(task.train.x), features(task.validation.x)
        layers = self._layers(inside, task.train.y)
        losses = {d: float(F.cross_entropy(layers[d](outside), task.validation.y)) for d in layers}
        decay = min(losses, key=lambda d: losses[d])
        cost.parameters = 2 * (inside.shape[1] + 1)
        cost.images += len(inside)
        if linear:
            gap = against_logistic_regression(inside, task.train.y, decay, layers[decay])
            recorder.add(equality(gap, len(inside)), axes={"task": task.name})
        return lambda x: layers[decay](features(x))

    def _layers(self, x: Tensor, y: Tensor) -> dict[float, nn.Linear]:
        """For every decay, from the smoothest on; each begins where the last one ended."""
        layers: dict[float, nn.Linear] = {}
        begin = None
        for decay in sorted(self.decays, reverse=True):
            layers[decay] = fit_convex(x, y, decay, begin)
            begin = difference(layers[decay])
        return layers


def against_logistic_regression(x: Tensor, y: Tensor, decay: float, layer: nn.Linear) -> float:
    """The largest difference in probability between a linear energy and scikit-learn's logistic
    regression.
    """
    from sklearn.linear_model import LogisticRegression

    settings: dict[str, Any] = {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 500}
    model = LogisticRegression(C=1 / (decay * len(x)), **settings).fit(x.numpy(), y.numpy())
    theirs = torch.from_numpy(model.predict_proba(x.numpy()))
    return float((layer(x).softmax(1) - theirs).abs().max())


def equality(difference: float, n: int) -> Measure:
    says = (
        "largest difference in probability from scikit-learn's logistic regression of the same"
        f" decay, {n} training examples"
    )
    return Measure("from_logistic", difference, None, n, "lower", says)


@dataclass(frozen=True)
class Statistical(Classifier):
    """One of scikit-learn's classifiers: of several settings, the one whose validation likelihood
    is highest.
    """

    has_energy: ClassVar[bool] = False

    def fits(self, task: Task, recorder: Recorder, cost: Cost) -> Logits:
        features = self.features(task.train.x)
        x, y = features(task.train.x).numpy(), task.train.y.numpy()
        cost.images += len(x)
        cost.parameters = self.parameters(x.shape[1])

        def logits(model: Any, x: Tensor) -> Tensor:
            return torch.from_numpy(model.predict_log_proba(features(x).numpy())).clamp(min=-700)

        def loss(model: Any) -> float:
            return float(F.cross_entropy(logits(model, task.validation.x), task.validation.y))

        fitted = []
        for model in self.models(len(x)):
            # covariances of few examples may be singular without a ridge
            with contextlib.suppress(np.linalg.LinAlgError):
                fitted.append(model.fit(x, y))
        best = min(fitted, key=loss)
        return lambda x: logits(best, x)

    @abc.abstractmethod
    def features(self, x: Tensor) -> Features:
        """The features, fitted to training examples x."""

    @abc.abstractmethod
    def models(self, n: int) -> Iterator[Any]:
        """The unfitted classifiers to choose among, for n examples."""

    @abc.abstractmethod
    def parameters(self, width: int) -> int:
        """Of one classifier, on `width` features."""


@final
@dataclass(frozen=True)
class LogisticRegression(Statistical):
    """On pixels, with one of several weight decays."""

    decays: tuple[float, ...] = (1e-3, 1e-2, 1e-1)

    def features(self, x: Tensor) -> Features:
        return pixels

    def models(self, n: int) -> Iterator[Any]:
        from sklearn import linear_model

        for decay in self.decays:
            yield linear_model.LogisticRegression(C=1 / (decay * n), solver="newton-cholesky")

    def parameters(self, width: int) -> int:
        return width + 1


@final
@dataclass(frozen=True)
class QuadraticDiscriminant(Statistical):
    """A Gaussian for each class, on `rank` principal components, with one of several ridges."""

    rank: int = 40

    def features(self, x: Tensor) -> Features:
        return Principal.fit(x, self.rank)

    def models(self, n: int) -> Iterator[Any]:
        from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

        for ridge in RIDGES:
            yield QuadraticDiscriminantAnalysis(reg_param=ridge)

    def parameters(self, width: int) -> int:
        return 2 * (self.rank + self.rank * (self.rank + 1) // 2)

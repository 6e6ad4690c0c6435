r"""Networks as classifiers: perceptrons' and convolutional energies under several losses, JEM, and
the usual convolutional classifier.

JEM learns :math:`E(x) = -\log\sum_y e^{-E(x, y)}` from chains besides, so the same numbers also say
how likely x is: expect it to lose a little accuracy, and to know better what it does not know.

References: Grathwohl et al. (2020), arXiv 1912.03263, section 5; LeCun et al. (2006), A Tutorial on
Energy-Based Learning, section 2.2 (the losses).
"""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import nn

from gradlogp.core.random import seeded
from gradlogp.experiments.classify.common import Classifier, Logits, Task
from gradlogp.experiments.recipes.energy import EnergyRecipe, ebm
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.trial import trained
from gradlogp.models import ConvClassifier, ConvEnergy, MLPEnergy
from gradlogp.objectives import JEM, CrossEntropy, MarginLoss, Objective
from gradlogp.objectives.classification import OfJointEnergy
from gradlogp.training import Training

Loss = Literal["cross_entropy", "perceptron", "hinge", "square_square", "energy"]
SMALL = (16, 32, 64)  # channels for pictures of less than 16 pixels a side


def energy_network(net: Literal["mlp", "cnn"], shape: Sequence[int]) -> nn.Module:
    """A joint energy of two classes."""
    if net == "mlp":
        return MLPEnergy(math.prod(shape), (256,), classes=2)
    if min(shape[1:]) < 16:
        return ConvEnergy(shape, SMALL, classes=2)
    return ConvEnergy(shape, classes=2)


@dataclass(frozen=True)
class Network(Classifier):
    """What networks share: a training for each task, in a run folder of its own."""

    epochs: float = 10.0
    batch: int = 128
    learning_rate: float = 2e-3
    ema: float = 0.995

    @abc.abstractmethod
    def model(self, shape: Sequence[int]) -> nn.Module: ...

    @abc.abstractmethod
    def objective(self, task: Task) -> Objective: ...

    def training(self, images: int) -> Training:
        return Training(images, self.batch, self.learning_rate, ema=self.ema)

    def evaluations(self, task: Task) -> int:
        """Network evaluations for each training example of one update."""
        return 1

    @staticmethod
    def logits(model: Any) -> Logits:
        """Those of the fitted model, in model coordinates."""
        found: Logits = model.logits
        return found

    def fits(self, task: Task, recorder: Recorder, cost: Cost) -> Logits:
        torch.manual_seed(seeded(self.seed, "weights", task.name).initial_seed())
        model = self.model(task.spec.shape)
        objective = self.objective(task)
        kind = task.spec.coordinates
        images = int(self.epochs * len(task.train.x))
        x = kind.to_model(task.train.x)
        training = self.training(images)
        fitted = trained(recorder, task.name, model, objective, x, task.train.y, training)
        logits = self.logits(fitted)
        cost.parameters = sum(p.numel() for p in model.parameters())
        cost.images += images
        cost.evaluations += images * self.evaluations(task)
        return lambda x: torch.cat([logits(kind.to_model(part)) for part in x.split(500)])


@final
@dataclass(frozen=True)
class NetworkEnergy(Network):
    """A perceptron's or convolutional energy, under a loss of the two classes."""

    net: Literal["mlp", "cnn"] = "cnn"
    loss: Loss = "cross_entropy"

    def model(self, shape: Sequence[int]) -> nn.Module:
        return energy_network(self.net, shape)

    def objective(self, task: Task) -> Objective:
        if self.loss == "cross_entropy":
            return OfJointEnergy(CrossEntropy())
        return OfJointEnergy(MarginLoss(self.loss))


@final
@dataclass(frozen=True)
class JointEnergyModel(Network):
    """JEM: a convolutional energy that learns the density of x with the class.

    generative: the weight of contrastive divergence beside the cross-entropy. data_noise: in model
    coordinates.
    """

    generative: float = 0.1
    data_noise: float = 0.03

    def model(self, shape: Sequence[int]) -> nn.Module:
        return energy_network("cnn", shape)

    def objective(self, task: Task) -> Objective:
        generator = seeded(self.seed, "buffer")
        contrastive: Any = self._recipe(task).build_objective(task.spec, generator, "cpu")
        return JEM(contrastive, weight=self.generative)

    def training(self, images: int) -> Training:
        return replace(super().training(images), beta1=0.0, grad_clip=0.1)

    def evaluations(self, task: Task) -> int:
        return self._recipe(task).chain_steps + 3

    def _recipe(self, task: Task) -> EnergyRecipe:
        return replace(ebm(task.target), data_noise=self.data_noise)


@final
@dataclass(frozen=True)
class ConvNetwork(Network):
    """The usual convolutional classifier with rectifiers and pooling: the baseline, no energy in
    mind.
    """

    learning_rate: float = 3e-3

    def model(self, shape: Sequence[int]) -> nn.Module:
        return ConvClassifier(shape, 2)

    def objective(self, task: Task) -> Objective:
        return CrossEntropy()

    @staticmethod
    def logits(model: Any) -> Logits:
        found: Logits = model
        return found

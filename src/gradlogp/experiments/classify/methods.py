r"""Energies as classifiers: the class of x is the y whose joint energy E(x, y) is lowest.

Every classifier here is such an energy, the conditional distribution is :math:`p(y \mid x) =
\mathrm{softmax}_y(-E(x, y))`, and what differs is the energy (linear, quadratic, perceptron,
convolutional) and the loss. Budgets and tasks for each preset are the tables below.

References: LeCun et al. (2006), A Tutorial on Energy-Based Learning, section 2; Grathwohl et al.
(2020), arXiv 1912.03263, section 5.
"""

from collections.abc import Mapping
from dataclasses import replace

from gradlogp.experiments.classify.common import PAIRS
from gradlogp.experiments.classify.networks import (
    ConvNetwork,
    JointEnergyModel,
    Loss,
    NetworkEnergy,
)
from gradlogp.experiments.classify.statistical import (
    ConvexEnergy,
    LogisticRegression,
    QuadraticDiscriminant,
)
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target
from gradlogp.harness.settings import Choices, chosen

EVERY = (*PAIRS, "parity")
EPOCHS: Choices = {"any": {"full": ("epochs=20.0",), "gpu": ("epochs=20.0",)}}
JEM_EPOCHS: Choices = {  # at 23 evaluations an example
    "any": {
        "quick": ("epochs=4.0", "tasks='3v5',"),
        "full": ("epochs=12.0",),
        "gpu": ("epochs=12.0",),
    }
}


def _perceptron(name: str, loss: Loss, target: Target, preset: str, seed: int) -> NetworkEnergy:
    trial = NetworkEnergy(name, target.name, preset, seed, net="mlp", loss=loss)
    return chosen(trial, EPOCHS, target.families, preset)


def cnn_energy(target: Target, preset: str = "quick", seed: int = 0) -> NetworkEnergy:
    """A convolutional energy under cross-entropy."""
    trial = NetworkEnergy("cnn_energy", target.name, preset, seed, EVERY, batch=64)
    return chosen(trial, EPOCHS, target.families, preset)


def network(target: Target, preset: str = "quick", seed: int = 0) -> ConvNetwork:
    """A convolutional classifier with rectifiers and pooling."""
    trial = ConvNetwork("network", target.name, preset, seed, EVERY)
    return chosen(trial, EPOCHS, target.families, preset)


def jem(target: Target, preset: str = "quick", seed: int = 0) -> JointEnergyModel:
    """JEM: the same energy, which also learns the density of pictures."""
    trial = JointEnergyModel("jem", target.name, preset, seed, ema=0.99)
    return chosen(trial, JEM_EPOCHS, target.families, preset)


def mlp_energy(target: Target, preset: str = "quick", seed: int = 0) -> NetworkEnergy:
    """A perceptron's energy under cross-entropy."""
    trial = _perceptron("mlp_energy", "cross_entropy", target, preset, seed)
    return replace(trial, tasks=EVERY)


def mlp_hinge(target: Target, preset: str = "quick", seed: int = 0) -> NetworkEnergy:
    """The perceptron's energy under the hinge loss."""
    return _perceptron("mlp_hinge", "hinge", target, preset, seed)


def mlp_square_square(target: Target, preset: str = "quick", seed: int = 0) -> NetworkEnergy:
    """The perceptron's energy under the square-square loss."""
    return _perceptron("mlp_square_square", "square_square", target, preset, seed)


def mlp_perceptron(target: Target, preset: str = "quick", seed: int = 0) -> NetworkEnergy:
    """The perceptron's energy under the perceptron loss."""
    return _perceptron("mlp_perceptron", "perceptron", target, preset, seed)


def mlp_energy_loss(target: Target, preset: str = "quick", seed: int = 0) -> NetworkEnergy:
    """The bare energy loss, which lets all energies fall: a control."""
    return _perceptron("mlp_energy_loss", "energy", target, preset, seed)


def linear_energy(target: Target, preset: str = "quick", seed: int = 0) -> ConvexEnergy:
    """A linear energy under cross-entropy: the same as logistic regression, to 1e-6."""
    return ConvexEnergy("linear_energy", target.name, preset, seed)


def quadratic_energy(target: Target, preset: str = "quick", seed: int = 0) -> ConvexEnergy:
    """A quadratic energy of 40 principal components, under cross-entropy."""
    return ConvexEnergy("quadratic_energy", target.name, preset, seed, net="quadratic")


def logistic_regression(target: Target, preset: str = "quick", seed: int = 0) -> LogisticRegression:
    """Logistic regression on pixels."""
    return LogisticRegression("logistic_regression", target.name, preset, seed)


def qda(target: Target, preset: str = "quick", seed: int = 0) -> QuadraticDiscriminant:
    """Quadratic discriminant analysis of 40 principal components: a Gaussian for each class."""
    return QuadraticDiscriminant("qda", target.name, preset, seed)


METHODS: Mapping[str, Maker] = {  # those that take longest begin first
    "cnn_energy": cnn_energy,
    "network": network,
    "jem": jem,
    "mlp_energy": mlp_energy,
    "quadratic_energy": quadratic_energy,
    "linear_energy": linear_energy,
    "mlp_hinge": mlp_hinge,
    "mlp_square_square": mlp_square_square,
    "mlp_perceptron": mlp_perceptron,
    "mlp_energy_loss": mlp_energy_loss,
    "qda": qda,
    "logistic_regression": logistic_regression,
}

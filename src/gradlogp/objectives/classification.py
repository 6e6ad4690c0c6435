r"""Losses that teach an energy E(x, y) to be lowest at the right class y; model(x) are the logits,
-E(x, y) for every y.

.. math:: \text{cross-entropy:}\quad & -\log p_\theta(y \mid x) = E(x, y) + \log\textstyle\sum_{y'} e^{-E(x, y')} \\
          \text{perceptron:}\quad    & E(x, y) - \min_{y'} E(x, y') \\
          \text{hinge:}\quad         & \max(0,\ m + E(x, y) - E(x, \bar y)) \\
          \text{square-square:}\quad & E(x, y)^2 + \max(0,\ m - E(x, \bar y))^2 \\
          \text{energy:}\quad        & E(x, y)

where :math:`\bar y` is the wrong class of lowest energy and m the `margin`. Only losses that push
wrong energies up can teach: the energy loss is at its lowest where E is low everywhere, and an
architecture that can do that, does (it collapses), and the perceptron is content with a tie.

Reference: LeCun et al. (2006), A Tutorial on Energy-Based Learning, section 2.2 and table 1.
"""

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.objectives.base import Loss, Objective, check_batch, mean


def classes_of(batch: Batch, what: str) -> tuple[Tensor, Tensor]:
    x, y = check_batch(batch)
    if y is None:
        raise ValueError(f"{what} needs a class for every example, but the batch has no `cond`.")
    return x, y


@final
class CrossEntropy(Objective):
    """Cross-entropy of the class: minus the log of the Gibbs conditional p(y | x); model(x) are
    logits.

    The first choice for a classifier, since it alone gives probabilities.
    """

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, y = classes_of(batch, "cross-entropy")
        logits = model(x)
        accuracy = mean((logits.argmax(1) == y).float())
        return Loss(F.cross_entropy(logits, y, reduction="none"), {"accuracy": accuracy})


@final
@dataclass
class MarginLoss(Objective):
    """Perceptron, hinge, square-square and bare energy losses of classes; model(x) are logits -E(x,
    y).

    Choose the hinge where only the decision counts; the others are there to be compared.
    """

    kind: Literal["perceptron", "hinge", "square_square", "energy"] = "hinge"
    margin: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("perceptron", "hinge", "square_square", "energy") or self.margin <= 0:
            raise ValueError(
                "expected kind 'perceptron', 'hinge', 'square_square' or 'energy' and margin > 0,"
                f" got {self.kind!r} and {self.margin}."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, y = classes_of(batch, "a margin loss")
        logits = model(x)
        energies, right = -logits, y[:, None]
        own = energies.gather(1, right)[:, 0]
        rival = energies.scatter(1, right, torch.inf).amin(1)
        value = {
            "perceptron": lambda: own - energies.amin(1),
            "hinge": lambda: F.relu(self.margin + own - rival),
            "square_square": lambda: own**2 + F.relu(self.margin - rival) ** 2,
            "energy": lambda: own,
        }[self.kind]()
        return Loss(
            value, {"accuracy": mean((logits.argmax(1) == y).float()), "gap": mean(rival - own)}
        )


@final
@dataclass
class OfJointEnergy(Objective):
    """A loss of logits, for a joint energy E(x, y), whose logits are -E(x, y) for every y."""

    loss: Objective

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        return self.loss(model.logits, batch, generator)

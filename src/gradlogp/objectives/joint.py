r"""A classifier that is an energy: one joint energy E(x, y) for the class and for the data.

.. math:: p(y \mid x) = \mathrm{softmax}_y(-E(x, y)), \qquad E(x) = -\log\sum_y e^{-E(x, y)} ,

and the loss is :math:`-\log p(y \mid x)`, which is exact, plus a contrastive divergence for the
data. Which one is the setting `negatives`: *marginal* chains descend E(x), and the sum is
:math:`-\log p(x, y)`; *conditional* chains descend E(x, y) of a class y, and the sum is
:math:`-\log p(y \mid x) - \log p(x \mid y)`. The first makes the better classifier, the second the
better samples.

References: Grathwohl et al. (2020), Your Classifier is Secretly an Energy Based Model, arXiv
1912.03263, sections 3 and 4.
"""

from dataclasses import dataclass
from typing import Any, Literal, final

from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.objectives.base import Loss, Objective, check_batch
from gradlogp.objectives.classification import CrossEntropy
from gradlogp.objectives.contrastive import ContrastiveDivergence


@final
@dataclass
class JEM(Objective):
    """Joint energy-based model: cross-entropy of the class plus contrastive divergence of the data.

    Choose it for a classifier that also knows what is out of distribution and draws.
    model.logits(x) are -E(x, y), [B, classes]; `negatives` are marginal or conditional; `weight` is
    that of the generative part.
    """

    contrastive: ContrastiveDivergence
    negatives: Literal["marginal", "conditional"] = "marginal"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.negatives not in ("marginal", "conditional"):
            raise ValueError(f"`negatives` is 'marginal' or 'conditional', got {self.negatives!r}.")

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, _ = check_batch(batch)
        if not hasattr(model, "logits"):
            raise ValueError(
                "a joint energy gives the logits -E(x, y) of all classes by logits(x), but"
                f" {type(model).__name__} has none; build an energy model with classes=n."
            )
        classify = CrossEntropy()(model.logits, batch, generator)
        generate = self.contrastive(
            model, batch if self.negatives == "conditional" else Batch(x), generator
        )
        return Loss(classify.value + self.weight * generate.value, generate.info | classify.info)

    def state(self) -> dict[str, Tensor]:
        return self.contrastive.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.contrastive.load(state)

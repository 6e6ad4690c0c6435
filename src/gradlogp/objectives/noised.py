r"""What a noise-aware classifier learns from: the class of noised data, at every level,

.. math:: -\log p_\theta(y \mid x_0 + \sigma\varepsilon, \sigma) .

Its minimiser is the class posterior of the noised data, whose gradient is exact guidance.

Reference: Dhariwal & Nichol (2021), Diffusion Models Beat GANs on Image Synthesis, arXiv
2105.05233, section 4.
"""

from dataclasses import dataclass
from typing import Any, final

import torch.nn.functional as F
from torch import Generator

from gradlogp.core.batch import Batch
from gradlogp.core.fields import column
from gradlogp.objectives.base import Loss, Objective, mean
from gradlogp.objectives.classification import classes_of
from gradlogp.objectives.denoising import LevelDistribution, normal


@final
@dataclass
class NoisedCrossEntropy(Objective):
    """Cross-entropy of the class of noised data, at the levels of `law`: for classifiers that
    guide.

    model(x, sigma [B]) are logits [B, classes].
    """

    levels: LevelDistribution

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, y = classes_of(batch, "cross-entropy")
        sigma = self.levels.sample(len(x0), generator, x0)
        logits = model(x0 + column(sigma, x0) * normal(x0, generator), sigma)
        accuracy = mean((logits.argmax(1) == y).float())
        return Loss(F.cross_entropy(logits, y, reduction="none"), {"accuracy": accuracy})

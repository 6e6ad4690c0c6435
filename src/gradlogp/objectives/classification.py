r"""Cross-entropy, :math:`-\log p_\theta(y \mid x)`: the negative log-likelihood of the Gibbs conditional of the class."""

from typing import Any, final

import torch.nn.functional as F
from torch import Generator

from gradlogp.core.batch import Batch
from gradlogp.objectives.base import Loss, Objective, check_batch, mean


@final
class CrossEntropy(Objective):
    """model(x) are class logits [B, classes]; batch.cond are the classes."""

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, y = check_batch(batch)
        if y is None:
            raise ValueError("cross-entropy needs a class for every example, but the batch has no `cond`.")
        logits = model(x)
        accuracy = mean((logits.argmax(1) == y).float())
        return Loss(F.cross_entropy(logits, y, reduction="none"), {"accuracy": accuracy})

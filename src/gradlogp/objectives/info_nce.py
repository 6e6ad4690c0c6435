r"""Contrastive learning: pick the right partner out of many, InfoNCE.

.. math:: \ell_i = -\log \frac{e^{\mathrm{sim}(a_i, b_i)/\tau}}{\sum_j e^{\mathrm{sim}(a_i, b_j)/\tau}}

is the negative log-likelihood of an energy :math:`E(a, b) = -\mathrm{sim}(a, b)/\tau` of the
partner given a, normalised over the batch; it bounds the mutual information, :math:`I(a; b) \ge \ln
n - E\,\ell`.

*NT-Xent* (SimCLR) takes two augmented views of each of n examples, embeds the 2 n views on the unit
sphere, and lets every view find its twin among the other 2 n - 1.

References: van den Oord et al. (2018), Representation Learning with Contrastive Predictive Coding,
arXiv 1807.03748, eq. 4 and 5; Chen et al. (2020), A Simple Framework for Contrastive Learning,
arXiv 2002.05709, eq. 1 and algorithm 1.
"""

from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.objectives.augment import CROPS_AND_COLOURS, Augmentation
from gradlogp.objectives.base import Loss, Objective, check_batch, mean


def info_nce(log_odds: Tensor, right: Tensor) -> Tensor:
    """-log p(right | row) for sim / tau [n, m] and the column of each row's partner [n], [n];
    -inf in an entry takes it out of the sum.
    """
    return F.cross_entropy(log_odds, right, reduction="none")


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine between each row of a [n, d] and each of b [m, d], [n, m]."""
    return F.normalize(a, dim=1) @ F.normalize(b, dim=1).T


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent of two views' embeddings, [n, d] each: the mean of each pair's two losses, [n]."""
    n = len(first)
    both = torch.cat([first, second])
    log_odds = cosines(both, both) / temperature
    itself = torch.eye(2 * n, dtype=torch.bool, device=both.device)
    twin = torch.arange(2 * n, device=both.device).roll(n)
    return info_nce(log_odds.masked_fill(itself, -torch.inf), twin).reshape(2, n).mean(0)


@final
@dataclass
class NTXent(Objective):
    """Contrastive learning of two augmented views of each example (SimCLR): for features, without
    classes.

    model(x) are embeddings [B, d]; the batch holds 2 examples or more, and the more the better.
    """

    augmentation: Augmentation = CROPS_AND_COLOURS
    temperature: float = 0.5

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(
                f"cosines are divided by the temperature, so it is positive, got {self.temperature}."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, _ = check_batch(batch)
        views = [self.augmentation(x, generator) for _ in range(2)]
        first, second = model(torch.cat(views)).chunk(2)
        agree = F.cosine_similarity(first, second)
        return Loss(nt_xent(first, second, self.temperature), {"cosine": mean(agree)})

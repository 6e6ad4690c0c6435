r"""Pictures and captions: which belongs to which, and what the pictures are like.

CLIP's loss is InfoNCE both ways over the batch, with the energies E of all pairs:

.. math:: \ell_i = -\tfrac12 \log \frac{e^{-E(x_i, t_i)}}{\sum_j e^{-E(x_i, t_j)}}
                   -\tfrac12 \log \frac{e^{-E(x_i, t_i)}}{\sum_j e^{-E(x_j, t_i)}} ,

of which the first half is :math:`-\log p(t \mid x)` over the captions of the batch. A caption that
stands in the batch twice is no wrong answer to its twin: equal ones are left out of the sums. The
joint objective adds a loss of the pictures given their captions, for :math:`-\log p(x \mid t)`: a
contrastive divergence, as JEM has it for classes, or denoising score matching at every noise level.

References: Radford et al. (2021), Learning Transferable Visual Models From Natural Language
Supervision, arXiv 2103.00020, fig. 3; Grathwohl et al. (2020), arXiv 1912.03263 (the sum).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.objectives.base import Loss, Objective, check_batch, mean
from gradlogp.objectives.info_nce import info_nce


def clip_loss(energies: Tensor, captions: Tensor | None = None) -> Tensor:
    """CLIP's loss of the energies of all pairs [n, n], [n]; of equal `captions` [n, L] only the own
    one counts.
    """
    itself = torch.arange(len(energies), device=energies.device)
    log_odds = -energies
    if captions is not None:
        twins = (captions[:, None] == captions).all(2)
        twins[itself, itself] = False
        log_odds = log_odds.masked_fill(twins, -torch.inf)
    return (info_nce(log_odds, itself) + info_nce(log_odds.T, itself)) / 2


@final
class CLIP(Objective):
    """Contrast of pictures and captions (CLIP): each finds its partner in the batch, both ways.

    The batch has tokens [B, L] for `cond`; model.pairs(x, cond) are the energies of all pairs, [B,
    B].
    """

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, captions = check_batch(batch)
        if captions is None or captions.ndim != 2:
            raise ValueError(
                "pictures are contrasted with captions, tokens [B, L] as the batch's `cond`, got"
                f" {None if captions is None else list(captions.shape)}; encode them by a"
                " vocabulary."
            )
        energies = model.pairs(x, captions)
        value = clip_loss(energies, captions)
        own = energies.diagonal()
        found = mean((energies.amin(1) == own).float())
        return Loss(value, {"retrieved": found, "energy_data": mean(own)})


@final
@dataclass
class CaptionJoint(Objective):
    """Contrast of pictures and captions, plus a loss of the pictures given their captions.

    Choose it for an energy that finds captions and draws pictures. `density` teaches what pictures
    are like: contrastive divergence, or denoising score matching where the model takes noise levels.
    `weight` is that of the second, which the first `share` of a batch is enough for: its chains, or
    its slopes of slopes, cost many contrasts.
    """

    density: Objective
    weight: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.weight < 0:
            raise ValueError(
                "the loss of pictures takes a share of the batch in (0, 1] and a weight of 0 or"
                f" more, got {self.share} and {self.weight}."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        match = CLIP()(model, batch, generator)
        n, k = len(batch.x), math.ceil(self.share * len(batch.x))
        part = Batch(batch.x[:k], None if batch.cond is None else batch.cond[:k])
        given = self.density(model, part, generator)
        each = F.pad(given.value * (n / k), (0, n - k))  # its mean is that of the part
        return Loss(match.value + self.weight * each, match.info | given.info)

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.density.parameters()

    def state(self) -> dict[str, Tensor]:
        return self.density.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.density.load(state)

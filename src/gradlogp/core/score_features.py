r"""What a score says of an example beyond its norm: where it is large, and which way it points.

With :math:`g_i = \sigma_i s(x, \sigma_i)` at each of some noise levels,

.. math:: \log \operatorname{rms}_{\text{place, channel}}(g_i), \qquad
          \operatorname{mean}_{\text{channel}}(g_i), \qquad s(x, \sigma_2) / |s(x, \sigma_2)| .

The norm of all of :math:`g_i` is what MSMA keeps of it. A busy picture has a long score and a plain
one a short score, wherever in the picture and whichever way, so one norm orders pictures by how busy
they are. Of rows a place is the whole row and a channel is a column.

Reference: Mahmood et al. (2021), Multiscale Score Matching for Out-of-Distribution Detection, arXiv
2010.13132, eq. 5 (the norms).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from gradlogp.core.arrays import double
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField
from gradlogp.core.neighbours import nearest

LEVELS = (8.0, 3.0, 1.2, 0.45, 0.17)  # in standard deviations of the data
Features = Mapping[str, Tensor]


def score_features(
    noisy: NoisyField, x: Tensor, levels: Sequence[float], cells: int = 4
) -> dict[str, Tensor]:
    """Of x [B, *shape]: norms [B, levels * C * cells^2] at cells x cells places of pictures with C
    channels, of rows [B, levels]; means [B, levels * C], of rows [B, levels * columns]; direction
    [B, D].
    """
    scores = [double(sigma * noisy.at(sigma).score(x)) for sigma in levels]
    return {
        "norms": torch.cat([_log_norms(g, cells) for g in scores], 1),
        "means": torch.cat([g if g.ndim == 2 else g.flatten(2).mean(2) for g in scores], 1),
        "direction": normalize(scores[1].flatten(1)),
    }


def _log_norms(score: Tensor, cells: int) -> Tensor:
    squared = score.square()
    rows = score.ndim == 2
    mean = squared.mean(1, keepdim=True) if rows else adaptive_avg_pool2d(squared, cells)
    return mean.flatten(1).clamp(min=1e-30).log() / 2


@final
@dataclass(frozen=True)
class FieldNeighbours:
    """The distance to the nearest of normal examples, by `score_features`: norms and means are
    standardised, each part is of the size one, and then weighs `weights`.
    """

    features: Features
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"norms": 1.0, "means": 1.0, "direction": 2.0}
    )

    def score(self, features: Features) -> Tensor:
        return nearest(self.joined(features), self.joined(self.features), 1)[:, 0]

    def joined(self, features: Features) -> Tensor:
        """The coordinates in which distances are taken."""
        parts = [weight * self._sized(name, features) for name, weight in self.weights.items()]
        return torch.cat(parts, 1)

    def _sized(self, name: str, features: Features) -> Tensor:
        if name == "direction":
            return features[name]
        mean, std = standard(self.features[name])
        return (features[name] - mean) / std / math.sqrt(len(mean))


def standard(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each of features [n, levels], in float64."""
    if len(features) < 2:
        raise UserError(
            f"the norms of normal examples need two of them at least, got {len(features)}; pass"
            " more."
        )
    x = double(features)
    return x.mean(0), x.std(0).clamp(min=1e-12)

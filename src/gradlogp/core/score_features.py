r"""What a score says of a picture beyond its norm: where it is large, and which way it points.

With :math:`g_i = \sigma_i s(x, \sigma_i)` at each of some noise levels,

.. math:: \tfrac12 \log\big(\epsilon^2 + \operatorname{mean}_{\text{place, channel}}(g_i^2)\big), \qquad
          \operatorname{mean}_{\text{channel}}(g_i), \qquad s(x, \sigma_2) / |s(x, \sigma_2)| .

The norm of all of :math:`g_i` is what MSMA keeps of it. A busy picture has a long score and a plain
one a short score, wherever in the picture and whichever way, so one norm orders pictures by how busy
they are. Entries of :math:`g_i` are of size 1 where noise is all that is seen; what is below
:math:`\epsilon` is nothing.

Reference: Mahmood et al. (2021), Multiscale Score Matching for Out-of-Distribution Detection, arXiv
2010.13132, eq. 5 (the norms).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from gradlogp.core.arrays import double
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField
from gradlogp.core.neighbours import nearest

LEVELS = (8.0, 3.0, 1.2, 0.45, 0.17)  # in standard deviations of the data
NOTHING = 3e-3  # epsilon
LEAST = {"norms": 0.05, "means": 1e-6}  # standard deviations of what hardly varies
BLOCK = 500  # pictures at a time
Features = Mapping[str, Tensor]


def score_features(
    noisy: NoisyField, x: Tensor, levels: Sequence[float] = LEVELS, cells: int = 4
) -> dict[str, Tensor]:
    """Of pictures x [B, C, H, W]: norms [B, levels * C * cells^2] at cells x cells places, means [B,
    levels * C], and the direction [B, C * H * W] at the second level, in float64.
    """
    if x.ndim != 4 or len(levels) < 2:
        raise UserError(
            "features of a score are those of pictures [n, C, H, W] at two levels of noise or more,"
            f" got {list(x.shape)} and {len(levels)}; take other detectors for rows and sounds."
        )
    with torch.no_grad():
        blocks = [_of_block(noisy, part, levels, cells) for part in x.split(BLOCK)]
    return {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}


def _of_block(
    noisy: NoisyField, x: Tensor, levels: Sequence[float], cells: int
) -> dict[str, Tensor]:
    scores = [double(sigma * noisy.at(sigma).score(x)) for sigma in levels]
    norms = [_log_norms(g, cells) for g in scores]
    means = [g.mean((2, 3)) for g in scores]
    direction = normalize(scores[1].flatten(1))
    return {"norms": torch.cat(norms, 1), "means": torch.cat(means, 1), "direction": direction}


def _log_norms(g: Tensor, cells: int) -> Tensor:
    squares = adaptive_avg_pool2d(g.square(), cells)
    return (squares + NOTHING**2).log().flatten(1) / 2


@final
@dataclass(frozen=True)
class FieldNeighbours:
    """The distance to the nearest of normal examples, by `score_features`.

    Norms and means are standardised and divided by the root of their number, so that each of the
    three parts of a normal example has length 1; then it is multiplied by its weight.
    """

    features: Features
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"norms": 1.0, "means": 1.0, "direction": 2.0}
    )

    def score(self, features: Features) -> Tensor:
        """Of each example of `features`, [B]."""
        return nearest(self.joined(features), self._among, 1)[:, 0]

    def joined(self, features: Features) -> Tensor:
        """The coordinates in which distances are taken, [B, all entries of the parts]."""
        parts = [weight * self._sized(name, features) for name, weight in self.weights.items()]
        return torch.cat(parts, 1)

    def _sized(self, name: str, features: Features) -> Tensor:
        if name == "direction":
            return features[name]
        mean, std = standard(self.features[name], LEAST[name])
        return (features[name] - mean) / std / math.sqrt(len(mean))

    @cached_property
    def _among(self) -> Tensor:
        return self.joined(self.features)


def field_distances(
    features: Callable[[Tensor], Features], known: Tensor
) -> Callable[[Tensor], Tensor]:
    """Any pictures' distances to the nearest of the pictures `known`, some at a time."""
    field = FieldNeighbours(features(known))
    return lambda x: torch.cat([field.score(features(part)) for part in x.split(BLOCK)])


def standard(features: Tensor, least: float = 1e-12) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column of features [n, columns], in float64, the latter
    not below `least`.
    """
    if len(features) < 2:
        raise UserError(
            f"features of normal examples need two of them at least, got {len(features)}; pass more."
        )
    x = double(features)
    return x.mean(0), x.std(0).clamp(min=least)

r"""Learning discrete data site by site: the conditionals need no Z. With p_i the conditional law of
site i given all others,

.. math:: \text{pseudo-likelihood} = -\sum_i \log p_i(x_i), \qquad
          \text{ratio matching} = \tfrac12 \sum_i \sum_k \big(p_i(k) - [k = x_i]\big)^2 .

Both are proper scores of every conditional (the logarithmic one and Brier's), so the true
parameters minimise both. For a binary site the latter is :math:`(1 - p_i(x_i))^2 =
g(p(x)/p(x^i))^2` with :math:`g(u) = 1/(1 + u)` and x^i the flipped x: Hyvarinen's form. It is
bounded, so outliers pull less; pseudo-likelihood is the more efficient where the model is right.

Each of the n sites asks for K - 1 energies. `subset` takes that many sites at random for each
example and scales up: unbiased.

References: Besag (1975), Statistical Analysis of Non-Lattice Data; Hyvarinen (2007), Some
Extensions of Score Matching (binary); Lyu (2009), Interpretation and Generalization of Score
Matching (more states).
"""

import abc
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.discrete import Values, check_states, check_values, moved, sites
from gradlogp.core.fields import as_field
from gradlogp.core.random import uniform_
from gradlogp.objectives.base import Loss, Objective, check_batch, mean


@dataclass(frozen=True)
class Conditionals(Objective):
    """A sum over sites of a proper score of the site's conditional law.

    `values` are those of a binary site; None takes one-hot x [B, *sites, K]. `subset` sites for
    each example, None takes all.
    """

    values: Values = (0.0, 1.0)
    subset: int | None = None

    def __post_init__(self) -> None:
        check_values(self.values)
        if self.subset is not None and self.subset < 1:
            raise ValueError(
                f"`subset` counts sites, so it is 1 or more, got {self.subset}; None takes all."
            )

    @abc.abstractmethod
    def score(self, log_p: Tensor) -> Tensor:
        """The price [B, m] of the conditional laws log_p [B, m, K], whose state 0 is what was seen."""

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x = check_states(check_batch(batch).x, self.values)
        at = self._some(x, generator)
        log_p = self._conditionals(model, x, batch.cond, moved(x, at, self.values))
        n = sites(x, self.values)
        value = self.score(log_p).sum(1) * (n / at.shape[1])
        return Loss(value, {"probability": mean(log_p[..., 0].exp()), "per_site": mean(value) / n})

    def _conditionals(self, model: Any, x: Tensor, cond: Tensor | None, to: Tensor) -> Tensor:
        """The log-probabilities [B, m, K] of x as it is and of its moves `to` [B, m, K - 1,
        *shape], in one pass.
        """
        b, m, moves = to.shape[:3]
        repeated = None if cond is None else torch.cat([cond, cond.repeat_interleave(m * moves)])
        stay, go = (
            as_field(model, repeated).energy(torch.cat([x, to.flatten(0, 2)])).tensor_split([b])
        )
        return (
            -torch.cat([stay[:, None, None].expand(b, m, 1), go.reshape(b, m, moves)], -1)
        ).log_softmax(-1)

    def _some(self, x: Tensor, generator: Generator) -> Tensor:
        """The sites to look at, [B, m]."""
        n = sites(x, self.values)
        if self.subset is None or self.subset >= n:
            return torch.arange(n, device=x.device).expand(len(x), n)
        return (
            uniform_(torch.empty(len(x), n, device=x.device, dtype=torch.float32), generator)
            .topk(self.subset)
            .indices
        )


@final
@dataclass(frozen=True)
class PseudoLikelihood(Conditionals):
    """Pseudo-likelihood: minus the log-probability of every site given the others, for binary and
    one-hot data.

    Choose it for discrete energies, as the sharper of the two.
    """

    def score(self, log_p: Tensor) -> Tensor:
        return -log_p[..., 0]


@final
@dataclass(frozen=True)
class RatioMatching(Conditionals):
    """Ratio matching: the squared distance of every site's conditional law from the data, for
    discrete data.

    Choose it in place of pseudo-likelihood where outliers would weigh too much: no site can cost
    more than a bounded price.
    """

    def score(self, log_p: Tensor) -> Tensor:
        p = log_p.exp()
        return ((1 - p[..., 0]).square() + p[..., 1:].square().sum(-1)) / 2

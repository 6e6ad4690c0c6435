r"""A Gaussian copula: the columns' own distributions, tied together by a Gaussian.

.. math:: z_j = \Phi^{-1}(F_j(x_j)), \qquad z \sim \mathcal N(0, R), \qquad x_j = F_j^{-1}(\Phi(z_j)),

with F the empirical distribution of each column and R the correlation of its normal scores. What is
drawn has every column's values and their shares as they are in the training rows, and of the ties
between columns those that are monotone; all others are lost. The first thing that a generative
model of tables has to beat.

Equal values share the mean of their ranks. A one-hot group of columns is one column here, whose
categories are ordered by how frequent they are.

References: Sklar (1959), Fonctions de repartition a n dimensions et leurs marges; Patki et al.
(2016), The Synthetic Data Vault, section III (copulas of tables).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def coded(x: Tensor, spans: Sequence[slice]) -> tuple[Tensor, list[Tensor | None]]:
    """One number for each span of x [n, d]: itself, or the rank of its category, the most frequent
    first; and the order of the categories.
    """
    columns, orders = [], []
    for span in spans:
        block = x[:, span]
        order = block.mean(0).argsort(descending=True) if block.shape[1] > 1 else None
        orders.append(order)
        columns.append(block[:, 0] if order is None else block[:, order].argmax(1).to(x.dtype))
    return torch.stack(columns, 1), orders


def normal_scores(column: Tensor) -> Tensor:
    """The normal quantiles of the mean ranks of a column [n], [n]."""
    _, which, counts = column.unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    middle = (ends - (counts - 1) / 2)[which]
    return torch.special.ndtri((middle - 0.5) / len(column))


@final
@dataclass(frozen=True)
class GaussianCopula:
    """Rows with the training columns' own values, correlated as their normal scores are.

    `values` [n, columns] are the sorted training columns, `root` the Cholesky factor of R; build
    one by `fit`.
    """

    values: Tensor
    root: Tensor
    spans: tuple[slice, ...]
    orders: tuple[Tensor | None, ...]

    @classmethod
    def fit(
        cls, x: Tensor, spans: Sequence[slice] | None = None, ridge: float = 1e-3
    ) -> "GaussianCopula":
        """Fit a Gaussian copula to rows: what it draws has their columns, and their monotone ties.

        x [n, d]; `spans` are the entries of each column, one entry each where None. `ridge` is
        added to the diagonal of the correlation, which is then scaled back to 1.
        """
        if x.ndim != 2 or len(x) < 2:
            raise ValueError(
                f"a copula is fitted to two rows or more, shape [n, d], got {list(x.shape)}."
            )
        spans = tuple(spans or [slice(i, i + 1) for i in range(x.shape[1])])
        columns, orders = coded(x, spans)
        z = torch.stack([normal_scores(column) for column in columns.T], 1)
        scale = z.square().mean(0).sqrt().clamp(min=1e-12)
        correlation = (z / scale).T @ (z / scale) / len(z)
        correlation.fill_diagonal_(1)
        tied = correlation / (1 + ridge)
        tied.fill_diagonal_(1)
        return cls(columns.sort(0).values, torch.linalg.cholesky(tied), spans, tuple(orders))

    def sample(self, n: int, generator: Generator) -> Tensor:
        """n rows, [n, d]."""
        z = torch.randn(n, len(self.root), generator=generator, dtype=self.root.dtype)
        u = torch.special.ndtr(z @ self.root.T)
        places = (u * len(self.values)).long().clamp(max=len(self.values) - 1)
        drawn = self.values.gather(0, places)
        blocks = zip(drawn.T, self.spans, self.orders, strict=True)
        return torch.cat([self._block(*block) for block in blocks], 1)

    def _block(self, column: Tensor, span: slice, order: Tensor | None) -> Tensor:
        if order is None:
            return column[:, None]
        return F.one_hot(order[column.long()], span.stop - span.start).to(column.dtype)

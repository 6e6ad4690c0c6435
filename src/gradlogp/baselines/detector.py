"""What a detector is: it learns from normal rows, and scores any rows of their shape, high =
anomalous.
"""

import abc
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, finite, real
from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded

Scores = Callable[[Tensor], Tensor]  # (B, *shape) -> (B,), high = anomalous
BLOCK = 1000  # rows scored at a time
WIDE = 1e15  # beyond it, or below 1 over it, squares are taken in float64


class Detector(abc.ABC):
    """fit(normal [n, *shape]) -> the scores of anything of that shape; nothing abnormal is asked
    for.

    Rows are tensors, arrays or lists of any real type. What a detector chooses it chooses by
    `held_out` [m, *shape], more normal rows; without them by every fifth of `normal`, which it then
    does not learn from.
    """

    @property
    def chooses(self) -> bool:
        return False

    @final
    def fit(
        self, normal: Numbers, held_out: Numbers | None = None, seed: int = 0
    ) -> Callable[[Numbers], Tensor]:
        known = _rows(normal, "normal", None)
        if len(known) < 2:
            raise UserError(
                f"a detector learns from two normal rows at least, got {len(known)}; pass more."
            )
        fifth = torch.arange(len(known)) % 5 == 4
        if held_out is not None:
            kept_back = _rows(held_out, "held_out", known)
        elif self.chooses and len(known) >= 10:
            known, kept_back = known[~fifth], known[fifth]
        else:
            kept_back = known
        score = self.learn(known, kept_back, seed)

        def scores(x: Numbers) -> Tensor:
            rows = _rows(x, "x", known)
            found = score(rows) if len(rows) else known.new_zeros(0)
            if bad := int((~found.isfinite()).sum()):
                raise UserError(
                    f"{bad} of {len(found)} rows lie so far out that their score is not finite in"
                    f" {known.dtype}; fit and score in float64, or rescale the columns."
                )
            return found

        return scores

    @abc.abstractmethod
    def learn(self, normal: Tensor, held_out: Tensor, seed: int) -> Scores:
        """The scores of rows that are finite and of the type and shape of `normal`."""


def _rows(x: Numbers, name: str, like: Tensor | None) -> Tensor:
    """Finite rows [n, *shape] in the type of `like`, else in float32 where that holds them;
    UserError where they are not.
    """
    given = real(x, name)
    if like is None:
        short = given.dtype.itemsize <= 2 or given.dtype == torch.float32
        rows = finite(given, name, torch.float32 if short else torch.float64)
        return rows if 1 / WIDE < rows.abs().max() < WIDE else rows.double()
    if given.shape[1:] != like.shape[1:]:
        raise ValueError(
            f"`{name}` needs rows of shape {list(like.shape[1:])} as those that were fitted, but has"
            f" {list(given.shape[1:])}; pass the same columns."
        )
    return finite(given, name, like.dtype).to(like.device) if len(given) else given.to(like)


def cross_fitted(detector: Detector, rows: Numbers, folds: int = 5, seed: int = 0) -> Tensor:
    """The scores of the very rows [n, *shape] that are learned from, [n], each by a detector that
    has not seen it.

    What finds the outliers of one unmarked table: a detector that has learned a row finds it
    normal.
    """
    known = _rows(rows, "rows", None)
    if not 2 <= folds <= len(known) // 2:
        raise UserError(
            f"cross-fitting needs 2 folds or more, of two rows each, got {folds} of {len(known)}"
            " rows; take fewer folds or more rows."
        )
    fold = torch.randperm(len(known), generator=seeded(seed, "folds")) % folds
    found = torch.zeros(len(known), dtype=torch.float64)
    for k in range(folds):
        score = detector.fit(known[fold != k], seed=seed)
        found[fold == k] = score(known[fold == k]).double().cpu()
    return found


def subsample(x: Tensor, most: int | None, seed: int) -> Tensor:
    """All of x, or `most` of it, chosen by the seed."""
    return (
        x
        if most is None or len(x) <= most
        else x[torch.randperm(len(x), generator=seeded(seed, "subsample"))[:most]]
    )

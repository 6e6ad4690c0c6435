r"""Imputers: what is unknown of an example, from what is known, without a generative network.

| imputer | an unknown entry becomes |
|---|---|
| `MeanImputer` | the training mean of that entry |
| `NearestImputer` | its mean over the k training examples nearest in what is known; k = 1 copies |
| `LinearImputer` | :math:`\mu_u + \Sigma_{uk} (\Sigma_{kk} + \lambda I)^{-1} (x_k - \mu_k)`, the conditional mean of a Gaussian |
| `IterativeImputer` | a regression on all other entries, each in turn, in rounds (MICE, missForest) |
| `MajorityImputer` | what most of its known neighbours within a window are: for binary volumes |

All are deterministic, and all keep what is known to the last digit; `gaussian_draws` draws instead
of taking the mean. `filled` is the Gaussian's for a
table with holes and outliers: what a detector is given instead of rows with marks. A mark of a rare
hole, brought to one deviation, lies as far out as an outlier does, :math:`p^{-1/2}` of a share p.

References: Little & Rubin (2019), Statistical Analysis with Missing Data, chapter 4 (means,
neighbours) and section 11.2 (the Gaussian); Troyanskaya et al. (2001), Missing Value Estimation
Methods for DNA Microarrays (nearest neighbours); van Buuren & Groothuis-Oudshoorn (2011), MICE:
Multivariate Imputation by Chained Equations; Stekhoven & Buhlmann (2012), MissForest.
"""

import abc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.baselines.detectors import robust
from gradlogp.core.random import Randomness, normal_
from gradlogp.core.spectrum import Spectrum
from gradlogp.models.nets.conv import POOL, spatial_rank

Fill = Callable[[Tensor, Tensor], Tensor]
Draw = Callable[[Tensor, Tensor, Randomness], Tensor]
Filled = Callable[[Tensor], Tensor]  # rows with NaN for what is unknown -> rows without
BLOCK = 2**24  # distances held at once: 64 MiB
CLIPPED = 3.0  # robust deviations, beyond which an entry moves no other


class Imputer(abc.ABC):
    """fit(x [n, *shape]) -> fill(x [B, *shape], known): x with the entries where `known` is False
    filled in.

    `known` is bool and broadcasts to x; what x holds where it is False is never looked at.
    """

    @abc.abstractmethod
    def fit(self, x: Tensor, seed: int = 0) -> Fill: ...


def checked(x: Tensor, known: Tensor) -> Tensor:
    """`known` in the shape of x; ValueError where it is no mask of it."""
    if known.dtype != torch.bool:
        raise ValueError(
            f"`known` is a mask of bools, True where x is known, got {known.dtype}; compare first."
        )
    return known.expand_as(x)


@final
@dataclass(frozen=True)
class MeanImputer(Imputer):
    """Fill an unknown entry with its training mean."""

    def fit(self, x: Tensor, seed: int = 0) -> Fill:
        mean = x.mean(0)
        return lambda x, known: torch.where(checked(x, known), x, mean)


@final
@dataclass(frozen=True)
class NearestImputer(Imputer):
    """Fill unknown entries by the mean of the k training examples nearest in what is known.

    k = 1 copies one of them. Distances are Euclidean: bring columns of tables to one scale first.
    """

    k: int = 5

    def fit(self, x: Tensor, seed: int = 0) -> Fill:
        flat = x.flatten(1)
        centre = flat.mean(0)  # differences far below the size of x would drown in rounding
        among, k = flat - centre, min(self.k, len(flat))

        def donors(x: Tensor, known: Tensor) -> Tensor:
            seen = torch.where(known, x - centre, 0)
            gaps = known.to(x.dtype) @ among.square().T - 2 * seen @ among.T
            return flat[gaps.topk(k, 1, largest=False).indices].mean(1)

        def fill(x: Tensor, known: Tensor) -> Tensor:
            rows, mask = x.flatten(1), checked(x, known).flatten(1)
            size = max(1, BLOCK // (len(flat) + k * flat.shape[1]))
            parts = zip(rows.split(size), mask.split(size), strict=True)
            found = torch.cat([donors(*part) for part in parts])
            return torch.where(mask, rows, found).reshape(x.shape)

        return fill


@final
@dataclass(frozen=True)
class LinearImputer(Imputer):
    """Fill unknown entries by the conditional mean of a Gaussian: the best linear guess.

    The ridge on the covariance is a `share` of the mean variance. One system is solved for each
    different mask.
    """

    share: float = 1e-3

    def fit(self, x: Tensor, seed: int = 0) -> Fill:
        flat = x.flatten(1).double()
        mean, covariance = flat.mean(0), flat.T.cov(correction=0).reshape(len(flat[0]), -1)
        ridge = self.share * covariance.diagonal().mean() * torch.eye(len(mean)).to(covariance)

        def conditional(rows: Tensor, mask: Tensor) -> Tensor:
            kk = (covariance + ridge)[mask][:, mask]
            pull = torch.linalg.solve(kk, (rows[:, mask].double() - mean[mask]).T)
            out = rows.clone()
            out[:, ~mask] = (mean[~mask] + (covariance[~mask][:, mask] @ pull).T).to(rows.dtype)
            return out

        def fill(x: Tensor, known: Tensor) -> Tensor:
            rows, masks = x.flatten(1), checked(x, known).flatten(1)
            kinds, which = masks.unique(dim=0, return_inverse=True)
            out = rows.clone()
            for i, mask in enumerate(kinds):
                out[which == i] = conditional(rows[which == i], mask)
            return out.reshape(x.shape)

        return fill


def gaussian_draws(x: Tensor, share: float = 1e-3) -> Draw:
    """(y, known, generator) -> draws of the Gaussian of the examples x [n, *shape] given what is
    known of y, where `share` of the mean variance is added to every entry.

    A free draw is moved by the linear guess of what it missed, x' + fill(y) - fill(x'): Matheron's
    rule, exact. Hoffman & Ribak (1991), Constrained Realizations of Gaussian Fields, eq. 3.
    """
    spectrum, fill = Spectrum.fit(x), LinearImputer(share).fit(x)
    stds = (spectrum.variances + share * spectrum.variances.mean()).sqrt().to(x.dtype)

    def draw(y: Tensor, known: Tensor, generator: Randomness) -> Tensor:
        noise = normal_(torch.empty_like(y.flatten(1)), generator)
        drawn = (spectrum.mean + (noise * stds) @ spectrum.directions.T).view_as(y)
        mean, guess = fill(torch.cat([y, drawn]), torch.cat([known, known])).chunk(2)
        return mean + drawn - guess

    return draw


@final
@dataclass(frozen=True)
class IterativeImputer(Imputer):
    """Fill each column by a regression on all others, in rounds: scikit-learn's MICE, or
    missForest.

    `trees` = 0 is Bayesian ridge regression, which ends near `LinearImputer`; more are that many
    extremely randomised trees, which see what is not linear. For tables: one regression a column.
    """

    rounds: int = 10
    trees: int = 0

    def fit(self, x: Tensor, seed: int = 0) -> Fill:
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer as Chained

        forest = ExtraTreesRegressor(max(1, self.trees), min_samples_leaf=2, random_state=seed)
        machine: Any = Chained(
            forest if self.trees else None, max_iter=self.rounds, random_state=seed
        )
        rows = x.flatten(1).double()
        # It learns no regression for a column without holes: a further row for each has one.
        holed = rows[torch.arange(rows.shape[1]) % len(rows)].fill_diagonal_(torch.nan)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[^a-z]*IterativeImputer. Early stopping")
            machine.fit(torch.cat([rows, holed]).numpy())

        def fill(x: Tensor, known: Tensor) -> Tensor:
            mask = checked(x, known)
            holes = torch.where(mask, x, torch.nan).flatten(1).double().numpy()
            guess = torch.from_numpy(machine.transform(holes)).to(x.dtype).reshape(x.shape)
            return torch.where(mask, x, guess)

        return fill


@final
@dataclass(frozen=True)
class MajorityImputer(Imputer):
    """Fill a voxel or pixel with what most of its known neighbours are: hard to beat on random
    holes.

    `size` is the odd side of the window. Data have two values, below and above the middle of their
    range; where votes are equal, or none is known, the training mean of that place decides.
    """

    size: int = 3

    def fit(self, x: Tensor, seed: int = 0) -> Fill:
        low, high = x.min(), x.max()
        middle, mean = (low + high) / 2, x.mean(0)
        pool = POOL[spatial_rank(x.shape[1:])](self.size, 1, self.size // 2)

        def fill(x: Tensor, known: Tensor) -> Tensor:
            mask = checked(x, known)
            votes = pool(torch.where(mask, (x - middle).sign(), 0))
            tie = votes.abs() < 1e-6
            guess = torch.where(torch.where(tie, mean - middle, votes) > 0, high, low)
            return torch.where(mask, x, guess)

        return fill


def filled(rows: Tensor) -> Filled:
    """Learned from rows [n, d] with NaN for what is unknown: such rows [B, d] with it filled in.

    The conditional mean of a Gaussian, of entries by their median and quartiles and clipped at
    three deviations, so that an outlier neither bends it nor spreads to the holes of its row.
    """
    middle, deviation = robust(torch.where(rows.isnan(), rows.nanmedian(0).values, rows))

    def clipped(x: Tensor) -> Tensor:
        return ((x - middle) / deviation).nan_to_num(0.0).clamp(-CLIPPED, CLIPPED)

    known, z = ~rows.isnan(), clipped(rows)
    fill = LinearImputer().fit(LinearImputer().fit(z)(z, known))

    def without(x: Tensor) -> Tensor:
        there = ~x.isnan()
        return (
            x
            if there.all()
            else torch.where(there, x, middle + deviation * fill(clipped(x), there))
        )

    return without

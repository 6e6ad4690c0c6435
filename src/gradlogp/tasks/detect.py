r"""Detect: how strange a trained model finds each example. High = anomalous, always; every score is
[B], or [B, levels] to combine.

| score | equation | source |
|---|---|---|
| `energy` | :math:`E(x)`; of an autoencoder :math:`\|x - g(f(x))\|^2` (NAE) | Du & Mordatch (2019); Yoon et al. (2021) |
| `gradient_norm` | :math:`\|\nabla_x \log p(x)\|` | Grathwohl et al. (2020), sec. 5.3 |
| `score_norms` | :math:`\sigma_i \|s(x, \sigma_i)\|` of clean x, one per level | Mahmood et al. (2021), MSMA, eq. 5 |
| `denoising_errors` | :math:`E_\varepsilon \|D(x + \sigma_i\varepsilon, \sigma_i) - x\|^2`, by level | Vincent (2011), eq. 11 |
| `path_energy` | :math:`-\int_0^1 s(x_r + t(x - x_r))\cdot(x - x_r)\,dt` | the gradient theorem |
| `tasks.likelihood` | :math:`-\log p(x)` by the probability-flow ODE | Song et al. (2021), eq. 39 |
| `typicality` | :math:`\lvert -\log p(x) - H \rvert`, H the mean of normal examples | Nalisnick et al. (2019), eq. 5 |

Scores by level become one by `NormMixture` and `NormNeighbours` (MSMA: how the vector of norms of
normal examples is distributed) or by `relative`, the mean over levels of each error over what is
normal there, so that no level drowns the others. What one norm of the score leaves out, where it is
large and which way it points, is in `core.score_features`.

The score of an example is its own: it depends neither on its neighbours in the batch nor on their
number or order. Noise is therefore drawn once and shared by all examples, which also takes it out
of their comparison. Sums are taken in float64, and so are scores.

A path integral needs a conservative score to be a difference of log-densities; of a score network,
which is one only nearly, it is the work done along the straight line. Nothing here looks at an
anomaly: all is fitted to normal examples.

References: Mahmood et al. (2021), Multiscale Score Matching for Out-of-Distribution Detection,
arXiv 2010.13132; Grathwohl et al. (2020), arXiv 1912.03263; Nalisnick et al. (2019), Detecting
Out-of-Distribution Inputs to Deep Generative Models Using Typicality, arXiv 1906.02994; Yoon et al.
(2021), arXiv 2105.05735; Vincent (2011); Song et al. (2021), arXiv 2011.13456.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Generator, Tensor

from gradlogp.core.arrays import double
from gradlogp.core.errors import UserError
from gradlogp.core.fields import Field, as_field, as_noisy
from gradlogp.core.inputs import check_numbers
from gradlogp.core.neighbours import nearest
from gradlogp.core.score_features import (
    FieldNeighbours as FieldNeighbours,
    standard,
)

BATCH = 1000  # examples at a time
Function = Callable[
    [Tensor, Tensor | None], Tensor
]  # (x [B, *shape], cond [B] or None) -> (B, ...)


def by_batch(function: Function, x: Tensor, cond: Tensor | None = None) -> Tensor:
    """`function` of all of x, some at a time and without a graph."""
    check_numbers(x)
    conds = [None] * max(1, -(-len(x) // BATCH)) if cond is None else cond.split(BATCH)
    with torch.no_grad():
        return torch.cat(
            [function(part, c).detach() for part, c in zip(x.split(BATCH), conds, strict=True)]
        )


def field_at(model: Any, cond: Tensor | None, sigma: float | None) -> Field:
    """The field of a model that knows no levels, or of one that does at level sigma."""
    return as_field(model, cond) if sigma is None else as_noisy(model, cond).at(sigma)


def size(x: Tensor) -> Tensor:
    """The Euclidean norm of each example, [B], in float64."""
    return _squared(x).sqrt()


def _squared(x: Tensor) -> Tensor:
    return double(x).flatten(1).square().sum(1)


def energy(model: Any, x: Tensor, sigma: float | None = None, cond: Tensor | None = None) -> Tensor:
    """E(x), or E(x, sigma), [B]: -log p up to a constant; of an autoencoder energy the error of its
    reconstruction.
    """
    return by_batch(lambda x, c: double(field_at(model, c, sigma).energy(x)), x, cond)


def gradient_norm(
    model: Any, x: Tensor, sigma: float | None = None, cond: Tensor | None = None
) -> Tensor:
    """The norm of the score, at level sigma where there are levels, [B]: an example on a mode has
    none, one on a slope has much.
    """
    return by_batch(lambda x, c: size(field_at(model, c, sigma).score(x)), x, cond)


def score_norms(
    model: Any, x: Tensor, levels: Sequence[float], cond: Tensor | None = None
) -> Tensor:
    """sigma_i |s(x, sigma_i)| of x as it is, [B, levels]: MSMA's features. N(0, v I) gives sigma
    |x| / (v + sigma^2).
    """
    return torch.stack([sigma * gradient_norm(model, x, sigma, cond) for sigma in levels], 1)


def denoising_errors(
    model: Any,
    x: Tensor,
    levels: Sequence[float],
    generator: Generator,
    draws: int = 1,
    cond: Tensor | None = None,
) -> Tensor:
    """|D(x + sigma_i eps, sigma_i) - x|^2, the mean over `draws` of noise, [B, levels]: what the
    model cannot put back.

    The noise of a level and draw is one, [*shape], for all examples. In few dimensions take more
    draws.
    """
    shape = (len(levels), draws, *x.shape[1:])
    noise = torch.randn(shape, generator=generator, device=generator.device).to(x)

    def errors(x: Tensor, cond: Tensor | None) -> Tensor:
        field = as_noisy(model, cond)
        found = [
            torch.stack([_squared(field.denoise(x + sigma * eps, sigma) - x) for eps in same])
            for sigma, same in zip(levels, noise, strict=True)
        ]
        return torch.stack([each.mean(0) for each in found], 1)

    return by_batch(errors, x, cond)


def relative(errors: Tensor, normal: Tensor) -> Tensor:
    """The mean over levels of errors [B, levels], each over its mean for normal examples [n,
    levels]: near 1 where normal.

    A level at which normal examples have next to no error counts as if theirs were 1e-12 of the
    largest.
    """
    usual = double(normal).mean(0)
    if not usual.max() > 0:
        raise UserError(
            "relative errors need normal examples with some error, but all have none; take larger"
            " noise levels, or a model that does not hand back what it is given."
        )
    return (double(errors) / usual.clamp(min=1e-12 * float(usual.max()))).mean(1)


def path_energy(
    model: Any,
    x: Tensor,
    reference: Tensor,
    sigma: float | None = None,
    nodes: int = 8,
    cond: Tensor | None = None,
) -> Tensor:
    """log p(reference) - log p(x), [B], by Gauss and Legendre's rule with `nodes` evaluations on
    the straight line between them.

    reference [*shape], say the mean of the data. Exact where the score is a polynomial of degree 2
    nodes - 1 along the line.
    """
    places, weights = np.polynomial.legendre.leggauss(nodes)

    def work(x: Tensor, cond: Tensor | None) -> Tensor:
        field = field_at(model, cond, sigma)
        way = x - reference
        total = double(x.new_zeros(len(x)))
        for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
            force = double(field.score(reference + (place + 1) / 2 * way))
            total -= weight / 2 * (force * double(way)).flatten(1).sum(1)
        return total

    return by_batch(work, x, cond)


def typicality(nats: Tensor, normal: Tensor) -> Tensor:
    """|nats - mean of normal|, [B], of -log p(x): too likely is as strange as too unlikely."""
    return (double(nats) - double(normal).mean()).abs()


@final
@dataclass
class NormMixture:
    """MSMA's density: a Gaussian mixture of full covariance on standardised features [n, levels] of
    normal examples.

    The number of components is the one of `components` that finds `held_out` features likeliest.
    `score` is -log of its density.
    """

    features: Tensor
    held_out: Tensor
    components: Sequence[int] = (1, 3, 6)
    seed: int = 0
    chosen: int = field(init=False)

    def __post_init__(self) -> None:
        from sklearn.mixture import GaussianMixture

        self.mean, self.std = standard(self.features)
        usable = [
            k for k in self.components if k * (self.features.shape[1] + 1) <= len(self.features)
        ] or [1]
        x = self._standard(self.features)
        held_out = self._standard(self.held_out)
        fits = [GaussianMixture(k, reg_covar=1e-4, random_state=self.seed).fit(x) for k in usable]
        self.mixture = max(fits, key=lambda fit: fit.score(held_out))
        self.chosen = self.mixture.n_components

    def _standard(self, features: Tensor) -> Any:
        return ((double(features) - self.mean) / self.std).cpu().numpy()

    def score(self, features: Tensor) -> Tensor:
        return torch.from_numpy(-self.mixture.score_samples(self._standard(features)))


@final
@dataclass(frozen=True)
class NormNeighbours:
    """MSMA's neighbours: the mean distance to the k nearest standardised features [n, levels] of
    normal examples.
    """

    features: Tensor
    k: int = 5

    def score(self, features: Tensor) -> Tensor:
        mean, std = standard(self.features)
        near, among = ((double(x) - mean) / std for x in (features, self.features))
        return nearest(near, among, self.k).mean(1)

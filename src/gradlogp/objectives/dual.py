r"""Dual score matching: an energy of noised data learned by both its slopes, in x and in the level.

With :math:`x = x_0 + \sigma\varepsilon` in D dimensions and :math:`U(x, \sigma) = -\log
p_\sigma(x)`,

.. math:: \sigma\,\nabla_x U = E[\varepsilon \mid x], \qquad
          \frac{\partial U}{\partial \ln\sigma} = E[D - \|\varepsilon\|^2 \mid x] ,

and one loss value per example

.. math:: \tfrac12 \| \sigma \nabla_x E - \varepsilon \|^2
          + \frac{w}{8 D} \Big( \frac{\partial E}{\partial \ln\sigma} - (D - \|\varepsilon\|^2) \Big)^2 .

The first term is denoising score matching, which leaves a constant free at every level. The second
ties the levels to each other, so one constant is left for all: :math:`\log Z`, the log of the
integral of :math:`e^{-E(x, \sigma)}` over x, is the same at every sigma. Where the noise is so
coarse that the noised data are Gaussian, p is known, and :math:`\log Z = -\log p - E` there
(`log_normaliser`). Then :math:`-\log p(x) = E(x, \sigma) + \log Z` at the finest sigma.

References: Guth, Kadkhodaie & Simoncelli (2025), Learning Normalized Image Densities via Dual Score
Matching, arXiv 2506.05310 (their t is sigma^2; their loss is ours, w = 1, times 2 / D).
"""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import NoisyField, as_noisy, column
from gradlogp.objectives.base import Loss, Objective, check_batch, mean
from gradlogp.objectives.denoising import LevelDistribution, normal
from gradlogp.objectives.matching import half_square


def slopes(noisy: NoisyField, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """sigma grad E [B, *shape] and dE / d ln sigma [B] at x and sigma [B], with their graph."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        level = sigma.detach().log().requires_grad_(True)
        energy = noisy.at(level.exp()).energy(x)
        in_x, in_level = torch.autograd.grad(energy.sum(), (x, level), create_graph=True)
    return column(sigma, x) * in_x, in_level


@final
@dataclass
class DualScoreMatching(Objective):
    """Dual score matching: an energy at every noise level by its slopes in x and in the level.

    Choose it for a log-density that compares between levels and is normalised. The model gives an
    energy that takes sigma (a `NoisyEnergy`), smooth in both. `levels` is that of sigma, which must
    reach from the finest level that is asked for to one where the noised data are Gaussian;
    `level_weight` is w, and 0 leaves denoising score matching.
    """

    levels: LevelDistribution
    level_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.level_weight < 0:
            raise ValueError(f"level_weight is a weight, 0 or more, got {self.level_weight}.")

    @property
    def by_example(self) -> bool:
        return True

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        if torch.is_inference_mode_enabled():
            raise ValueError(
                "dual score matching takes gradients of the energy, which torch.inference_mode does"
                " not remember; use torch.no_grad."
            )
        dim = x0[0].numel()
        sigma, eps = self.levels.sample(len(x0), generator, x0), normal(x0, generator)
        in_x, in_level = slopes(as_noisy(model, cond), x0 + column(sigma, x0) * eps, sigma)
        space = half_square(in_x - eps)
        level = (in_level - (dim - eps.flatten(1).square().sum(1))).square() / (8 * dim)
        info = {"space_per_dim": mean(space) / dim, "level": mean(level)}
        return Loss(space + self.level_weight * level, info)


@torch.no_grad()
def log_normaliser(
    model: Any, x0: Tensor, sigma: float, generator: Generator, cond: Tensor | None = None
) -> Tensor:
    """log of the integral of exp(-E(x, sigma)) over x, a scalar: -log p(x) is E + log Z, at every
    level where the slopes are right.

    x0 [n, *shape] are data; sigma is a level at which the noised data are Gaussian (some ten times
    their standard deviation): what they are not, KL(p || Gaussian) in nats, is the bias. The mean
    of -log p - E over noised data, with p the Gaussian of their mean and covariance.
    """
    x = x0 + sigma * normal(x0, generator)
    rows = x0.flatten(1).double()
    variances, axes = torch.linalg.eigh(rows.T.cov().reshape(rows.shape[1], -1))
    total = variances.clamp(min=0) + sigma**2
    along = (x.flatten(1).double() - rows.mean(0)) @ axes
    nats = (along.square() / total + (2 * math.pi * total).log()).sum(1) / 2
    return (nats - as_noisy(model, cond).at(sigma).energy(x)).mean()

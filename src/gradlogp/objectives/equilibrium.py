r"""Equilibrium matching: one field without time, whose zeros are the data.

On the line :math:`x_t = (1 - t)\, x_0 + t\,\varepsilon`, data at t = 0, the score of the model
learns the direction towards the data, ever shorter as they come near:

.. math:: \tfrac12 \| s_\theta(x_t) - c(t)\,(x_0 - \varepsilon) \|^2 , \qquad
          c(t) = \lambda \min\!\big(1, \tfrac{t}{1 - a}\big) .

c is constant from noise on and falls to 0 over the last share 1 - a of the way, so that data are an
equilibrium: samples are where a descent (`Descent`, with momentum) comes to rest, from noise or
from anywhere, in as many steps as it takes. The model never sees t. Its field is the mean of
:math:`c(t)(x_0 - \varepsilon)` over all lines through x, and no score of a density: descend, do not
add noise. An energy model learns it by its gradient.

References: Wang & Du (2025), Equilibrium Matching: Generative Modeling with Implicit Energy-Based
Models, arXiv 2510.02300 (there gamma = 1 - t; the truncated decay, a = .8 and lambda = 4 as
theirs).
"""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import as_field, column
from gradlogp.objectives.base import Asks, Loss, Objective, check_batch, mean, of_scores
from gradlogp.objectives.denoising import normal, strata
from gradlogp.objectives.matching import half_square, score_at


@final
@dataclass
class EquilibriumMatching(Objective):
    """Equilibrium matching: one field without time that leads to the data and vanishes there.

    For samples by plain descent with momentum. `model` gives an energy, or a score without levels.
    `constant` is a, the share of the way, from noise on, over which the target keeps its size
    (0: it falls all the way); `strength` is lambda.
    """

    constant: float = 0.8
    strength: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.constant < 1 or self.strength <= 0:
            raise ValueError(
                "expected constant in [0, 1) and strength > 0, got"
                f" {self.constant} and {self.strength}."
            )

    @property
    def by_example(self) -> bool:
        return True

    def asks(self, model: Any) -> Asks:
        return of_scores(model)

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        t, eps = strata(len(x0), generator, x0), normal(x0, generator)
        found = score_at(as_field(model, cond), torch.lerp(x0, eps, column(t, x0)))
        value = half_square(found - column(self.size(t), x0) * (x0 - eps))
        return Loss(value, {"loss_per_dim": mean(value) / x0[0].numel()})

    def size(self, t: Tensor) -> Tensor:
        """c(t), [B]."""
        return self.strength * (t / (1 - self.constant)).clamp(max=1)

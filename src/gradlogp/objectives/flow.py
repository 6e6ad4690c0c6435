r"""Flow matching and energy matching: learn the velocity of straight lines between noise and data.

On the rectified path :math:`x_t = (1 - t)\, x_0 + t\,\varepsilon`, data at t = 0, the velocity is
:math:`\varepsilon - x_0`, and one loss value per example

.. math:: \tfrac12 \| v_\theta(x_t, t) - (\varepsilon - x_0) \|^2 = \frac{1}{2 t^2} \| D_\theta - x_0 \|^2 ,
          \qquad v_\theta = (x_t - D_\theta)/t .

In scaled coordinates, :math:`x_t/(1-t) = x_0 + \sigma\varepsilon` with :math:`\sigma = t/(1-t)`:
flow matching is denoising score matching with the weight :math:`\sigma^2(1 + \sigma)^2`. Its
minimiser for independent noise is :math:`E[\varepsilon - x_0 \mid x_t]`, the velocity of the
probability flow, so a model learned by either loss serves every sampler. Logit-normal t is
`LogNormal` in sigma.

Noise may be paired with the data of its batch by optimal transport: straighter lines, fewer steps.
Then D is the mean over *pairs*, no longer the denoiser of independent noise: follow the probability
flow from N(0, I), not Langevin or the reverse SDE. Noise moves, data and labels stay; each class is
paired within itself, or a class would be sent noise that is not normal.

Energy matching learns one energy V without time. A warm-up makes :math:`-\nabla V` the velocity
towards the data at every t,

.. math:: \tfrac12 \| -\nabla V(x_t) - (x_0 - \varepsilon) \|^2 ,

and then contrastive divergence, with chains at temperature :math:`\epsilon`, makes
:math:`e^{-V/\epsilon}` the law of the data near them.

References: Lipman et al. (2022), Flow Matching, arXiv 2210.02747, eq. 9 and 20 to 23 (there t = 1
is data); Liu et al. (2022), arXiv 2209.03003, eq. 1; Esser et al. (2024), arXiv 2403.03206
(logit-normal t); Tong et al. (2023), arXiv 2302.00482, and Pooladian et al. (2023), arXiv
2304.14772 (minibatch optimal transport); Balcerak et al. (2025), Energy Matching, arXiv 2504.10612,
section 3.
"""

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import as_field, as_noisy, column
from gradlogp.core.noise import Rectified
from gradlogp.objectives.base import Asks, Loss, Objective, check_batch, mean, of_scores
from gradlogp.objectives.contrastive import ContrastiveDivergence
from gradlogp.objectives.denoising import (
    FromProcess,
    LevelDistribution,
    drop,
    normal,
    squared_error,
    strata,
)
from gradlogp.objectives.matching import half_square, score_at
from gradlogp.objectives.starts import Start, Starts


def assignment(cost: np.ndarray) -> np.ndarray:
    """For each row of a square cost, its column in the cheapest one-to-one assignment, [n].

    Exact, by shortest augmenting paths: Jonker & Volgenant (1987). About n^2 short steps: 10 ms at
    n = 64, .2 s at 512.
    """
    n = len(cost)
    row_price, column_price = np.zeros(n), np.zeros(n + 1)
    owner = np.full(n + 1, -1)  # the row that holds each column; column n is the root of the search
    for row in range(n):
        owner[n], at = row, n
        distance = np.full(n, np.inf)
        previous = np.full(n, n)
        open_ = np.ones(n + 1, dtype=bool)
        while owner[at] >= 0:
            open_[at], i = False, owner[at]
            reduced = cost[i] - row_price[i] - column_price[:n]
            nearer = open_[:n] & (reduced < distance)
            distance[nearer], previous[nearer] = reduced[nearer], at
            nearest = int(np.where(open_[:n], distance, np.inf).argmin())
            step = distance[nearest]
            row_price[owner[~open_]] += step
            column_price[~open_] -= step
            distance[open_[:n]] -= step
            at = nearest
        while at != n:
            owner[at] = owner[previous[at]]
            at = previous[at]
    return np.argsort(owner[:n])


def paired(x0: Tensor, eps: Tensor, cond: Tensor | None) -> Tensor:
    """eps in the order that makes the squared distances to x0 least, within each class."""
    flat = x0.detach().flatten(1).double()
    cost = torch.cdist(flat, eps.flatten(1).double()).square()
    if cond is not None:
        cost = cost + (cond[:, None] != cond) * (1 + 2 * len(x0) * cost.max())
    return eps[torch.from_numpy(assignment(cost.cpu().numpy())).to(eps.device)]


@final
@dataclass
class FlowMatching(Objective):
    """Flow matching on straight lines, the velocity from noise to data: for good pictures on a
    small budget.

    `levels` is that of sigma = t / (1 - t): uniform t, or LogNormal for a normal logit of t.
    `optimal_transport` pairs the noise with the data of its batch (on the CPU: a host sync for each
    step).
    """

    levels: LevelDistribution = field(default_factory=lambda: FromProcess(Rectified()))
    optimal_transport: bool = False
    drop_cond: float = 0.0

    @property
    def by_example(self) -> bool:
        return not self.optimal_transport

    def asks(self, model: Any) -> Asks:
        return of_scores(model)

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        noisy = as_noisy(model, drop(cond, self.drop_cond, generator))
        sigma = self.levels.sample(len(x0), generator, x0)
        eps = normal(x0, generator)
        if self.optimal_transport:
            eps = paired(x0, eps, cond)
        t = sigma / (1 + sigma)
        value = squared_error(noisy, x0, sigma, eps) / (2 * t**2)
        return Loss(value, {"loss_per_dim": mean(value) / x0[0].numel()})


@final
@dataclass
class EnergyMatching(Objective):
    """Energy matching: one energy without time; its slope leads from noise to data, its depth is
    their density.

    Choose it for one energy that both draws and weighs. Warm-up is without `contrast`; then a few
    percent of the steps with it, its sampler at temperature eps (for Langevin, noise_std = sqrt(2 *
    step_size * eps)), its starts `FromHalves`: exp(-V / eps) is the density. `model` gives an
    energy, or a score for the warm-up.
    """

    contrast: ContrastiveDivergence | None = None
    weight: float = 1e-3
    optimal_transport: bool = True

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        t, eps = strata(len(x0), generator, x0), normal(x0, generator)
        if self.optimal_transport:
            eps = paired(x0, eps, cond)
        error = score_at(as_field(model, cond), torch.lerp(x0, eps, column(t, x0))) - (x0 - eps)
        flow = half_square(error)
        info = {"flow_per_dim": mean(flow) / x0[0].numel()}
        if self.contrast is None:
            return Loss(flow, info)
        contrast = self.contrast(model, batch, generator)
        info |= {"contrast": contrast.info["gap"], "displacement": contrast.info["displacement"]}
        return Loss(flow + self.weight * contrast.value, info)

    def state(self) -> dict[str, Tensor]:
        return {} if self.contrast is None else self.contrast.state()

    def load(self, state: dict[str, Tensor]) -> None:
        if self.contrast is None:
            super().load(state)
        else:
            self.contrast.load(state)


@final
@dataclass(frozen=True)
class FromHalves(Starts):
    """Every other chain begins at data, the rest at N(0, I), the start of the flow."""

    def draw(self, batch: Batch, generator: Generator) -> Start:
        x = normal(batch.x, generator)
        x[::2] = batch.x[::2]
        return Start(x, batch.cond)

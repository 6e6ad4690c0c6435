r"""Recovery likelihood: an energy at each noise level, learned by recovering data from the level
above.

Of levels :math:`\sigma_1 < \dots < \sigma_L`, take neighbours :math:`\sigma < \sigma'` with the gap
:math:`g^2 = \sigma'^2 - \sigma^2`, data at both levels, :math:`x = x_0 + \sigma\varepsilon` and
:math:`y = x + g\varepsilon'`, and the law of the cleaner given the noisier,

.. math:: p_\theta(x \mid y) \propto \exp\big( -E_\theta(x, \sigma) - \|x - y\|^2 / 2 g^2 \big) .

It is learned by maximum likelihood, E(x, sigma) - E(x^-, sigma), with chains x^- that begin at y.
The tie to y leaves one mode to explore, so short chains converge where those of the marginal law do
not. Chains walk in units of the gap, :math:`u = (x - y) / g` and :math:`u = 0` first, so one step
size serves all levels: the curvature is 1 from the tie, and that of data with noise sigma is
:math:`1/\sigma^2` at most, so the sum is at most :math:`1 + g^2/\sigma^2 = (\sigma'/\sigma)^2`.
With levels 1.5 apart, a Langevin step of .1 to .4 is stable; with levels far apart nothing is
gained over plain contrastive divergence.

References: Gao et al. (2021), Learning Energy-Based Models by Diffusion Recovery Likelihood, arXiv
2012.08125, section 3 (there the process keeps the variance: ours is theirs divided by alpha);
Bengio et al. (2013), arXiv 1305.6663 (recovery from noise).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Energy, NoisyEnergy, column
from gradlogp.core.kernel import Sampler, run
from gradlogp.core.random import check_generator, normal_
from gradlogp.objectives.base import Loss, Objective, check_batch, mean
from gradlogp.objectives.contrastive import frozen


@final
@dataclass
class RecoveryLikelihood(Objective):
    """Diffusion recovery likelihood: contrastive divergence of an energy at each noise level, given
    the level above.

    model(x, sigma [B]), or model(x, sigma, cond), is the energy [B] of data with noise sigma added.
    `levels` ascend, and 0 may be the first. Choose it for images by energies: it is the stable way,
    and needs no replay buffer.
    """

    levels: Sequence[float]
    sampler: Sampler[Any, Any]
    steps: int = 30

    def __post_init__(self) -> None:
        if (
            len(self.levels) < 2
            or self.levels[0] < 0
            or any(low >= high for low, high in pairwise(self.levels))
        ):
            raise ValueError(
                "`levels` are two or more noise levels, ascending from 0 or above, got"
                f" {list(self.levels)}."
            )
        if self.steps < 1:
            raise ValueError(f"`steps` counts sampler steps, so it is 1 or more, got {self.steps}.")

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x0, cond = check_batch(batch)
        if torch.is_inference_mode_enabled():
            raise ValueError(
                "the chains of recovery likelihood follow gradients, which torch.inference_mode does"
                " not remember; use torch.no_grad."
            )
        sigma, gap = self._draw_levels(x0, generator)
        x = x0 + column(sigma, x0) * _normal(x0, generator)
        y = x + column(gap, x0) * _normal(x0, generator)
        recovery = Recovery(model, y, sigma, gap, cond)
        with frozen(model):
            u = run(
                self.sampler,
                Energy(recovery.energy),
                torch.zeros_like(y),
                self.steps,
                generator,
                check=False,
            )
        plus, minus = recovery.marginal(torch.cat([x, recovery.place(u)])).chunk(2)
        return Loss(
            plus - minus,
            {
                "energy_data": mean(plus),
                "energy_chains": mean(minus),
                "contrast": mean(minus - plus),
                "displacement": mean(u.abs()),
            },
        )

    def _draw_levels(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """sigma and the gap to the level above, [B] each."""
        levels = torch.tensor(self.levels, device=x.device, dtype=x.dtype)
        i = torch.randint(
            len(levels) - 1, (len(x),), generator=check_generator(generator), device=x.device
        )
        return levels[i], (levels[i + 1] ** 2 - levels[i] ** 2).sqrt()


@final
@dataclass(frozen=True)
class Recovery:
    """The law of x at noise `sigma` [B] given y [B, *shape] at the level above, `gap` [B] further;
    u = (x - y) / gap.

    To generate, start at the highest level and run a sampler on `Energy(recovery.energy)` from u =
    0, down level by level.
    """

    model: Any
    y: Tensor
    sigma: Tensor
    gap: Tensor
    cond: Tensor | None = None

    def place(self, u: Tensor) -> Tensor:
        return self.y + column(self.gap, u) * u

    def energy(self, u: Tensor) -> Tensor:
        return self.marginal(self.place(u)) + u.flatten(1).square().sum(1) / 2

    def marginal(self, x: Tensor) -> Tensor:
        """E(x, sigma), [n B], of n rounds of the batch."""
        rounds = len(x) // len(self.y)
        cond = None if self.cond is None else self.cond.repeat(rounds)
        return NoisyEnergy(self.model, cond).at(self.sigma.repeat(rounds)).energy(x)


def _normal(x: Tensor, generator: Generator) -> Tensor:
    return normal_(x.new_empty(x.shape), generator)

r"""Predictor-corrector: after each predictor step to level t, a few Langevin steps at that level.

.. math:: x' = x + h\, s(x, t) + \sqrt{2h}\, z, \qquad h = 2 (r t)^2 .

The predictor's error of the law is forgotten by the corrector, which knows the level's law and
nothing else. r is `snr`. Song et al. set :math:`h = 2 (r \|z\| / \|s\|)^2` by norms averaged over
the batch; here their ratio has its value at a high level, :math:`\|z\|/\|s\| = t`. A step size that
does not depend on x leaves chains independent, and is what a Metropolis test needs: with
`adjusted`, where the field has an energy at each level, a proposal is accepted with probability

.. math:: \min\Big(1, \exp\big(E(x) - E(x') + \tfrac12\|z\|^2 - \tfrac{1}{4h}\|x - x' - h\, s(x')\|^2\big)\Big),

and many corrections sample the level's law exactly, however coarse the ladder.

References: Song et al. (2021), arXiv 2011.13456, algorithms 2, 4 and 5 (their VP variant is this
one, in scaled coordinates); Roberts & Tweedie (1996), Exponential Convergence of Langevin
Distributions (the adjustment).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field, NoisyField
from gradlogp.core.random import Randomness, normal_
from gradlogp.samplers.metropolis import check_digits, choose, decide
from gradlogp.samplers.reverse import DDIM, Ancestral, ReverseSDE, ReverseState
from gradlogp.samplers.solvers import DPMSolver, Heun, ProbabilityFlow, UniPC

Predictor = DDIM | Ancestral | ReverseSDE | DPMSolver | UniPC | Heun | ProbabilityFlow


class CorrectorInfo(NamedTuple):
    """The level that x now stands at; the predictor's denoised; the mean acceptance of the
    corrections [B], None if unadjusted.
    """

    sigma: float
    denoised: Tensor
    accept: Tensor | None


@final
@dataclass(frozen=True)
class PredictorCorrector:
    """Any predictor, then Langevin steps at the new level; Metropolis-adjusted where the field has
    an energy.

    Song et al.'s sampler with predictor=ReverseSDE(method='reverse_diffusion'). The more
    corrections, the less the ladder matters.
    """

    predictor: Predictor = ReverseSDE()  # noqa: RUF009 (frozen)
    corrections: int = 1
    snr: float = 0.16
    adjusted: bool = False

    deterministic = False

    def __post_init__(self) -> None:
        if self.corrections < 1 or self.snr <= 0:
            raise ValueError(
                f"a corrector needs corrections >= 1 and snr > 0, got {self.corrections} and"
                f" {self.snr}; without corrections take the predictor alone."
            )

    @property
    def kind(self) -> str:
        return self.predictor.kind

    @property
    def ladder(self) -> list[float]:
        return self.predictor.ladder

    @property
    def steps(self) -> int:
        return self.predictor.steps

    @property
    def evaluations(self) -> int:
        """Evaluations of the field in a whole run."""
        return self.predictor.evaluations + (self.steps - self.predictor.denoise) * (
            self.corrections + self.adjusted
        )

    def init(self, field: NoisyField, x: Tensor) -> ReverseState:
        if self.adjusted and not field.at(self.ladder[0]).has_energy:
            raise ValueError(
                f"adjusted=True needs an energy at each level, but {type(field).__name__} has"
                " scores only; take adjusted=False."
            )
        return self.predictor.init(field, x)

    def step(
        self, field: NoisyField, state: ReverseState, generator: Randomness
    ) -> tuple[ReverseState, CorrectorInfo]:
        state, (sigma, denoised) = self.predictor.step(field, state, generator)
        if sigma == 0:
            return state, CorrectorInfo(sigma, denoised, None)
        level, h = field.at(sigma), 2 * (self.snr * sigma) ** 2
        if self.adjusted:
            x, accept = adjusted(level, state.x, state.noise, generator, h, self.corrections)
            return state._replace(x=x), CorrectorInfo(sigma, denoised, accept)
        for _ in range(self.corrections):
            state.x.add_(level.score(state.x), alpha=h).add_(
                normal_(state.noise, generator), alpha=math.sqrt(2 * h)
            )
        return state, CorrectorInfo(sigma, denoised, None)


def adjusted(
    field: Field, x: Tensor, noise: Tensor, generator: Randomness, h: float, steps: int
) -> tuple[Tensor, Tensor]:
    """x after `steps` Metropolis-adjusted Langevin steps of size h, and their mean acceptance [B]."""
    energy, score = field.energy_and_score(x)
    if energy.device.type == "cpu":  # where looking costs no host sync
        check_digits(energy, h * score.flatten(1).square().sum(1))
    accepted = torch.zeros_like(energy)
    for _ in range(steps):
        z = normal_(noise, generator)
        new = (x + h * score).add_(z, alpha=math.sqrt(2 * h))
        new_energy, new_score = field.energy_and_score(new)
        there = z.flatten(1).square().sum(1) / 2
        back = (x - new - h * new_score).flatten(1).square().sum(1) / (4 * h)
        accept, keep = decide(energy - new_energy + there - back, new_energy, generator)
        x = choose(keep, new, x)
        score = choose(keep, new_score, score)
        energy = choose(keep, new_energy, energy)
        accepted += accept / steps
    return x, accepted

r"""Samplers that carry what was seen of the picture: they adjust a reverse sampler's step, so they
take it and the observation.

**Replacement and RePaint** overwrite the known part with a fresh :math:`y + \sigma z` before each
evaluation. The free part then follows a known part that had not followed it: the law is biased.
RePaint goes back up `jump` levels by noise and down again, `resamples` times, which heals the bias
slowly. On N(0, [[1, .8], [.8, 1]]) with 1.5 seen, where the mean is 1.2 and the variance .36,
replacement has .749 and .490, RePaint 1.100 and .375 (5 times), 1.152 and .358 (10 times). A way
that begins late, at draws given what is known and the noise of its first level, has less of it:
replacement from level .5 has 1.160 and .387. All by `tests/physics/test_restore.py`. Masked
Langevin (`fields.MaskedField`) is exact.

**DPS** subtracts after each step :math:`\zeta \nabla_{x_t}\|y - A D(x_t)\|`, the norm not squared,
so that zeta is a length.

References: Lugmayr et al. (2022), RePaint, arXiv 2201.09865, algorithm 1; Song et al. (2021), arXiv
2011.13456, app. I.2 (replacement); Chung et al. (2023), Diffusion Posterior Sampling, arXiv
2209.14687, algorithm 1 and app. D.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField, leaf, recording
from gradlogp.core.random import Randomness, normal_
from gradlogp.samplers.reverse import DDIM, Ancestral, ReverseInfo, ReverseSDE, ReverseState
from gradlogp.samplers.solvers import DPMSolver, UniPC


@final
@dataclass(frozen=True)
class RePaint:
    """Inpainting by replacement (resamples = 1) and RePaint: works with any unconditional field,
    and is biased.

    free: bool, True where x is to be found, broadcastable to x; y [B, *shape] or broadcastable,
    read where `free` is False.
    """

    predictor: DDIM | Ancestral | ReverseSDE
    y: Tensor
    free: Tensor
    resamples: int = 10
    jump: int = 10

    kind = "generator"
    deterministic = False

    def __post_init__(self) -> None:
        if (
            not isinstance(self.predictor, DDIM | Ancestral | ReverseSDE)
            or self.resamples < 1
            or self.jump < 1
        ):
            raise ValueError(
                "RePaint needs a predictor without memory, resamples >= 1 and jump >= 1, got "
                f"{type(self.predictor).__name__}, {self.resamples} and {self.jump}."
            )

    @cached_property
    def moves(self) -> list[tuple[int, float]]:
        """(level index to step from, standard deviation of the noise that climbs there) for each
        step.
        """
        ladder, found = self.ladder, []
        for first in range(0, self.predictor.steps, self.jump):
            last = min(first + self.jump, self.predictor.steps)
            climb = (ladder[first] ** 2 - ladder[last] ** 2) ** 0.5
            for k in range(self.resamples):
                found += [(i, climb if i == first and k > 0 else 0.0) for i in range(first, last)]
        return found

    @property
    def ladder(self) -> list[float]:
        return self.predictor.ladder

    @property
    def steps(self) -> int:
        return len(self.moves)

    @property
    def evaluations(self) -> int:
        """Evaluations of the field in a whole run."""
        return self.steps

    def init(self, field: NoisyField, x: Tensor) -> ReverseState:
        return self.predictor.init(field, x)

    def step(
        self, field: NoisyField, state: ReverseState, generator: Randomness
    ) -> tuple[ReverseState, ReverseInfo]:
        x, noise, taken, _ = state
        i, climb = self.moves[taken]
        sigma = self.ladder[i]
        if climb > 0:
            x.add_(normal_(noise, generator), alpha=climb)
        x.copy_(torch.where(self.free, x, normal_(noise, generator).mul_(sigma).add_(self.y)))
        moved, info = self.predictor.step(field, ReverseState(x, noise, i), generator)
        if info.sigma == 0:
            moved.x.copy_(torch.where(self.free, moved.x, self.y))
        return moved._replace(taken=taken + 1), info


@final
@dataclass(frozen=True)
class DPS:
    """Diffusion posterior sampling: any differentiable measurement, by the gradient of the
    residual's norm after each step.

    operator: (B, *shape) -> (B, ...), differentiable; y its observed value; zeta near .3 to 1 for
    1000 levels of a VP process with data in [-1, 1]: it is a length per step, so fewer levels want
    a larger one. Good for pictures; not a posterior.
    """

    predictor: DDIM | Ancestral | ReverseSDE | DPMSolver | UniPC
    operator: Callable[[Tensor], Tensor]
    y: Tensor
    zeta: float = 1.0

    kind = "generator"

    def __post_init__(self) -> None:
        if not isinstance(self.predictor, DDIM | Ancestral | ReverseSDE | DPMSolver | UniPC):
            raise ValueError(
                "DPS needs a predictor of one evaluation a step, got"
                f" {type(self.predictor).__name__}; take DDIM."
            )

    @property
    def deterministic(self) -> bool:
        return self.predictor.deterministic

    @property
    def ladder(self) -> list[float]:
        return self.predictor.ladder

    @property
    def steps(self) -> int:
        return self.predictor.steps

    @property
    def evaluations(self) -> int:
        """Evaluations of the field in a whole run, each with its gradient."""
        return self.steps

    @cached_property
    def lengths(self) -> list[float]:
        """zeta in scaled coordinates: the published step is one of y = alpha x, whose gradient is 1
        / alpha that of x.
        """
        alphas = [*self.predictor.process.alpha_at(self.predictor.noisy).tolist(), 1.0]
        return [self.zeta / (now * after) for now, after in itertools.pairwise(alphas)]

    def init(self, field: NoisyField, x: Tensor) -> ReverseState:
        return self.predictor.init(field, x)

    def step(
        self, field: NoisyField, state: ReverseState, generator: Randomness
    ) -> tuple[ReverseState, ReverseInfo]:
        with recording():
            x = leaf(state.x.clone())
            denoised = self.predictor.denoised(field, x, self.ladder[state.taken])
            residual = (self.y - self.operator(denoised)).flatten(1).norm(dim=1)
            (gradient,) = torch.autograd.grad(residual.sum(), x)
        after, info = self.predictor.advance(state, denoised.detach(), generator)
        after.x.sub_(gradient, alpha=self.lengths[state.taken])
        return after, info

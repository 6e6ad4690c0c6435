r"""Posterior chains of an energy beside a Gaussian, preconditioned by the Gaussian's own posterior.

An energy trained by short chains has neither a temperature nor a shape at large scales. The
Gaussian of the pixels, :math:`\mathcal N(\mu, C)`, has both, and its share g of the prior's energy
leaves the energy the rest. Given :math:`y = x_0 + \sigma\varepsilon` the chains walk on

.. math:: U(x) = w E(x) + \tfrac g2 (x - \mu)^T C^{-1} (x - \mu) + \|x - y\|^2 / 2\sigma^2 ,

of which all but the first term is Gaussian, with the covariance :math:`P = (g C^{-1} +
I/\sigma^2)^{-1}` about Wiener's estimate :math:`r = \mu + P (y - \mu) / \sigma^2`. Preconditioned
by P, stiff and slack directions take steps alike:

.. math:: x \leftarrow x - h\,(x - r) - h\,w\,P\,\nabla E(x) + \sqrt{2 h T}\, P^{1/2} \xi .

Reference: Roberts & Stramer (2002), Langevin Diffusions and Metropolis-Hastings Algorithms (the
preconditioned step).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.core.fields import Field
from gradlogp.core.inputs import check_interval
from gradlogp.core.random import Randomness, normal_
from gradlogp.core.spectrum import Spectrum
from gradlogp.samplers.langevin import LangevinState


class Moved(NamedTuple):
    """The score of the energy that moved the chain, [B, *shape]."""

    score: Tensor


@final
@dataclass(frozen=True)
class GaussianPosterior:
    """What the Gaussian knows of x0 given y: its mean r(y) for each row, the covariance P [D, D],
    and a root of it.
    """

    about: Tensor
    gain: Tensor  # P / sigma^2
    covariance: Tensor
    root: Tensor

    @classmethod
    def of(cls, prior: Spectrum, sigma: float, share: float = 1.0) -> "GaussianPosterior":
        """The posterior at noise sigma under the prior's energy times `share`, in the prior's
        units.
        """
        variances = prior.variances * sigma**2 / (prior.variances + share * sigma**2)
        root = (prior.directions * variances.sqrt()).flip(1)  # noise from the smallest on
        covariance = root @ root.T
        return cls(
            prior.mean.float(), (covariance / sigma**2).float(), covariance.float(), root.float()
        )

    def mean(self, y: Tensor) -> Tensor:
        """Wiener's estimate for y [B, *shape]."""
        return (self.about + (y.flatten(1) - self.about) @ self.gain).reshape(y.shape)


@final
@dataclass(frozen=True)
class PosteriorLangevin:
    """The step above for the rows of `centre` = r(y); the field is the energy alone, scaled.
    `clamp` keeps x in an interval.

    P is a full covariance and the Gaussian's pull is exact, where `samplers.PreconditionedLangevin`
    has a diagonal and one field. Like `DPS` and `RePaint` it is made for the observations of one
    batch, a centre for each row, so it has no settings to choose it by in `SAMPLERS`.
    """

    centre: Tensor
    gaussian: GaussianPosterior
    step_size: float = 0.3
    temperature: float = 1.0
    clamp: tuple[float, float] | None = None

    kind = "generator"

    def __post_init__(self) -> None:
        check_interval(self.clamp, "clamp")

    def init(self, field: Field, x: Tensor) -> LangevinState:
        return LangevinState(x.clone(), torch.empty_like(x))

    def step(
        self, field: Field, chain: LangevinState, generator: Randomness
    ) -> tuple[LangevinState, Moved]:
        score = field.score(chain.x)
        noise = normal_(chain.noise, generator)
        drift = score.flatten(1) @ self.gaussian.covariance
        tau = math.sqrt(2 * self.step_size * self.temperature)
        x = chain.x.lerp_(self.centre, self.step_size).add_(
            drift.view_as(score), alpha=self.step_size
        )
        x.add_((noise.flatten(1) @ self.gaussian.root.T).view_as(noise), alpha=tau)
        if self.clamp is not None:
            x.clamp_(*self.clamp)
        return chain, Moved(score)

r"""Guidance wraps a field: what a noisy field is asked for, changed at every level; no sampler
knows of it.

.. math:: s(x \mid y) = s(x) + w\,\nabla_x \log p(y \mid x, \sigma)
          \quad\Longleftrightarrow\quad D(x \mid y) = D(x) + w\,\sigma^2\,\nabla_x \log p(y \mid x,
          \sigma).

* `EnergyGuided` takes any energy of (x, sigma) for -log p(y | x, sigma); `class_energy` makes one
  of a classifier, or of a joint energy model's logits. w = 1 is Bayes' rule.
* `Guided` is classifier-free: :math:`(1 + w) D_c - w D_u`, w = 0 off, within an interval of levels,
  its contrast rescaled on demand. With a worse model of the same in the place of :math:`D_u` it is
  autoguidance.
* `Known` puts what is known in its place in the denoised: the replacement method with one noise for
the whole walk. * `PiGDM` conditions on linear measurements y = A x0 + sigma_y n with :math:`p(x_0
\mid x) \approx \mathcal N(D, r^2 I)`:

.. math:: \nabla_x \log p(y \mid x) = J^\top A^\top (r^2 A A^\top + \sigma_y^2 I)^{-1} (y - A D), \qquad J = \partial D/\partial x .

References: Dhariwal & Nichol (2021), arXiv 2105.05233, algorithm 1 (classifier); Ho & Salimans
(2022), arXiv 2207.12598, eq. 6; Kynkaanniemi et al. (2024), arXiv 2404.07724 (interval); Lin et al.
(2023), arXiv 2305.08891, eq. 15 and 16 (rescale); Karras et al. (2024), arXiv 2406.02070
(autoguidance); Song et al. (2023), Pseudoinverse-guided diffusion models, ICLR, eq. 7.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gradlogp.core.fields import (
    Energy,
    Field,
    Level,
    NoisyField,
    Scaled,
    Sum,
    column,
    expand_level,
    leaf,
    recording,
)

LevelEnergy = Callable[[Tensor, Tensor], Tensor]  # (x [B, *shape], sigma [B]) -> [B]


def levels(x: Tensor, sigma: Level) -> Tensor:
    """One level per example, [B]."""
    return sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma)


def class_energy(logits: Callable[[Tensor, Tensor], Tensor], label: Tensor) -> LevelEnergy:
    """-log p(label | x, sigma) of a classifier (x, sigma [B]) -> [B, classes]; of a joint energy
    model with logits -E(x, class).
    """
    return lambda x, sigma: -logits(x, sigma).log_softmax(1).gather(1, label[:, None])[:, 0]


@final
@dataclass(frozen=True)
class EnergyGuided(NoisyField):
    """Guidance by an energy of (x, sigma), such as -log p(y | x, sigma) of a classifier: `weight` 1
    is Bayes' rule, more sharpens.

    The classifier must know the noised x at every level; one trained on clean data alone misleads.
    """

    field: NoisyField
    energy: LevelEnergy
    weight: float = 1.0

    @property
    def consistent(self) -> bool:
        """By Bayes' rule, and without guidance."""
        return self.weight in (0, 1) and self.field.consistent

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        pull = self._force(sigma).score(x)
        return self.field.denoise(x, sigma) + self.weight * expand_level(sigma, x) ** 2 * pull

    def at(self, sigma: Level) -> Field:
        return Sum((self.field.at(sigma), Scaled(self._force(sigma), self.weight)))

    def _force(self, sigma: Level) -> Energy:
        return Energy(lambda x: self.energy(x, levels(x, sigma)))


@final
@dataclass(frozen=True)
class Guided(NoisyField):
    r"""Classifier-free guidance, :math:`(1 + w)\, s(x \mid c) - w\, s(x)`: w = 0 is off, and only
    that is the conditional law.

    w > 0 sharpens it towards what sets the class apart, at the price of variety, and takes two
    evaluations for each score. marginal: the unconditional field, or a worse one (autoguidance);
    interval: guide at levels within (low, high) alone; rescale: phi in [0, 1], how far the guided
    denoised is brought back to the conditional one's standard deviation.
    """

    conditional: NoisyField
    marginal: NoisyField
    weight: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rescale <= 1:
            raise ValueError(
                f"rescale is a share, from 0 (off) to 1, got {self.rescale}; .7 is the published"
                " choice."
            )

    @property
    def consistent(self) -> bool:
        return self.weight == 0 and self.conditional.consistent

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        conditional = self.conditional.denoise(x, sigma)
        weight = self._weight(x, sigma)
        if weight is None:
            return conditional
        marginal = self.marginal.denoise(x, sigma)
        guided = marginal.lerp(conditional, 1 + weight)
        if self.rescale > 0:
            shrink = conditional.flatten(1).std(1) / guided.flatten(1).std(1)
            guided = guided * column(torch.lerp(torch.ones_like(shrink), shrink, self.rescale), x)
        return guided

    def _weight(self, x: Tensor, sigma: Level) -> float | Tensor | None:
        """w, or one per example; None where it is off for all, which saves the marginal evaluation."""
        if self.interval is None:
            return self.weight or None
        low, high = self.interval
        if isinstance(sigma, Tensor):
            return column(
                torch.where((sigma >= low) & (sigma <= high), self.weight, 0.0).to(x.dtype), x
            )
        return self.weight or None if low <= sigma <= high else None


@final
@dataclass(frozen=True)
class Known(NoisyField):
    """The denoised with what is known of x0 in its place: replacement for any reverse sampler, at
    no cost, and biased.

    The known part then comes down as y + sigma z, with a z that lasts: least biased with samplers
    that draw noise. free: bool, True where x0 is unknown; y is read where `free` is False; both
    broadcast to x.
    """

    field: NoisyField
    y: Tensor
    free: Tensor

    @property
    def consistent(self) -> bool:
        return False

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return torch.where(self.free, self.field.denoise(x, sigma), self.y)


@final
@dataclass(frozen=True)
class PiGDM(NoisyField):
    r"""Conditioning on y = A x0 + sigma_y n, A linear: exact for data N(m, `variance` I), an
    approximation for all other data.

    operator: (B, *shape) -> (B, ...), linear and differentiable (its adjoint is a vector-Jacobian
    product); y [B, ...]; :math:`r^2 = v\sigma^2/(v + \sigma^2)` with v = `variance` of the data.
    The system in A A^T is solved by `iterations` of conjugate gradients, as many as A A^T has
    distinct eigenvalues: 1 for masks, averages of blocks and orthonormal rows.
    """

    field: NoisyField
    operator: Callable[[Tensor], Tensor]
    y: Tensor
    sigma_y: float = 0.0
    variance: float = 1.0
    iterations: int = 10

    @property
    def consistent(self) -> bool:
        return False

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        level = expand_level(sigma, x) ** 2
        r2 = self.variance * level / (self.variance + level)
        with recording():
            x = leaf(x)
            denoised = self.field.denoise(x, sigma)
            seen = self.operator(denoised)
            with torch.no_grad():
                u = self._solve(self.y - seen, denoised, r2)
            (pull,) = torch.autograd.grad(seen, x, u)
        return denoised.detach() + level * pull

    def _gram(self, u: Tensor, like: Tensor, r2: Tensor | float) -> Tensor:
        """(r^2 A A^T + sigma_y^2 I) u."""
        with recording():
            zero = leaf(torch.zeros_like(like))
            (adjoint,) = torch.autograd.grad(self.operator(zero), zero, u)
        return self.operator(r2 * adjoint) + self.sigma_y**2 * u

    def _solve(self, b: Tensor, like: Tensor, r2: Tensor | float) -> Tensor:
        """Conjugate gradients, one system for each example."""

        def dot(a: Tensor, c: Tensor) -> Tensor:
            return (a * c).flatten(1).sum(1)

        u = torch.zeros_like(b)
        r = b.clone()
        p = b.clone()
        tiny, size = torch.finfo(b.dtype).tiny, dot(r, r)
        for _ in range(self.iterations):
            q = self._gram(p, like, r2)
            step = size / dot(p, q).clamp(min=tiny)
            u, r = u + column(step, b) * p, r - column(step, b) * q
            new = dot(r, r)
            p, size = r + column(new / size.clamp(min=tiny), b) * p, new
        return u

r"""Score matching without noise: fit :math:`s_\theta` to the score of the data, one loss value per
example.

.. math:: \text{explicit:}\quad & \tfrac12 \|s_\theta(x) - s(x)\|^2 \\
          \text{implicit:}\quad & \tfrac12 \|s_\theta(x)\|^2 + \nabla\cdot s_\theta(x) \\
          \text{sliced:}\quad   & \tfrac12 (v^\top s_\theta)^2 + v^\top \nabla (v^\top s_\theta), \qquad E[v v^\top] = I

The explicit loss needs the answer. Integration by parts turns it into the implicit one, which needs
the data only and is lower by the constant :math:`\tfrac12 E\|s\|^2`. The sliced one replaces the
trace, which costs a backward pass per dimension, by directions v; its variance-reduced form keeps
the first term exact, :math:`\tfrac12\|s_\theta\|^2`. Finite differences do away with the second
derivative, at an error of order :math:`\epsilon^2`: with :math:`E_\pm = E(x \pm \epsilon v)` and
:math:`s_\pm` likewise,

.. math:: \text{of an energy:}\quad & \frac{2E - E_+ - E_-}{\epsilon^2} + \frac{(E_+ - E_-)^2}{8\epsilon^2} \\
          \text{of a score:}\quad   & \frac{v^\top (s_+ - s_-)}{2\epsilon} + \tfrac18 \|s_+ + s_-\|^2 .

Directions are scaled so that :math:`E[v v^\top] = I`: those on the sphere have length :math:`\sqrt
D`, not 1. All of these assume a density that is smooth and falls to 0; data on a thin manifold has
none, and needs noise first: denoising score matching.

References: Hyvarinen (2005), Estimation of Non-Normalized Statistical Models by Score Matching, eq.
2 (explicit) and 4 (implicit); Song et al. (2019), Sliced Score Matching, arXiv 1905.07088, eq. 7
and 8; Pang et al. (2020), Efficient Learning of Generative Models via Finite-Difference Score
Matching, arXiv 2007.03317, section 3 and 4.
"""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.calculus import draw_probes, products, with_divergence
from gradlogp.core.fields import Field, as_field, check_score, recorded, recording
from gradlogp.objectives.base import Asks, Loss, Objective, check_batch, mean, of_scores

Directions = Literal["rademacher", "gaussian", "sphere"]


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each example, [B]: over every dimension but the batch."""
    return (a * b).flatten(1).sum(1)


def half_square(a: Tensor) -> Tensor:
    return dot(a, a) / 2


def score_at(field: Field, x: Tensor) -> Tensor:
    """The score at x, of the shape of x; ValueError where it would broadcast."""
    return check_score(field.score(x), x)


def directions(x: Tensor, count: int, generator: Generator, distribution: Directions) -> Tensor:
    """`count` directions v for each example, [count, B, *shape], with E[v v^T] = I."""
    if distribution != "sphere":
        return draw_probes(x, count, generator, distribution)
    v = draw_probes(x, count, generator, "gaussian").flatten(2)
    return (v / v.norm(dim=2, keepdim=True) * v.shape[2] ** 0.5).reshape(count, *x.shape)


def check_curvature(trace: Tensor, score: Tensor) -> None:
    """A piecewise linear energy (of a ReLU network) has no second derivative to learn from. Looked
    at on the CPU only.
    """
    if trace.device.type == "cpu" and not trace.any() and score.any():
        raise ValueError(
            "the score has slope 0 at every example, as that of a ReLU energy has, so there is"
            " nothing to match; use a smooth activation (SiLU, softplus), or a loss without second"
            " derivatives (denoising score matching)."
        )


@final
@dataclass
class ExplicitScoreMatching(Objective):
    """Explicit score matching: fit the score to a known one, `target`; for laws in closed form, and
    as a yardstick.
    """

    target: Field

    @property
    def by_example(self) -> bool:
        return True

    def asks(self, model: Any) -> Asks:
        return of_scores(model)

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        error = score_at(as_field(model, cond), x) - score_at(self.target, x).detach()
        return Loss(half_square(error), {"error_per_dim": error.detach().square().mean()})


@final
@dataclass
class ImplicitScoreMatching(Objective):
    """Implicit score matching (Hyvarinen): exact, a backward pass per dimension; for up to tens of
    dimensions.
    """

    @property
    def by_example(self) -> bool:
        return True

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        with recording():
            score, trace = with_divergence(as_field(model, cond).score, x)
        check_curvature(trace, score)
        return Loss(
            half_square(score) + trace,
            {"divergence": mean(trace), "score_norm2": mean(dot(score, score))},
        )


@dataclass
class _Sliced(Objective, abc.ABC):
    """What the sliced losses share: `projections` directions for each example, drawn from
    `distribution`.
    """

    projections: int = 1
    distribution: Directions = "rademacher"

    def __post_init__(self) -> None:
        if self.projections < 1 or self.distribution not in ("rademacher", "gaussian", "sphere"):
            raise ValueError(
                "expected projections >= 1 and a distribution 'rademacher', 'gaussian' or 'sphere', got "
                f"{self.projections} and {self.distribution!r}."
            )

    @property
    def by_example(self) -> bool:
        return True

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        with recording():
            x = recorded(x)
            vectors = directions(x, self.projections, generator, self.distribution)
            norms, traces = zip(*self.parts(as_field(model, cond), x, vectors), strict=True)
        norm = torch.stack(norms).mean(0)
        trace = torch.stack(traces).mean(0)
        return Loss(norm + trace, {"divergence": mean(trace), "score_norm2": 2 * mean(norm)})

    @abc.abstractmethod
    def parts(self, field: Field, x: Tensor, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each direction, what stands for |s|^2 / 2 and for the divergence, [B] each."""


@final
@dataclass
class SlicedScoreMatching(_Sliced):
    """Sliced score matching: the trace along random directions, whatever the dimension; for clean
    densities.

    One more backward pass for each direction. `variance_reduced` keeps |s|^2 / 2 exact; without it
    both terms are sliced.
    """

    variance_reduced: bool = True

    def parts(self, field: Field, x: Tensor, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        score, rows = products(field.score, x, vectors)
        check_curvature(torch.stack(rows), score)
        for v, row in zip(vectors, rows, strict=True):
            yield (
                (half_square(score) if self.variance_reduced else dot(v, score).square() / 2),
                dot(v, row),
            )


@final
@dataclass
class FiniteDifferenceScoreMatching(_Sliced):
    """Finite-difference sliced score matching: for energies whose second derivatives are dear;
    error epsilon^2.

    Forward passes only for an energy, one backward pass for a score. In float32 take epsilon near
    .1 on data of unit scale: the difference of energies loses digits as 1 / epsilon^2.
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon <= 0:
            raise ValueError(
                f"epsilon is the length of a finite step, so it is positive, got {self.epsilon}."
            )

    def asks(self, model: Any) -> Asks:
        return "once"

    def parts(self, field: Field, x: Tensor, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return (
            self._of_energy(field, x, vectors)
            if field.has_energy
            else self._of_score(field, x, vectors)
        )

    def _of_energy(
        self, field: Field, x: Tensor, vectors: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        h, here = self.epsilon, field.energy(x)
        for v in vectors:
            plus, minus = field.energy(x + h * v), field.energy(x - h * v)
            yield (plus - minus).square() / (8 * h**2), (2 * here - plus - minus) / h**2

    def _of_score(
        self, field: Field, x: Tensor, vectors: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        h = self.epsilon
        for v in vectors:
            plus = score_at(field, x + h * v)
            minus = score_at(field, x - h * v)
            yield half_square((plus + minus) / 2), dot(v, plus - minus) / (2 * h)

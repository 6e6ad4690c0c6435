r"""Noise-contrastive estimation: tell data from noise by the energies alone, and no chain is ever
run.

With :math:`\nu` draws y of a noise law :math:`p_n` for each example x, the classifier's logit is
the log-ratio :math:`G(u) = -E(u) - \log p_n(u) - \log\nu`, and

.. math:: \mathrm{NCE}: \quad \log(1 + e^{-G(x)}) + \sum_{j=1}^{\nu} \log(1 + e^{G(y_j)}) .

Its minimiser is the *normalised* law: a constant in E, such as the last bias of a network, learns
log Z. The noise must reach where the data are; a Gaussian fitted to them is the first choice, and
in many dimensions too easy to tell from data to teach anything.

*Conditional* NCE makes its noise from the data, :math:`y = x + \epsilon z`, so that both the
noise's density and Z cancel:

.. math:: \mathrm{CNCE}: \quad \frac2\kappa \sum_{j=1}^{\kappa} \log\big(1 + e^{E(x) - E(y_j)}\big)
          \;\to\; 2 \log 2 + \epsilon^2 \left( \tfrac12 \|s\|^2 + \nabla\cdot s \right) / 2 \quad
          (\epsilon \to 0),

which is implicit score matching in the limit.

References: Gutmann & Hyvarinen (2012), Noise-Contrastive Estimation of Unnormalized Statistical
Models, section 2; Ceylan & Gutmann (2018), Conditional Noise-Contrastive Estimation of Unnormalised
Models, arXiv 1806.03664 (the loss, and its limit).
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, Self, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import as_field, check_energy
from gradlogp.core.random import normal_
from gradlogp.objectives.base import Loss, Objective, check_batch, mean


class NoiseDistribution(Protocol):
    """A normalised law that can be drawn from: energy(x) = -log p(x) [n] in nats, sample(n,
    generator) [n, *shape].
    """

    def energy(self, x: Tensor) -> Tensor: ...

    def sample(self, n: int, generator: Generator) -> Tensor: ...


@final
@dataclass(frozen=True)
class GaussianNoise:
    """A Gaussian on data of any shape: `mean` [*shape] and `factor` [D, D], a lower factor of the
    covariance.
    """

    mean: Tensor
    factor: Tensor

    @classmethod
    def fit(cls, x: Tensor, widen: float = 1.0) -> Self:
        """Mean and covariance of x [n, *shape], n > D; `widen` scales the standard deviations."""
        flat = x.flatten(1)
        if len(flat) <= flat.shape[1]:
            raise ValueError(
                f"a covariance of {flat.shape[1]} entries needs more examples than that, got"
                f" {len(flat)}; give more examples, or a noise law of your own."
            )
        factor, failed = torch.linalg.cholesky_ex(flat.T.cov().reshape(flat.shape[1], -1))
        if failed:
            raise ValueError(
                "the data have an entry that never varies or that others decide, so no Gaussian has"
                " their covariance; add a little noise to them."
            )
        return cls(x.mean(0), widen * factor)

    def energy(self, x: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(
            self.factor, (x - self.mean).flatten(1).T.to(self.factor), upper=False
        )
        return (
            z.square().sum(0) / 2
            + self.factor.diagonal().log().sum()
            + len(self.factor) / 2 * math.log(2 * math.pi)
        )

    def sample(self, n: int, generator: Generator) -> Tensor:
        z = normal_(self.factor.new_empty(n, len(self.factor)), generator)
        return self.mean + (z @ self.factor.T).reshape(n, *self.mean.shape)


@final
@dataclass
class NoiseContrastive(Objective):
    """Noise-contrastive estimation: tell data from `ratio` draws of a noise law each; learns log Z
    as well.

    Choose it in few dimensions, where a noise law near the data is at hand. Needs an energy, with a
    free constant.
    """

    noise: NoiseDistribution
    ratio: int = 1

    def __post_init__(self) -> None:
        check_count(ratio=self.ratio)

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        y = self.noise.sample(self.ratio * len(x), generator).to(x)
        if y.shape[1:] != x.shape[1:]:
            raise ValueError(
                f"expected noise of shape {list(x.shape[1:])}, got {list(y.shape[1:])}; "
                "fit the noise law to data of this shape."
            )
        both = torch.cat([x, y])
        logit = self._logit(as_field(model, repeat(cond, 1 + self.ratio)).energy(both), both)
        data = logit[: len(x)]
        noise = logit[len(x) :].reshape(self.ratio, -1)
        right = (mean((data > 0).to(x)) + mean((noise < 0).to(x))) / 2
        return Loss(F.softplus(-data) + F.softplus(noise).sum(0), {"accuracy": right})

    def _logit(self, energy: Tensor, u: Tensor) -> Tensor:
        return check_energy(self.noise.energy(u), u).to(energy) - energy - math.log(self.ratio)


@final
@dataclass
class ConditionalNoiseContrastive(Objective):
    """Conditional noise-contrastive estimation: tell each example from copies of it with Gaussian
    noise of `std`.

    Choose it where no noise law is at hand; std a third to one standard deviation of the data.
    Needs an energy, of any constant.
    """

    std: float
    copies: int = 1

    def __post_init__(self) -> None:
        check_count(copies=self.copies)
        check_std(self.std)

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        y = noisy(repeat(x, self.copies), self.std, generator)
        energy = as_field(model, repeat(cond, 1 + self.copies)).energy(torch.cat([x, y]))
        gap = (
            energy[len(x) :].reshape(self.copies, -1) - energy[: len(x)]
        )  # G = E(y) - E(x), [copies, B]
        return Loss(2 * F.softplus(-gap).mean(0), {"accuracy": mean((gap > 0).to(x))})


def repeat(x: Any, times: int) -> Any:
    """`times` copies of x [B, *] one after the other, [times * B, *]; None stays None."""
    return None if x is None else x.repeat(times, *[1] * (x.ndim - 1))


def noisy(x: Tensor, std: float, generator: Generator) -> Tensor:
    return x + std * normal_(x.new_empty(x.shape), generator)


def check_count(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"`{name}` counts draws per example, so it is 1 or more, got {count}.")


def check_std(std: float) -> None:
    if std <= 0:
        raise ValueError(
            f"`std` is a standard deviation in units of x, so it is positive, got {std}."
        )

r"""Energy discrepancy: the energy against what is left of it when data are blurred; no chain, no
score, no noise law.

With :math:`y = x + \sigma\xi` and M candidates :math:`x'_j = y + \sigma\xi'_j`,

.. math:: \log\Big( \frac wM + \frac1M \sum_{j=1}^M e^{E(x) - E(x'_j)} \Big) .

As M grows this is :math:`E(x) - E_\sigma(y)` with :math:`E_\sigma(y) = -\log \int \mathcal N(y; x',
\sigma^2)\, e^{-E(x')} dx'`, whose one minimiser is the energy of the data. The weight w bounds the
logarithm from below. It need not cost anything: at **w = 1** the loss is :math:`-\log` of the
softmax of -E over the data point and its M candidates, up to log M. Given y the data point follows
:math:`p(x)\, \mathcal N(y; x, \sigma^2)` and the candidates :math:`\mathcal N(y, \sigma^2)`, so
their ratio is p: the softmax of the true energy is the posterior probability, and the loss is
minimised there at *every* M. At w = 0 the minimum errs by order 1 / M.

Small sigma: the loss less its value for a flat energy, divided by :math:`\sigma^2 M/(M+w)`, tends
at w = 1 to :math:`\tfrac12\|s\|^2 + \nabla\cdot s`, implicit score matching. At M = w = 1 it is
half the loss of conditional NCE with noise of :math:`\sqrt2\sigma`.

References: Schroeder et al. (2023), Energy Discrepancies, arXiv 2307.06431 (the loss, its unique
minimum, and w); Ma & Collins (2018), Noise Contrastive Estimation and Negative Sampling for
Conditional Models, arXiv 1809.01812 (the ranking loss).
"""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import as_field
from gradlogp.objectives.base import Loss, Objective, check_batch, mean
from gradlogp.objectives.nce import check_count, check_std, noisy, repeat


@final
@dataclass
class EnergyDiscrepancy(Objective):
    """Energy discrepancy: the energy of data against that of points around a blurred copy; needs no
    chain.

    The copy is blurred by `std`, and `candidates` are drawn around it. Choose it in few to middling
    dimensions as the quickest way to an energy; std a third to one standard deviation of the data.
    """

    std: float
    candidates: int = 16
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_count(candidates=self.candidates)
        check_std(self.std)
        if self.weight < 0:
            raise ValueError(
                f"`weight` (w) is 0 or more, got {self.weight}; 1 makes the loss exact at every"
                " number of candidates."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        around = noisy(repeat(noisy(x, self.std, generator), self.candidates), self.std, generator)
        energy = as_field(model, repeat(cond, 1 + self.candidates)).energy(torch.cat([x, around]))
        rise = energy[: len(x)] - energy[len(x) :].reshape(
            self.candidates, -1
        )  # E(x) - E(x'), [M, B]
        return Loss(self._contrast(rise), {"rise": mean(rise)})

    def _contrast(self, rise: Tensor) -> Tensor:
        if self.weight > 0:
            rise = torch.cat([rise, torch.full_like(rise[:1], math.log(self.weight))])
        return rise.logsumexp(0) - math.log(self.candidates)

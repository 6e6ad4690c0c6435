r"""Contrastive divergence. The gradient of the negative log-likelihood of :math:`p_\theta \propto e^{-E_\theta}` is

.. math:: \nabla_\theta \mathcal L = \mathbb E_{data}[\nabla_\theta E] - \mathbb E_{p_\theta}[\nabla_\theta E],

and the second expectation is taken over chains x^- of K sampler steps from a start (see `starts`). One loss value per example:

.. math:: E(x^+) - E(x^-) + \lambda\,(E(x^+)^2 + E(x^-)^2).

The loss says nothing of progress: when the model is right its expectation is 0 (plus the regulariser, which pins the scale of E
that the fixed step size was chosen for). What to watch is the gap E(x^-) - E(x^+), which hovers around 0, and the displacement of
the chains.

References: Hinton (2002); Du & Mordatch (2019), arXiv 1903.08689, eq. 2 and section 3.3 (the regulariser); Nijkamp et al.
(2020), On the Anatomy of MCMC-based Maximum Likelihood Learning, arXiv 1903.12370 (what to watch).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import Energy, Field
from gradlogp.core.kernel import Sampler, run
from gradlogp.objectives.base import Loss, Objective, check_batch, mean
from gradlogp.objectives.starts import Starts


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Weights ask for no gradients inside: the chains move x, and x alone."""
    asked = [p for p in model.parameters() if p.requires_grad]
    for p in asked:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in asked:
            p.requires_grad_(True)


@final
@dataclass
class ContrastiveDivergence(Objective):
    """Contrastive divergence: lower the energy of data, raise that of chains of `steps` sampler steps.

    `starts` says where chains begin; `data_noise` (std) is added to the data, and `clamp` keeps the noisy data in range.
    """

    sampler: Sampler[Field, Any]
    starts: Starts
    steps: int = 20
    regularise: float = 0.1
    data_noise: float = 0.0
    clamp: tuple[float, float] | None = None

    def __call__(self, model: nn.Module, batch: Batch, generator: Generator) -> Loss:
        positive, start = self._noisy(check_batch(batch), generator), self.starts.draw(batch, generator)
        negative = self._chains(model, start.x, start.cond, generator)
        self.starts.keep(start, negative)
        plus, minus = self._energies(model, batch.cond, positive, negative, start.cond)
        value = plus - minus + self.regularise * (plus**2 + minus**2)
        info = {"energy_data": mean(plus), "energy_chains": mean(minus), "gap": mean(minus - plus),
                "energy_scale": mean(plus**2 + minus**2).div(2).sqrt(), "displacement": mean((negative - start.x).abs())}
        return Loss(value, info)

    def state(self) -> dict[str, Tensor]:
        return self.starts.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.starts.load(state)

    def _noisy(self, batch: Batch, generator: Generator) -> Tensor:
        x = batch.x
        if self.data_noise > 0:
            x = x + self.data_noise * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return x if self.clamp is None else x.clamp(*self.clamp)

    def _chains(self, model: nn.Module, start: Tensor, cond: Tensor | None, generator: Generator) -> Tensor:
        with frozen(model):
            return run(self.sampler, Energy(model, cond), start, self.steps, generator)

    def _energies(self, model: nn.Module, cond: Tensor | None, positive: Tensor, negative: Tensor,
                  cond_chains: Tensor | None) -> tuple[Tensor, Tensor]:
        """E(x+) and E(x-), [B] each, in one forward pass."""
        both = None if cond is None or cond_chains is None else torch.cat([cond, cond_chains])
        plus, minus = Energy(model, both).energy(torch.cat([positive, negative])).chunk(2)
        return plus, minus

r"""Contrastive divergence. The gradient of the negative log-likelihood of :math:`p_\theta \propto
e^{-E_\theta}` is

.. math:: \nabla_\theta \mathcal L = \mathbb E_{data}[\nabla_\theta E] - \mathbb E_{p_\theta}[\nabla_\theta E],

and the second expectation is taken over chains x^- of K sampler steps from a start (see `starts`).
One loss value per example:

.. math:: E(x^+) - E(x^-) + \lambda\,(E(x^+)^2 + E(x^-)^2).

The loss says nothing of progress: when the model is right its expectation is 0 (plus the
regulariser, which pins the scale of E that the fixed step size was chosen for). What to watch is
the gap E(x^-) - E(x^+), which hovers around 0, and the displacement of the chains.

The law :math:`q_\theta` of the chains depends on the weights too. What the gradient above leaves
out is the descent of :math:`KL(q_\theta \| p_\theta)` along them; *improved* contrastive divergence
adds it, through the last sampler step alone:

.. math:: E_{\bar\theta}(x_K(\theta)) - \hat H(x_K(\theta)), \qquad x_K = x_{K-1} + h\, s_\theta(x_{K-1}) + \tau z,

with :math:`E_{\bar\theta}` of frozen weights and the entropy H by nearest neighbours among the
chains (see `entropy`).

References: Hinton (2002), Training Products of Experts by Minimizing Contrastive Divergence;
Tieleman (2008), Training RBMs using Approximations to the Likelihood Gradient (persistent chains);
Du & Mordatch (2019), arXiv 1903.08689, eq. 2 and section 3.3 (the regulariser); Nijkamp et al.
(2020), On the Anatomy of MCMC-based Maximum Likelihood Learning, arXiv 1903.12370 (what to watch);
Du et al. (2021), Improved Contrastive Divergence Training of Energy Based Models, arXiv 2012.01316
(the improved one).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import ClosedForm, Field, as_field
from gradlogp.core.inputs import check_interval
from gradlogp.core.kernel import Sampler, run
from gradlogp.core.random import normal_
from gradlogp.objectives.base import Asks, Loss, Objective, check_batch, mean
from gradlogp.objectives.buffer import ReplayBuffer
from gradlogp.objectives.entropy import nearest_neighbour_entropy
from gradlogp.objectives.starts import FromBuffer, Start, Starts


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Weights ask for no gradients inside: the chains move x, and x alone."""
    asked = (
        [p for p in model.parameters() if p.requires_grad] if isinstance(model, nn.Module) else []
    )
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
    """Contrastive divergence: lower the energy of data, raise that of chains of `steps` sampler
    steps.

    `starts` says where chains begin; `data_noise` (std) is added to the data, and `clamp` keeps the
    noisy data in range. The energies are those of the class where both the batch and the chains
    have classes, else the marginal ones. `kl` > 0 adds the term of improved contrastive divergence
    with that weight, `entropy` being the share of the entropy in it: 1 is the exact divergence,
    while the published code weighs the log-distance by .3, which is entropy = .3 / dimensions. It
    needs a last step that can be differentiated, such as Langevin's, and holds for chains of any
    start.
    """

    sampler: Sampler[Any, Any]
    starts: Starts
    steps: int = 20
    energy_l2: float = 0.1
    data_noise: float = 0.0
    clamp: tuple[float, float] | None = None
    kl: float = 0.0
    entropy: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1 or min(self.energy_l2, self.data_noise, self.kl, self.entropy) < 0:
            raise ValueError(
                "contrastive divergence needs steps >= 1 and weights of 0 or more, got"
                f" steps={self.steps}, energy_l2={self.energy_l2}, data_noise={self.data_noise},"
                f" kl={self.kl}, entropy={self.entropy}."
            )
        check_interval(self.clamp, "clamp")

    @property
    def by_example(self) -> bool:
        alone = self.starts.by_example and getattr(self.sampler, "by_example", False)
        return self.kl == 0 and alone

    def asks(self, model: Any) -> Asks:
        return "chains" if self.kl == 0 else "twice"

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        positive = self._noisy(check_batch(batch), generator)
        start = self._start(batch, generator)
        field = as_field(model, start.cond)
        moved = self._chains(model, field, start.x, generator)
        negative = moved.detach()
        self.starts.keep(start, negative)
        both = (
            None
            if start.cond is None or batch.cond is None
            else torch.cat([batch.cond, start.cond])
        )
        plus, minus = (
            as_field(model, both).energy(torch.cat([positive, negative])).chunk(2)
        )  # [B] each, in one pass
        value = plus - minus + self.energy_l2 * (plus**2 + minus**2)
        info = {
            "energy_data": mean(plus),
            "energy_chains": mean(minus),
            "gap": mean(minus - plus),
            "energy_scale": mean(plus**2 + minus**2).div(2).sqrt(),
            "displacement": mean((negative - start.x).abs().to(minus.dtype)),
        }
        if self.kl > 0:
            divergence, entropy = self._divergence(model, field, moved)
            value, info["entropy"] = value + self.kl * divergence, mean(entropy)
        return Loss(value, info)

    def state(self) -> dict[str, Tensor]:
        return self.starts.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.starts.load(state)

    def _noisy(self, batch: Batch, generator: Generator) -> Tensor:
        x = batch.x
        if self.data_noise > 0:
            x = x + self.data_noise * normal_(x.new_empty(x.shape), generator)
        return x if self.clamp is None else x.clamp(*self.clamp)

    def _start(self, batch: Batch, generator: Generator) -> Start:
        start = self.starts.draw(batch, generator)
        if (start.x.shape, start.x.dtype) != (batch.x.shape, batch.x.dtype):
            raise ValueError(
                f"expected one chain per example, shape {list(batch.x.shape)} in {batch.x.dtype},"
                f" got {list(start.x.shape)} in {start.x.dtype}; mend what"
                f" {type(self.starts).__name__} draws."
            )
        return start if batch.cond is not None else start._replace(cond=None)

    def _chains(self, model: Any, field: Field, x: Tensor, generator: Generator) -> Tensor:
        """Where the chains end; with `kl`, as a function of the weights through the last step."""
        with frozen(model):
            x = run(self.sampler, field, x, self.steps - (self.kl > 0), generator, check=False)
        return last_step(self.sampler, field, x, generator) if self.kl > 0 else x

    def _divergence(self, model: Any, field: Field, moved: Tensor) -> tuple[Tensor, Tensor]:
        """KL(q || p) + log Z of the chains, [B], and its entropy [B]."""
        entropy = nearest_neighbour_entropy(moved)
        with frozen(model):
            return field.energy(moved) - self.entropy * entropy, entropy


def last_step(sampler: Sampler[Any, Any], field: Field, x: Tensor, generator: Generator) -> Tensor:
    """One sampler step that remembers how it hung on the weights: samplers move x in place, so the
    graph holds copies.
    """
    if not torch.is_grad_enabled():
        raise ValueError(
            "improved contrastive divergence differentiates the last step of its chains, but"
            " gradients are off; leave torch.no_grad and torch.inference_mode, or take kl=0."
        )
    copied = ClosedForm(lambda x: field.energy(x.clone()), lambda x: field.score(x.clone()))
    state, _ = sampler.step(copied, sampler.init(copied, x), generator)
    moved: Tensor = state.x
    if not moved.requires_grad:
        raise ValueError(
            f"the last step of {type(sampler).__name__} carries no gradient in the weights; "
            "improved contrastive divergence needs one that does, such as Langevin's, or kl=0."
        )
    return moved


def persistent_contrastive_divergence(
    sampler: Sampler[Any, Any], chains: Tensor, steps: int = 1, energy_l2: float = 0.0
) -> ContrastiveDivergence:
    """Persistent contrastive divergence: chains that go on from one update to the next, and never
    start anew.

    chains [n, *shape] are where they begin; n is the batch size, or more. Choose it where chains
    mix slowly and the learning rate is small; with restarts it is `FromBuffer(ReplayBuffer(...,
    restart_prob=.05))`. Reference: Tieleman (2008).
    """
    return ContrastiveDivergence(sampler, FromBuffer(ReplayBuffer.of(chains)), steps, energy_l2)


def improved_contrastive_divergence(
    sampler: Sampler[Any, Any],
    starts: Starts,
    steps: int = 40,
    energy_l2: float = 1.0,
    kl: float = 1.0,
    entropy: float = 1.0,
) -> ContrastiveDivergence:
    """Improved contrastive divergence: adds how the chains' law depends on the weights, by their
    last step.

    Choose it where plain contrastive divergence drifts apart. Reference: Du et al. (2021), arXiv
    2012.01316.
    """
    return ContrastiveDivergence(sampler, starts, steps, energy_l2, kl=kl, entropy=entropy)

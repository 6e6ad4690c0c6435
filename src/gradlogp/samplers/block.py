r"""Gibbs sampling of models with two layers (`models.rbm`): all hidden units given the visible ones,
then the visible ones given them, each layer as a whole.

`BlockGibbs` draws v given h where that is a draw; `GibbsLangevin` takes Langevin steps in v given
h, for a Gaussian-Bernoulli machine: it moves :math:`u = (v - m_h)/\sigma` by :math:`u' = (1 - \eta)
u + \sqrt{2\eta}\, z`, the Langevin step of p(v | h), with eta in units of each visible unit's
variance (Liao et al. take one step size for all). Unadjusted, it settles at the variance
:math:`\sigma^2/(1 - \eta/2)`; adjusted, at :math:`\sigma^2`. Inside `Masked` what is pinned stays
(block Gibbs alone). Nothing here depends on the size of the batch.

References: Geman & Geman (1984); Liao et al. (2022), Gaussian-Bernoulli RBMs Without Tears, arXiv
2210.10318.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from gradlogp.core.conditioned import MaskedField
from gradlogp.core.fields import Field, column
from gradlogp.core.random import Randomness, normal_, uniform_
from gradlogp.samplers.gibbs import Accepted


@runtime_checkable
class Bipartite(Protocol):
    """Two layers, each drawn as a whole given the other."""

    def sample_hidden(self, v: Tensor, generator: Randomness) -> Tensor: ...

    def sample_visible(self, h: Tensor, generator: Randomness) -> Tensor: ...


@runtime_checkable
class Gaussian(Protocol):
    """Hidden units given v; v given them is N(visible(h), variance)."""

    variance: Tensor

    def sample_hidden(self, v: Tensor, generator: Randomness) -> Tensor: ...

    def visible(self, h: Tensor) -> Tensor: ...


def bipartite(field: Field) -> Bipartite:
    """The two-layered model behind a field: the field itself, or the model that it is the energy
    of.
    """
    field = field.field if isinstance(field, MaskedField) else field
    model = getattr(field, "function", field)
    if isinstance(model, Bipartite):
        return model
    raise ValueError(
        "block Gibbs needs a model of two layers (sample_hidden, sample_visible), got"
        f" {type(model).__name__}; pass an RBM's field, or use Gibbs or GibbsWithGradients."
    )


class BlockState(NamedTuple):
    """v [B, *shape]: a chain of two layers remembers the visible one."""

    x: Tensor


class BlockInfo(NamedTuple):
    """The hidden units that v was drawn from, [B, H]."""

    hidden: Tensor


@final
@dataclass(frozen=True)
class BlockGibbs:
    """Block Gibbs sampling: the hidden layer given the visible one, then the visible one, each as a
    whole.

    The sampler for restricted Boltzmann machines, and the one to train them with:
    `ContrastiveDivergence(BlockGibbs(), ...)`.
    """

    @property
    def kind(self) -> str:
        return "density"

    def init(self, field: Field, x: Tensor) -> BlockState:
        bipartite(field)
        return BlockState(x.clone())

    def step(
        self, field: Field, state: BlockState, generator: Randomness
    ) -> tuple[BlockState, BlockInfo]:
        model = bipartite(field)
        h = model.sample_hidden(state.x, generator)
        v = model.sample_visible(h, generator)
        return BlockState(
            torch.where(field.mask, v, state.x) if isinstance(field, MaskedField) else v
        ), BlockInfo(h)


@final
@dataclass(frozen=True)
class GibbsLangevin:
    """Gibbs-Langevin for Gaussian-Bernoulli machines: the hidden units, then `inner` Langevin steps
    in v given them.

    step_size is in units of the visible variance, in (0, 2); `adjust` accepts or rejects each inner
    step, and is exact.
    """

    step_size: float = 0.1
    inner: int = 10
    adjust: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.step_size < 2 or self.inner < 1:
            raise ValueError(
                "Gibbs-Langevin needs step_size in (0, 2), where the chain is stable, and inner >="
                f" 1, got {self.step_size} and {self.inner}."
            )

    @property
    def kind(self) -> str:
        return "density"

    def init(self, field: Field, x: Tensor) -> BlockState:
        self._model(field)
        return BlockState(x.clone())

    def step(
        self, field: Field, state: BlockState, generator: Randomness
    ) -> tuple[BlockState, Accepted]:
        model = self._model(field)
        mean = model.visible(model.sample_hidden(state.x, generator))
        std = model.variance.sqrt()
        u, accept = (self._metropolis if self.adjust else self._at_once)(
            (state.x - mean) / std, generator
        )
        return BlockState(torch.addcmul(mean, u, std)), Accepted(accept)

    def _at_once(self, u: Tensor, generator: Randomness) -> tuple[Tensor, Tensor]:
        """`inner` unadjusted steps are an AR(1) process, of variance 1 / (1 - eta / 2) in the end:
        taken as one, with one draw.
        """
        shrink = (1 - self.step_size) ** self.inner
        tau = math.sqrt((1 - shrink**2) / (1 - self.step_size / 2))
        return u.mul_(shrink).add_(normal_(torch.empty_like(u), generator), alpha=tau), u.new_ones(
            len(u)
        )

    def _metropolis(self, u: Tensor, generator: Randomness) -> tuple[Tensor, Tensor]:
        """The log-ratio of a Langevin step on N(0, 1) is eta (|u|^2 - |u'|^2) / 4."""
        eta = self.step_size
        noise = torch.empty_like(u)
        uniform = u.new_empty(len(u))
        total = torch.zeros_like(uniform)
        for _ in range(self.inner):
            new = torch.add((1 - eta) * u, normal_(noise, generator), alpha=math.sqrt(2 * eta))
            accept = (eta / 4 * (u.square() - new.square()).flatten(1).sum(1)).clamp_(max=0).exp_()
            u = torch.where(column(uniform_(uniform, generator) < accept, u), new, u)
            total += accept
        return u, total / self.inner

    @staticmethod
    def _model(field: Field) -> Gaussian:
        model = getattr(field, "function", field)
        if isinstance(model, Gaussian):
            return model
        raise ValueError(
            f"Gibbs-Langevin needs a Gaussian-Bernoulli machine, but got {type(model).__name__}; "
            "pass a GaussianRBM's field, or use Langevin."
        )

r"""Generative adversarial networks: a generator g(z), z ~ N(0, I), against a critic D = -E, an
energy in all but name.

.. math:: \text{non-saturating:}\quad & \log(1 + e^{-D(x)}) + \log(1 + e^{D(g(z))}) &\text{and}\quad& \log(1 + e^{-D(g(z))}) \\
          \text{Wasserstein:}\quad & D(g(z)) - D(x) + \lambda\,(\|\nabla D(\hat x)\| - 1)^2
          &\text{and}\quad& -D(g(z))

are what the critic and what the generator make small, :math:`\hat x = u x + (1 - u) g(z)`, u ~ U(0,
1). The non-saturating critic may carry the penalty :math:`\tfrac\lambda2 \|\nabla D(x)\|^2` on data
(R1).

Both play in one loss. The critic sees pictures that are cut from the generator's graph, the
generator a critic whose weights are frozen, and Adam scales each weight by itself, so one optimiser
is two with the same rate. The generator moves at every `every`-th update of the critic.

References: Goodfellow et al. (2014), arXiv 1406.2661, section 3 (non-saturating); Gulrajani et al.
(2017), arXiv 1704.00028, eq. 3; Mescheder et al. (2018), arXiv 1801.04406, eq. 9 (R1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gradlogp.baselines.decoder import Decoder
from gradlogp.core.batch import Batch
from gradlogp.core.fields import column
from gradlogp.core.random import normal_
from gradlogp.models import ConvEnergy
from gradlogp.objectives import Loss, Objective
from gradlogp.objectives.base import check_batch, mean
from gradlogp.objectives.contrastive import frozen

Game = Literal["non_saturating", "wasserstein"]


class GAN(nn.Module):
    """z [B, latent] -> a picture [B, *shape], by `decoder`; `critic` is any energy (B, *shape) ->
    (B,), low where data are.
    """

    def __init__(self, decoder: Decoder, critic: nn.Module) -> None:
        super().__init__()
        self.decoder, self.critic = decoder, critic

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(z)


def gan(
    shape: Sequence[int],
    latent: int = 32,
    trunk: Sequence[int] = (16, 32, 64, 64),
    width: int = 64,
    channels: tuple[int, int] = (64, 32),
) -> GAN:
    """A generator against the trunk and head of an energy-based model."""
    return GAN(Decoder(shape, latent, channels), ConvEnergy(shape, trunk, width))


@final
@dataclass
class Adversarial(Objective):
    """The critic's and the generator's loss of a `GAN`, in one value; `penalty` is R1's or the
    gradient penalty's weight.
    """

    game: Game = "non_saturating"
    penalty: float = 0.0
    every: int = 1
    updates: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.long))

    def __post_init__(self) -> None:
        if self.game not in ("non_saturating", "wasserstein") or self.penalty < 0 or self.every < 1:
            raise ValueError(
                "expected game 'non_saturating' or 'wasserstein', penalty >= 0 and every >= 1, got "
                f"{self.game!r}, {self.penalty} and {self.every}."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, _ = check_batch(batch)
        drawn = model(normal_(x.new_empty(len(x), model.decoder.latent), generator))
        real, fake = (-model.critic(torch.cat([x, drawn.detach()]))).chunk(2)
        value = self._critic(real, fake)
        info = {
            "critic_data": mean(real),
            "critic_drawn": mean(fake),
            "energy_scale": mean(real**2 + fake**2).div(2).sqrt(),
        }
        if self.penalty:
            penalty = self._penalty(model.critic, x, drawn.detach(), generator)
            value, info["penalty"] = value + self.penalty * penalty, mean(penalty)
        self.updates += 1
        if self.updates % self.every == 0:
            with frozen(model.critic):
                value = value + self._generator(-model.critic(drawn))
        return Loss(value, info)

    def _critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real if self.game == "wasserstein" else F.softplus(-real) + F.softplus(fake)

    def _generator(self, fake: Tensor) -> Tensor:
        return -fake if self.game == "wasserstein" else F.softplus(-fake)

    def _penalty(self, critic: nn.Module, x: Tensor, drawn: Tensor, generator: Generator) -> Tensor:
        if self.game == "non_saturating":
            return steepness(critic, x).square() / 2
        u = column(torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype), x)
        return (steepness(critic, u * x + (1 - u) * drawn) - 1).square()

    def state(self) -> dict[str, Tensor]:
        return {"updates": self.updates}

    def load(self, state: dict[str, Tensor]) -> None:
        self.updates.copy_(state["updates"])


def steepness(critic: nn.Module, x: Tensor) -> Tensor:
    """|dD/dx| for each example, [B], to be differentiated with respect to the weights."""
    x = x.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (slope.flatten(1).square().sum(1) + 1e-12).sqrt()

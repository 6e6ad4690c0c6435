r"""Generative adversarial networks: a generator g(z), z ~ N(0, I), against a critic D = -E, an
energy in all but name.

.. math:: \text{non-saturating:}\quad & \log(1 + e^{-D(x)}) + \log(1 + e^{D(g(z))}) &\text{and}\quad& \log(1 + e^{-D(g(z))}) \\
          \text{Wasserstein:}\quad & D(g(z)) - D(x) + \lambda\,(\|\nabla D(\hat x)\| - 1)^2
          &\text{and}\quad& -D(g(z)) \\
          \text{hinge:}\quad & \max(0, 1 - D(x)) + \max(0, 1 + D(g(z))) &\text{and}\quad& -D(g(z))

are what the critic and what the generator make small, :math:`\hat x = u x + (1 - u) g(z)`, u ~ U(0,
1). The non-saturating and the hinge critic may carry the penalty :math:`\tfrac\lambda2 \|\nabla
D(x)\|^2` on data (R1).

Both play in one loss. The critic sees pictures that are cut from the generator's graph, the
generator a critic whose weights are frozen, and Adam scales each weight by itself, so one optimiser
is two with the same rate. The generator moves at every `every`-th update of the critic.

Where the batch has classes, both players are told them: g(z, y) against D(x, y). A critic that is
`random` (phase shuffle, say) draws from the generator of the step while it trains.

References: Goodfellow et al. (2014), arXiv 1406.2661, section 3 (non-saturating); Gulrajani et al.
(2017), arXiv 1704.00028, eq. 3; Mescheder et al. (2018), arXiv 1801.04406, eq. 9 (R1); Lim & Ye
(2017), Geometric GAN, arXiv 1705.02894, section 3 (hinge); Mirza & Osindero (2014), Conditional
GANs, arXiv 1411.1784, eq. 2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gradlogp.baselines.decoder import Decoder
from gradlogp.core.batch import Batch
from gradlogp.core.fields import check_cond, column
from gradlogp.core.random import normal_
from gradlogp.models import ConvEnergy, EnergyModel, MLPEnergy
from gradlogp.objectives import Loss, Objective
from gradlogp.objectives.base import check_batch, mean
from gradlogp.objectives.contrastive import frozen

Game = Literal["non_saturating", "wasserstein", "hinge"]
Critic = Callable[[Tensor], Tensor]


class GAN(nn.Module):
    """z [B, latent] -> an example [B, *shape], by `decoder`; `critic` is any energy (B, *shape) ->
    (B,), low where data are.

    With classes both take cond [B] as a second argument.
    """

    def __init__(self, decoder: Decoder, critic: nn.Module) -> None:
        super().__init__()
        self.decoder, self.critic = decoder, critic

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.decoder(z, *check_cond(cond, z))


def gan(
    shape: Sequence[int],
    latent: int = 32,
    trunk: Sequence[int] = (16, 32, 64, 64),
    width: int = 64,
    channels: Sequence[int] = (64, 32),
) -> GAN:
    """A generator against the trunk and head of an energy-based model.

    Of pictures, waves and volumes (3D-GAN); of vectors with perceptrons, whose hidden layers are
    `channels` and `trunk`.
    """
    decoder = Decoder(shape, latent, channels)
    critic: EnergyModel = (
        MLPEnergy(shape[0], (*trunk, width)) if len(shape) == 1 else ConvEnergy(shape, trunk, width)
    )
    return GAN(decoder, critic)


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
        games = ("non_saturating", "wasserstein", "hinge")
        if self.game not in games or self.penalty < 0 or self.every < 1:
            raise ValueError(
                f"expected a game out of {', '.join(games)}, penalty >= 0 and every >= 1, got "
                f"{self.game!r}, {self.penalty} and {self.every}."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        z = normal_(x.new_empty(len(x), model.decoder.latent), generator)
        drawn = model(z, *check_cond(cond, z))
        both = None if cond is None else torch.cat([cond, cond])
        critic = critic_of(model.critic, both, generator)
        real, fake = critic(torch.cat([x, drawn.detach()])).chunk(2)
        value = self._critic(real, fake)
        info = {
            "critic_data": mean(real),
            "critic_drawn": mean(fake),
            "energy_scale": mean(real**2 + fake**2).div(2).sqrt(),
        }
        critic = critic_of(model.critic, cond, generator)
        if self.penalty:
            penalty = self._penalty(critic, x, drawn.detach(), generator)
            value, info["penalty"] = value + self.penalty * penalty, mean(penalty)
        self.updates += 1
        if self.updates % self.every == 0:
            with frozen(model.critic):
                value = value + self._generator(critic(drawn))
        return Loss(value, info)

    def _critic(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.game == "hinge":
            return F.relu(1 - real) + F.relu(1 + fake)
        return fake - real if self.game == "wasserstein" else F.softplus(-real) + F.softplus(fake)

    def _generator(self, fake: Tensor) -> Tensor:
        return F.softplus(-fake) if self.game == "non_saturating" else -fake

    def _penalty(self, critic: Critic, x: Tensor, drawn: Tensor, generator: Generator) -> Tensor:
        if self.game != "wasserstein":
            return steepness(critic, x).square() / 2
        u = column(torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype), x)
        return (steepness(critic, u * x + (1 - u) * drawn) - 1).square()

    def state(self) -> dict[str, Tensor]:
        return {"updates": self.updates}

    def load(self, state: dict[str, Tensor]) -> None:
        self.updates.copy_(state["updates"])


def critic_of(energy: nn.Module, cond: Tensor | None, generator: Generator) -> Critic:
    """D = -E as a function of x alone, [B]; a `random` one draws from the generator."""
    told = {} if cond is None else {"cond": cond}
    drawing = {"generator": generator} if getattr(energy, "random", False) else {}
    return lambda x: -energy(x, **told, **drawing)


def steepness(critic: Critic, x: Tensor) -> Tensor:
    """|dD/dx| for each example, [B], to be differentiated with respect to the weights."""
    x = x.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (slope.flatten(1).square().sum(1) + 1e-12).sqrt()

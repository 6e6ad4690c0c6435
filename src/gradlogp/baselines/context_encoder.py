r"""Context encoders: fill a hole in one pass, from all that surrounds it.

A network h sees the picture with the hole emptied, and the mask m (1 where x is known); what is
known is kept. It is learned by the error in the hole and, with a critic D = -E, by an adversarial
game,

.. math:: \lambda_{rec}\, \frac{\|(1 - m)(x - h)\|^2}{\|1 - m\|_1} + \lambda_{adv} \log(1 + e^{-D(\hat x)}),
          \qquad \hat x = m x + (1 - m) h ,

while the critic learns :math:`\log(1 + e^{-D(x)}) + \log(1 + e^{D(\hat x)})`. Without the game the
best h is the conditional mean: the least squared error, and blurred. The two players share one loss
as in `gan`.

References: Pathak et al. (2016), Context Encoders: Feature Learning by Inpainting, arXiv
1604.07379, eq. 1 to 3 and section 3.1 (the channel-wise layer).
"""

import abc
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gradlogp.baselines.decoder import grown
from gradlogp.core.batch import Batch
from gradlogp.models import ConvEnergy
from gradlogp.models.nets.conv import CONV, channels_last, spatial_rank
from gradlogp.objectives import Loss, Objective
from gradlogp.objectives.base import check_batch, mean
from gradlogp.objectives.contrastive import frozen


class ChannelWise(nn.Module):
    """A linear map of all places of each channel by itself, and a mixture of the channels: h [B, C,
    *sizes] in and out.
    """

    def __init__(self, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        places = math.prod(sizes)
        self.across = nn.Parameter(torch.randn(channels, places, places) / math.sqrt(places))
        self.mix = CONV[len(sizes)](channels, channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        moved = torch.einsum("bcp,cpq->bcq", h.flatten(2), self.across).reshape(h.shape)
        return self.mix(F.silu(moved))


class Hourglass(nn.Module):
    """[B, channels + 1, *sizes], the mask last -> [B, *shape]: halved once for each entry of
    `channels`, mixed over all places, and grown again.
    """

    def __init__(self, shape: Sequence[int], channels: Sequence[int] = (32, 64, 128)) -> None:
        super().__init__()
        n, factor = spatial_rank(shape), 2 ** len(channels)
        if any(size % factor for size in shape[1:]):
            raise ValueError(
                f"{len(channels)} halvings need sizes of multiples of {factor}, got"
                f" {tuple(shape[1:])}; pad the data, or give fewer channels."
            )
        coarse = [size // factor for size in shape[1:]]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise([shape[0] + 1, *channels]):
            layers += [CONV[n](a, b, 4, 2, 1), nn.SiLU()]
        layers += [ChannelWise(channels[-1], coarse), nn.SiLU()]
        up = grown(shape, 1, [*reversed(channels)], 4, 2, norm=False)
        self.layers = nn.Sequential(
            *layers, *list(up)[3:]
        )  # without the way from a vector to the grid
        channels_last(self, n)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ContextEncoder(nn.Module):
    """(x [B, *shape], known) -> x with its unknown entries filled in, [B, *shape], in (-1, 1).

    `known` is bool, the same for all channels, and broadcasts to x. network: [B, channels + 1,
    *sizes] -> [B, *shape]; critic: any energy of whole pictures, or None for the squared error
    alone.
    """

    def __init__(self, network: nn.Module, critic: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.critic = network, critic

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        known = known.expand_as(x)
        seen = torch.where(known, x, 0)
        guess = self.network(torch.cat([seen, known[:, :1].to(x.dtype)], 1))
        return torch.where(known, x, guess)


def context_encoder(
    shape: Sequence[int],
    channels: Sequence[int] = (32, 64, 128),
    trunk: Sequence[int] | None = (16, 32, 64, 64),
    width: int = 64,
) -> ContextEncoder:
    """An encoder of what surrounds a hole and a decoder that fills it, for the objective
    `Inpainting`.

    Its critic has the trunk of `ConvEnergy`; `trunk` = None is the variant without a critic.
    """
    critic = None if trunk is None else ConvEnergy(shape, trunk, width)
    return ContextEncoder(Hourglass(shape, channels), critic)


class Masks(abc.ABC):
    """(x [B, channels, *sizes], generator) -> what is known, bool [B, 1, *sizes]."""

    @abc.abstractmethod
    def __call__(self, x: Tensor, generator: Generator) -> Tensor: ...


@final
@dataclass(frozen=True)
class BlockHole(Masks):
    """A hole of `side` in every direction: in the centre, or anywhere at random."""

    side: int
    anywhere: bool = False

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        hole = torch.ones(len(x), 1, *x.shape[2:], dtype=torch.bool, device=x.device)
        for axis, size in enumerate(x.shape[2:], 2):
            if self.side > size:
                raise ValueError(f"a hole of side {self.side} does not fit into {size}.")
            first = torch.full((len(x), 1), (size - self.side) // 2, device=x.device)
            if self.anywhere:
                first.random_(0, size - self.side + 1, generator=generator)
            place = torch.arange(size, device=x.device)
            inside = (place >= first) & (place < first + self.side)
            hole &= inside.reshape(len(x), *[size if a == axis else 1 for a in range(1, x.ndim)])
        return ~hole


@final
@dataclass(frozen=True)
class Scattered(Masks):
    """A random `share` of all places unknown, each by itself."""

    share: float = 0.5

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        draws = torch.rand(len(x), 1, *x.shape[2:], generator=generator, device=x.device)
        return draws >= self.share


@final
@dataclass(frozen=True)
class Half(Masks):
    """The first half of the last axis unknown: the left half of a picture."""

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        right = torch.arange(x.shape[-1], device=x.device) >= x.shape[-1] // 2
        return right.expand(len(x), 1, *x.shape[2:])


@final
@dataclass(frozen=True)
class AnyOf(Masks):
    """One of several masks for each example, all alike likely."""

    masks: tuple[Masks, ...]

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        which = torch.randint(len(self.masks), (len(x),), generator=generator, device=x.device)
        known = torch.stack([mask(x, generator) for mask in self.masks])
        return known[which, torch.arange(len(x), device=x.device)]


@final
@dataclass
class Inpainting(Objective):
    """The error in the holes of `masks` and, where the model has a critic, the game at the weight
    `adversarial`.

    The two weights add up to 1, as in the paper; the critic's own loss has the weight 1.
    """

    masks: Masks
    adversarial: float = 0.001

    def __post_init__(self) -> None:
        if not 0 <= self.adversarial <= 1:
            raise ValueError(
                f"adversarial is a weight from 0 to 1, got {self.adversarial}; the paper's is .001."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, _ = check_batch(batch)
        known = self.masks(x, generator)
        filled = model(x, known)
        error = hole_error(x, filled, known)
        info = {"error": mean(error)}
        if model.critic is None:
            return Loss(error, info)
        real, fake = (-model.critic(torch.cat([x, filled.detach()]))).chunk(2)
        with frozen(model.critic):
            fooled = F.softplus(model.critic(filled))
        value = (1 - self.adversarial) * error + self.adversarial * fooled
        info |= {"critic_data": mean(real), "critic_filled": mean(fake)}
        return Loss(value + F.softplus(-real) + F.softplus(fake), info)


def hole_error(x: Tensor, filled: Tensor, known: Tensor) -> Tensor:
    """The mean squared error over the unknown entries of each example, [B]; 0 where all is known."""
    unknown = (~known).expand_as(x).flatten(1)
    total = (x - filled).flatten(1).square().mul(unknown).sum(1)
    return total / unknown.sum(1).clamp(min=1)

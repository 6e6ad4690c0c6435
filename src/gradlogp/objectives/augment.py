r"""Augmentations: changes of a picture that leave alone what is to be learned, drawn by a
generator.

All take x [B, channels, *sizes] in [-1, 1] and return the same shape; each example is changed by
draws of its own. Colours are changed about the grey axis: with g the mean of the channels and
:math:`c = x - g` the chroma,

.. math:: x' = g + s\,(c\cos\theta + (k \times c) \sin\theta), \qquad k = (1, 1, 1) / \sqrt 3,

s is the saturation and :math:`\theta` the hue: the grey of every pixel stays, and the length of its
chroma is scaled by s. Contrast scales about the mean grey of the picture, brightness from black.

References: Chen et al. (2020), A Simple Framework for Contrastive Learning, arXiv 2002.05709, app.
A (crops, colours, grey); He et al. (2016), arXiv 1512.03385, section 4.2 (flips, and shifts by 4
pixels).
"""

import abc
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.fields import column
from gradlogp.core.random import check_generator, normal_, uniform_
from gradlogp.objectives.base import Loss, Objective, check_batch


class Augmentation(abc.ABC):
    """(x [B, channels, *sizes], generator) -> x changed, of the same shape; x itself is left alone."""

    @abc.abstractmethod
    def __call__(self, x: Tensor, generator: Generator) -> Tensor: ...


def between(low: float, high: float, x: Tensor, generator: Generator) -> Tensor:
    """One uniform draw from [low, high] for each example, [B]."""
    draws = uniform_(x.new_empty(len(x)), generator)
    return low + (high - low) * draws


def only(share: float, changed: Tensor, x: Tensor, generator: Generator) -> Tensor:
    """`changed` for a share of the examples, x for the rest."""
    return torch.where(column(between(0, 1, x, generator), x) < share, changed, x)


@final
@dataclass(frozen=True)
class Chain(Augmentation):
    """One after the other."""

    steps: tuple[Augmentation, ...]

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        for step in self.steps:
            x = step(x, generator)
        return x


@final
@dataclass(frozen=True)
class Flip(Augmentation):
    """Mirror the last axis of a share of the examples."""

    share: float = 0.5

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        return only(self.share, x.flip(-1), x, generator)


@final
@dataclass(frozen=True)
class Shift(Augmentation):
    """Move each example by up to `steps` places along every axis; what enters mirrors the border."""

    steps: int = 4

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        check_generator(generator)
        for axis in range(2, x.ndim):
            size = x.shape[axis]
            if not 0 <= self.steps < size:
                raise ValueError(
                    f"a shift of 0 to {size - 1} places fits into {size}, got {self.steps}."
                )
            moved = torch.arange(size, device=x.device) + torch.randint(
                -self.steps, self.steps + 1, (len(x), 1), generator=generator, device=x.device
            )
            mirrored = (size - 1 - (size - 1 - moved).abs()).abs()
            index = mirrored.reshape(len(x), *[size if a == axis else 1 for a in range(1, x.ndim)])
            x = x.take_along_dim(index, axis)
        return x


@final
@dataclass(frozen=True)
class ResizedCrop(Augmentation):
    """A window of random area, shape and place, resized to the whole picture bilinearly.

    `area` bounds the share of the picture, `ratio` that of width to height, uniform in its log. A
    window that would be too wide or too high is cut to the picture.
    """

    area: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        area = between(*self.area, x, generator)
        ratio = between(math.log(self.ratio[0]), math.log(self.ratio[1]), x, generator).exp()
        width = (area * ratio).sqrt().clamp(max=1)
        height = (area / ratio).sqrt().clamp(max=1)
        maps = x.new_zeros(len(x), 2, 3)
        maps[:, 0, 0] = width
        maps[:, 1, 1] = height
        maps[:, 0, 2] = between(-1, 1, x, generator) * (1 - width)
        maps[:, 1, 2] = between(-1, 1, x, generator) * (1 - height)
        grid = F.affine_grid(maps, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@final
@dataclass(frozen=True)
class ColourJitter(Augmentation):
    """Brightness, contrast, saturation (factors from 1 - v to 1 + v) and hue (turns of up to v), of
    a share of the pictures; red, green, blue only.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    share: float = 0.8

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        light, contrast, saturation = (
            column(between(1 - v, 1 + v, x, generator), x)
            for v in (self.brightness, self.contrast, self.saturation)
        )
        turn = column(between(-self.hue, self.hue, x, generator), x)
        lit = (x + 1) * light - 1
        middle = lit.mean((1, 2, 3), keepdim=True)
        coloured = turned(middle + contrast * (lit - middle), saturation, 2 * math.pi * turn)
        return only(self.share, coloured.clamp(-1, 1), x, generator)


def turned(x: Tensor, saturation: Tensor, angle: Tensor) -> Tensor:
    """The equation above for x [B, 3, height, width]; saturation and angle broadcast to it."""
    if x.shape[1] != 3:
        raise ValueError(
            f"colours are red, green and blue, but x has {x.shape[1]} channels; leave colour jitter"
            " out."
        )
    grey = x.mean(1, keepdim=True)
    chroma = x - grey
    across = (chroma.roll(1, 1) - chroma.roll(-1, 1)) / math.sqrt(3)
    return grey + saturation * (chroma * angle.cos() + across * angle.sin())


@final
@dataclass(frozen=True)
class Grey(Augmentation):
    """Replace a share of the pictures by the mean of their channels."""

    share: float = 0.2

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        return only(self.share, x.mean(1, keepdim=True).expand_as(x), x, generator)


@final
@dataclass(frozen=True)
class Noise(Augmentation):
    """Add Gaussian noise of standard deviation `sigma`."""

    sigma: float = 0.1

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        return x + self.sigma * normal_(torch.empty_like(x), generator)


FLIPS_AND_SHIFTS = Chain((Flip(), Shift(4)))  # the usual one of classifiers of CIFAR-10
CROPS_AND_COLOURS = Chain((ResizedCrop(), Flip(), ColourJitter(), Grey()))  # SimCLR's on CIFAR-10


@final
@dataclass
class Augmented(Objective):
    """Any objective on augmented examples: the batch is changed by `augmentation` before each step."""

    objective: Objective
    augmentation: Augmentation

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, cond = check_batch(batch)
        return self.objective(model, Batch(self.augmentation(x, generator), cond), generator)

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.objective.parameters()

    def state(self) -> dict[str, Tensor]:
        return self.objective.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.objective.load(state)

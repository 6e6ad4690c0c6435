r"""One energy of a picture, a sentence and a noise level, which finds and draws,

.. math:: E(x, t, \sigma) = E_0\big(x, w(\sigma)\,m(t), \sigma\big) + \big(1 - w(\sigma)\big)\,M(x, t),
          \qquad w = \operatorname{clip}\Big(\frac{\ln\sigma - \ln\sigma_a}{\ln\sigma_b - \ln\sigma_a}, 0, 1\Big) .

Where noise hides the picture, above :math:`\sigma_b`, the sentence enters by a map m(t) of what is
said to be where, which the network of a noisy energy sees beside x. As noise falls the picture
itself shows what it is, and the sentence passes over to the match M: an energy of the pair such as
CLIP's :math:`-\cos(f, g)/\tau`. Without a sentence there is neither map nor match, so at and below
:math:`\sigma_a`

.. math:: E(x, t, \sigma) - E(x, \sigma) = M(x, t) \quad\Leftrightarrow\quad
          e^{-M(x, t)} \propto \frac{p(x \mid t)}{p(x)} = \frac{p(t \mid x)}{p(t)} ,

which is what ranks sentences for a picture and pictures for a sentence, and what the contrast's own
minimiser is; all pairs of n pictures and m sentences cost n + m passes. Denoising score matching of
the whole makes it a density of pictures at every level.

References: van den Oord, Li & Vinyals (2018), Representation Learning with Contrastive Predictive
Coding, arXiv 1807.03748, eq. 3 (the density ratio that a contrast learns); Radford et al. (2021),
arXiv 2103.00020 (the match); Salimans & Ho (2021), Should EBMs Model the Energy or the Score?, ICLR
EBM workshop (the energy of pictures); Nichol et al. (2022), GLIDE, arXiv 2112.10741, section 3.1 (a
sentence read by a transformer, seen by a denoiser).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradlogp.core.fields import column
from gradlogp.models.caption import CaptionEnergy, caption_energy
from gradlogp.models.nets.patch import unfold
from gradlogp.models.nets.unet import UNet
from gradlogp.models.noisy import NoisyEnergyModel, PreconditionedEnergy, Reconstruction
from gradlogp.models.text import PAD, TextKind, Vocabulary


class TextMap(nn.Module):
    """Words [B, L, width] and where there are any, [B, L] -> [B, channels, *sizes], what is said to
    be where: each patch of the picture attends to the words, with a query of its own.
    """

    def __init__(
        self, shape: Sequence[int], width: int, channels: int, patch: int, heads: int = 4
    ) -> None:
        super().__init__()
        self.sizes, self.patch, self.heads = tuple(shape[1:]), patch, heads
        self.grid = tuple(math.ceil(size / patch) for size in self.sizes)
        self.queries = nn.Parameter(torch.randn(math.prod(self.grid), width) / 4)
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, channels * patch ** len(self.grid))

    def forward(self, words: Tensor, there: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for part in (self.queries, self.keys(words), self.values(words))
        )
        fit = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])
        weight = fit.masked_fill(~there[:, None, None], -torch.inf).softmax(-1)
        seen = (weight @ value).transpose(1, 2).flatten(2)  # [B, places, channels * patch^n]
        out = unfold(seen.transpose(1, 2).unflatten(2, self.grid), self.patch)
        for axis, size in enumerate(self.sizes, 2):
            out = out.narrow(axis, 0, size)
        return out


class Beside(nn.Module):
    """A network that sees a map [B, channels, *sizes] as further channels of x; zeros for none."""

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.net, self.channels = net, channels

    def forward(self, x: Tensor, level: Tensor, shown: Tensor | None = None) -> Tensor:
        if shown is None:
            shown = x.new_zeros(len(x), self.channels, *x.shape[2:])
        return self.net(torch.cat([x, shown], 1), level)


class NoisyCaptionEnergy(NoisyEnergyModel):
    """x [B, *shape], sigma [B], cond [B, L] (tokens) -> energy [B]; a row of -1, or no cond at all,
    is no sentence.

    `picture` is E_0, of (x - centre, sigma, map); `match` is M; `shown` makes the map of the words
    that the match's own encoder reads; `low` and `high` are sigma_a and sigma_b.
    """

    centre: Tensor

    def __init__(
        self,
        picture: nn.Module,
        match: CaptionEnergy,
        shown: nn.Module,
        centre: float = 0.0,
        low: float = 0.05,
        high: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < low < high:
            raise ValueError(f"expected levels 0 < low < high, got {low} and {high}.")
        self.picture, self.match, self.shown = picture, match, shown
        self.low, self.high = low, high
        self.register_buffer("centre", torch.tensor(float(centre)))

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            return self.picture(x - self.centre, sigma, None)
        told = (cond >= 0).all(1).to(x.dtype)
        tokens = cond.clamp(min=PAD)
        hidden = self.hidden(sigma)
        text: Any = self.match.text
        shown = self.shown(*text.read(tokens))
        shown = shown * column(told * hidden, shown)
        match = told * (1 - hidden) * self.match(x, tokens)
        return self.picture(x - self.centre, sigma, shown) + match

    def hidden(self, sigma: Tensor) -> Tensor:
        """w: the share of the sentence that enters by the map, [B]."""
        return ((sigma / self.low).log() / math.log(self.high / self.low)).clamp(0, 1)

    def pairs(self, x: Tensor, cond: Tensor) -> Tensor:
        """E(x_i, t_j, sigma) - E(x_i, sigma) of n pictures and m sentences, [n, m], at the levels
        up to `low`.
        """
        return self.match.pairs(x, cond)


def noisy_caption_energy(
    shape: Sequence[int],
    vocabulary: Vocabulary,
    sigma_data: float,
    centre: float = 0.0,
    channels: Sequence[int] = (48, 96),
    blocks: int = 1,
    patch: int = 4,
    trunk: Sequence[int] = (16, 32, 64, 64),
    width: int = 64,
    kind: TextKind = "transformer",
    fusion: bool = True,
    beside: int = 4,
) -> NoisyCaptionEnergy:
    """One energy of pictures, captions and noise levels: finds the caption, and draws the picture.

    sigma_data, centre: the data's standard deviation and mean. channels, blocks, patch: of the
    UNet. trunk, width: of the match's encoders. beside: channels of the map. For `CaptionJoint`
    with denoising score matching.
    """
    match = caption_energy(shape, vocabulary, trunk, width, kind, fusion)
    net = Beside(UNet(shape, channels, blocks, patch, beside=beside), beside)
    picture = PreconditionedEnergy(Reconstruction(net), sigma_data)
    return NoisyCaptionEnergy(picture, match, TextMap(shape, width, beside, patch), centre)

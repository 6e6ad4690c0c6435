r"""A residual trunk for energies: (B, *shape) -> (B, width), 1 to 3 spatial dimensions, smooth,
without normalisation.

.. math:: h' = \mathrm{pool}(S h + C_2\, \mathrm{silu}(C_1\, \mathrm{silu}(h)))

Halved at each entry of `channels`. An energy of one example must not depend on its neighbours, so
there is no batch norm. With `spectral`, every weight is divided by its largest singular value: each
convolution or linear map has gain about 1, which bounds how steep the energy becomes. (The power
iteration moves while the module is in training mode: call eval() to sample.)

References: He et al. (2016), arXiv 1603.05027; Du & Mordatch (2019), arXiv 1903.08689, sec. 3.3 and
app. A.8 (residual energies, spectral norm); Miyato et al. (2018), Spectral Normalization, arXiv
1802.05957, algorithm 1.
"""

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gradlogp.models.nets.conv import CONV, POOL, channels_last, spatial_rank


class ResidualBlock(nn.Module):
    """One step of the equation above: a -> b channels, every size halved (rounded up)."""

    def __init__(self, spatial: int, a: int, b: int) -> None:
        super().__init__()
        conv = CONV[spatial]
        self.first = conv(a, b, 3, padding=1)
        self.second = conv(b, b, 3, padding=1)
        self.skip = conv(a, b, 1) if a != b else nn.Identity()
        self.pool = POOL[spatial](2, ceil_mode=True)

    def forward(self, h: Tensor) -> Tensor:
        h = self.skip(h) + self.second(F.silu(self.first(F.silu(h))))
        return self.pool(h) if max(h.shape[2:]) > 1 else h  # AvgPool3d refuses a single place


class ResidualTrunk(nn.Module):
    """The blocks, the sum over all places, and a layer to `width` features."""

    def __init__(
        self, shape: Sequence[int], channels: Sequence[int], width: int, spectral: bool = False
    ) -> None:
        super().__init__()
        spatial = spatial_rank(shape)
        self.stem = CONV[spatial](shape[0], channels[0], 3, padding=1)
        self.blocks = nn.Sequential(
            *(ResidualBlock(spatial, a, b) for a, b in itertools.pairwise([channels[0], *channels]))
        )
        self.last = nn.Linear(channels[-1], width)
        channels_last(self, spatial)
        if spectral:
            for module in [m for m in self.modules() if isinstance(m, (nn.Linear, *CONV.values()))]:
                spectral_norm(module)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.last(F.silu(self.blocks(self.stem(x))).flatten(2).sum(2)))

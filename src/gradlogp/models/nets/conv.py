"""Strided convolutions from data to a vector: the trunk of energies and of classifiers, for 1, 2 or
3 spatial dimensions.

With `patch` > 1 the first layer sees patches folded into channels, at a patch-th of every size: at
28x28 and patches of 4 a forward and a backward pass take less than half the time.
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.models.nets.patch import fold, padding

CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
POOL: dict[int, type[nn.AvgPool1d] | type[nn.AvgPool2d] | type[nn.AvgPool3d]] = {
    1: nn.AvgPool1d,
    2: nn.AvgPool2d,
    3: nn.AvgPool3d,
}
MAX_POOL: dict[int, type[nn.MaxPool1d] | type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {
    1: nn.MaxPool1d,
    2: nn.MaxPool2d,
    3: nn.MaxPool3d,
}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}  # what F.interpolate calls it


def spatial_rank(shape: Sequence[int]) -> int:
    """The number of spatial dimensions of data of shape (channels, *sizes)."""
    if len(shape) - 1 not in CONV:
        raise ValueError(
            "convolutions need data of shape (channels, *sizes) with 1 to 3 sizes, got"
            f" {tuple(shape)}; for vectors use an MLP."
        )
    return len(shape) - 1


def channels_last(module: nn.Module, spatial: int) -> None:
    """Lay 2-D weights out channels-last, where convolutions on a CPU are fastest."""
    if spatial == 2:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class ConvTrunk(nn.Module):
    """(B, *shape) -> (B, width). One halving of each size per entry of `channels`; smooth, and
    without normalisation layers.

    An energy is differentiated with respect to its input, so its activation is smooth (SiLU), and
    one example's energy must not depend on the others in the batch, so there is no batch norm.
    """

    def __init__(
        self, shape: Sequence[int], channels: Sequence[int], width: int, patch: int = 1
    ) -> None:
        super().__init__()
        spatial = spatial_rank(shape)
        self.patch = patch
        convs = nn.Sequential(*_stem(spatial, shape[0], channels[0], patch))
        for a, b in itertools.pairwise(channels):
            convs.extend([CONV[spatial](a, b, 3, stride=2, padding=1), nn.SiLU()])
        with torch.no_grad():
            flat = math.prod(convs(self._folded(torch.zeros(1, *shape))).shape[1:])
        self.layers = nn.Sequential(*convs, nn.Flatten(), nn.Linear(flat, width), nn.SiLU())
        channels_last(self, spatial)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self._folded(x))

    def stages(self, x: Tensor) -> list[Tensor]:
        """What each activation leaves, first [B, channels[i], *sizes], at last [B, width]."""
        h = self._folded(x)
        found = []
        for layer in self.layers:
            h = layer(h)
            if isinstance(layer, nn.SiLU):
                found.append(h)
        return found

    def _folded(self, x: Tensor) -> Tensor:
        if self.patch == 1:
            return x
        return fold(F.pad(x, padding(x.shape[2:], self.patch)), self.patch)


def _stem(spatial: int, inner: int, outer: int, patch: int) -> list[nn.Module]:
    """The first layer: of pixels, which it halves in size, or of patches, which it keeps."""
    conv = CONV[spatial]
    if patch == 1:
        return [conv(inner, outer, 5, stride=2, padding=4), nn.SiLU()]
    return [conv(inner * patch**spatial, outer, 3, padding=1), nn.SiLU()]

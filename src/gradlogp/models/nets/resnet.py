r"""A residual trunk for classifiers: (B, *shape) -> (B, channels[-1]), 1 to 3 spatial dimensions.

.. math:: h' = \mathrm{relu}(B C_0 h), \qquad h'' = h' + \mathrm{relu}(B C_2\, \mathrm{relu}(B C_1 h'))

at each entry of `channels`, where C is a convolution, B batch normalisation, and :math:`C_0` of
stride 2 halves every size (the first stage has none); then the mean over all places. The stem
moves by `patch`, so that no other convolution runs at full resolution.

Batch normalisation learns fastest, and a classifier may have it: call eval() before use, and no
example sees its neighbours. An energy may not: see `ResidualTrunk`.

References: He et al. (2016), Deep Residual Learning for Image Recognition, arXiv 1512.03385, eq. 1;
Ioffe & Szegedy (2015), Batch Normalization, arXiv 1502.03167, algorithm 1.
"""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from gradlogp.models.nets.conv import CONV, channels_last, spatial_rank

NORM: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}


def normed(spatial: int, a: int, b: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution a -> b, batch normalisation, ReLU; sizes are kept, or divided by the stride."""
    padding = (kernel - stride + 1) // 2
    conv = CONV[spatial](a, b, kernel, stride, padding, bias=False)
    return nn.Sequential(conv, NORM[spatial](b), nn.ReLU())


class Shortcut(nn.Module):
    """h + inner(h)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor) -> Tensor:
        return h + self.inner(h)


class ResNetTrunk(nn.Module):
    """The stem, a stage for each entry of `channels` (the first keeps its size), and the mean over
    all places.
    """

    def __init__(
        self, shape: Sequence[int], channels: Sequence[int] = (32, 64, 128), patch: int = 2
    ) -> None:
        super().__init__()
        n = spatial_rank(shape)
        if min(shape[1:]) < patch:
            raise ValueError(
                f"a patch of {patch} needs sizes of {patch} or more, got {tuple(shape)}; take a"
                " smaller patch."
            )
        layers = [normed(n, shape[0], channels[0], 2 * patch if patch > 1 else 3, patch)]
        for a, b in itertools.pairwise([channels[0], *channels]):
            if len(layers) > 1:
                layers.append(normed(n, a, b, 3, 2))
            layers.append(nn.Sequential(Shortcut(nn.Sequential(normed(n, b, b), normed(n, b, b)))))
        self.layers = nn.Sequential(*layers)
        channels_last(self, n)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).flatten(2).mean(2)

r"""The network of NCSN: dilated residual stages, coarse context fused into fine detail (RefineNet),
InstanceNorm++.

.. math:: z_c = \gamma_c \frac{h_c - \mu_c}{s_c} + \beta_c + \alpha_c \frac{\mu_c - m}{v}

normalises each channel over space, and gives back what plain instance norm forgets: the channel's
mean :math:`\mu_c`, relative to the mean m and deviation v of the means. With classes,
:math:`\alpha, \beta, \gamma` belong to the class (the conditional variant). No noise level enters:
see `SigmaScaled`. 1 to 3 spatial dimensions, any size.

References: Song & Ermon (2019), arXiv 1907.05600, sec. 4.1 and app. A.1 (InstanceNorm++, dilation
for strides, average for maximum pooling); Lin et al. (2017), RefineNet, arXiv 1611.06612, sec. 3.2
(the fusion).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.models.nets.conv import CONV, LINEAR, POOL, channels_last, spatial_rank
from gradlogp.models.nets.embedding import check_classes, class_rows


class InstanceNormPlus(nn.Module):
    """The equation above: h [B, C, *sizes], row [B] of the class -> [B, C, *sizes]."""

    def __init__(self, channels: int, classes: int = 0, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gains = nn.Parameter(
            torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(channels).repeat(classes + 1, 1)
        )

    def forward(self, h: Tensor, row: Tensor) -> Tensor:
        means = h.flatten(2).mean(2)
        apart = (means - means.mean(1, keepdim=True)) / (
            means.var(1, keepdim=True, correction=0) + self.eps
        ).sqrt()
        gamma, beta, alpha = self.gains[row].chunk(3, 1)
        shape = (*means.shape, *[1] * (h.ndim - 2))
        return F.instance_norm(h, eps=self.eps) * gamma.reshape(shape) + (
            beta + alpha * apart
        ).reshape(shape)


class DilatedBlock(nn.Module):
    """skip(h) + conv(elu(norm(conv(elu(norm(h)))))), a -> b channels; dilated, or halved by an
    average.
    """

    def __init__(
        self, spatial: int, a: int, b: int, classes: int, dilation: int = 1, halve: bool = False
    ) -> None:
        super().__init__()
        conv = CONV[spatial]
        self.norm1 = InstanceNormPlus(a, classes)
        self.conv1 = conv(a, b, 3, padding=dilation, dilation=dilation)
        self.norm2 = InstanceNormPlus(b, classes)
        self.conv2 = conv(b, b, 3, padding=dilation, dilation=dilation)
        self.skip = conv(a, b, 1) if a != b else nn.Identity()
        self.pool = POOL[spatial](2, ceil_mode=True) if halve else nn.Identity()

    def forward(self, h: Tensor, row: Tensor) -> Tensor:
        new = self.conv1(F.elu(self.norm1(h, row)))
        return self.pool(self.skip(h) + self.conv2(F.elu(self.norm2(new, row))))


class Stage(nn.ModuleList):
    """The blocks of one resolution, in turn."""

    def forward(self, h: Tensor, row: Tensor) -> Tensor:
        for block in self:
            h = block(h, row)
        return h


class Residual(nn.Module):
    """h + conv(elu(conv(elu(h))))."""

    def __init__(self, spatial: int, channels: int) -> None:
        super().__init__()
        self.first, self.second = (
            CONV[spatial](channels, channels, 3, padding=1, bias=False) for _ in range(2)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(F.elu(self.first(F.elu(h))))


class Refine(nn.Module):
    """Features of several resolutions, the finest first -> `channels` at the finest: fused, pooled
    in a chain, refined.
    """

    def __init__(self, spatial: int, inputs: Sequence[int], channels: int, chain: int = 2) -> None:
        super().__init__()
        conv = CONV[spatial]
        self.adapt = nn.ModuleList(Residual(spatial, a) for a in inputs)
        self.fuse = nn.ModuleList(conv(a, channels, 3, padding=1) for a in inputs)
        self.chain = nn.ModuleList(
            nn.Sequential(POOL[spatial](5, 1), conv(channels, channels, 3, padding=1, bias=False))
            for _ in range(chain)
        )
        self.last = Residual(spatial, channels)
        self.mode, self.around = LINEAR[spatial], [2, 2] * spatial

    def forward(self, *features: Tensor) -> Tensor:
        sizes = features[0].shape[2:]
        first, *rest = (
            fuse(adapt(f)) for adapt, fuse, f in zip(self.adapt, self.fuse, features, strict=True)
        )
        for part in rest:
            first = first + F.interpolate(part, sizes, mode=self.mode, align_corners=True)
        h = pooled = F.elu(first)
        for link in self.chain:
            pooled = link(F.pad(pooled, self.around))
            h = h + pooled
        return self.last(h)


class RefineNet(nn.Module):
    """x [B, *shape], level [B] (not used), cond [B] -> [B, *shape], zero at the start.

    Four stages: full size at `channels[0]`, then half size at `channels[1]` with dilations 1, 2 and
    4.
    """

    def __init__(
        self, shape: Sequence[int], channels: tuple[int, int] = (32, 64), classes: int = 0
    ) -> None:
        super().__init__()
        n, (fine, coarse) = spatial_rank(shape), channels
        if max(shape[1:]) < 3:
            raise ValueError(
                "a RefineNet normalises over space at half size, so one size must be 3 or more, got"
                f" {tuple(shape)}; take a UNet, or mlp_score."
            )
        self.classes = classes
        self.stem = CONV[n](shape[0], fine, 3, padding=1)
        stages = [
            [(fine, fine, 1, False)] * 2,
            [(fine, coarse, 1, True), (coarse, coarse, 1, False)],
            [(coarse, coarse, 2, False)] * 2,
            [(coarse, coarse, 4, False)] * 2,
        ]
        self.stages = nn.ModuleList(
            Stage(DilatedBlock(n, a, b, classes, d, halve) for a, b, d, halve in stage)
            for stage in stages
        )
        self.refine = nn.ModuleList(
            [
                Refine(n, [coarse], coarse),
                Refine(n, [coarse] * 2, coarse),
                Refine(n, [coarse] * 2, fine),
                Refine(n, [fine] * 2, fine),
            ]
        )
        self.norm = InstanceNormPlus(fine, classes)
        self.head = CONV[n](fine, shape[0], 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        channels_last(self, n)

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        check_classes(cond, self.classes)
        row = class_rows(cond, self.classes, x)
        h, features = self.stem(x), []
        for stage in self.stages:
            h = stage(h, row)
            features.append(h)
        h = self.refine[0](features.pop())
        for refine in self.refine[1:]:
            h = refine(features.pop(), h)
        return self.head(F.elu(self.norm(h, row)))

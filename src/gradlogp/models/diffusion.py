r"""Diffusion models: a network that predicts x0, the noise or the velocity of a process that keeps
the variance, and perhaps how uncertain it is of x0.

.. math:: D(x, \ell) = E[x_0 \mid x], \qquad V(x, \ell) = \frac{\ell^2}{1 + \ell^2}\, \mathrm{sigmoid}(4\, u(x, \ell)) .

At the level :math:`\ell` the network sees :math:`x_t = \alpha x` with :math:`\alpha = 1/\sqrt{1 +
\ell^2}`, and what it predicts becomes the denoised x by `core.parametrise.convert`. V, the variance
of x0 given x, is a share of the largest one, which data N(0, 1) have; the 4 lets it soon be as
small as a pixel that never changes needs. So the reverse step of a chain lies between DDPM's two
fixed variances: at V = 0 is the small one, at the largest V the large one.

References: Ho et al. (2020), arXiv 2006.11239, eq. 11 (eps) and section 3.2 (the two variances);
Salimans & Ho (2022), arXiv 2202.00512, app. D (v); Nichol & Dhariwal (2021), arXiv 2102.09672, eq.
15 (a learned variance between the two).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from gradlogp.core.fields import (
    Denoiser,
    Level,
    NoisyField,
    check_cond,
    check_denoised,
    column,
)
from gradlogp.core.guidance import levels
from gradlogp.core.parametrise import NoiseLevel, convert
from gradlogp.models.nets.mlp import LevelMLP
from gradlogp.models.nets.unet import UNet
from gradlogp.models.score import ScoreModel

Prediction = Literal["x0", "eps", "v"]


@final
@dataclass(frozen=True)
class Moments(NoisyField):
    """The field of any callable (x [B, *shape], sigma [B]) -> the mean and the variance of x0 given
    x, [B, *shape] each; with `cond`, of (x, sigma, cond).
    """

    function: Callable[..., tuple[Tensor, Tensor]]
    cond: Tensor | None = None

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return self.moments(x, sigma)[0]

    def moments(self, x: Tensor, sigma: Level) -> tuple[Tensor, Tensor]:
        mean, variance = self.function(x, levels(x, sigma), *check_cond(self.cond, x))
        return check_denoised(mean, x), variance


class DiffusionModel(ScoreModel):
    """The equations above around any network (x, level [B], cond) -> [B, *shape], with twice the
    channels where the variance is `learned`.
    """

    def __init__(self, net: nn.Module, predicts: Prediction = "eps", learned: bool = False) -> None:
        super().__init__()
        self.net, self.predicts, self.learned = net, predicts, learned

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        return self._ask(x, sigma, cond)[0]

    def moments(
        self, x: Tensor, sigma: Tensor, cond: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """D and V at x [B, *shape], level sigma [B]."""
        denoised, share = self._ask(x, sigma, cond)
        return denoised, column(sigma**2 / (1 + sigma**2), x) * (4 * share).sigmoid()

    def field(self, cond: Tensor | None = None) -> NoisyField:
        return Moments(self.moments, cond) if self.learned else Denoiser(self, cond)

    def _ask(self, x: Tensor, sigma: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        alpha = (1 + sigma**2).rsqrt()
        xt = column(alpha, x) * x
        out = self.net(xt, sigma.log() / 4, cond)
        value, share = out.chunk(2, 1) if self.learned else (out, torch.zeros_like(out))
        return convert(value, xt, self.predicts, "x0", NoiseLevel(alpha, alpha * sigma)), share


def mlp_diffusion(
    shape: int | Sequence[int],
    predicts: Prediction = "eps",
    learned: bool = False,
    width: int = 128,
    blocks: int = 3,
    classes: int = 0,
) -> DiffusionModel:
    """A residual perceptron that predicts x0, eps or v of a process that keeps the variance: for
    vectors.
    """
    times = 2 if learned else 1
    return DiffusionModel(LevelMLP(shape, width, blocks, classes, times=times), predicts, learned)


def unet_diffusion(
    shape: Sequence[int],
    predicts: Prediction = "eps",
    learned: bool = False,
    channels: Sequence[int] = (24, 48),
    blocks: int = 2,
    patch: int = 2,
    classes: int = 0,
) -> DiffusionModel:
    """A UNet that predicts x0, eps or v of a process that keeps the variance, perhaps with a
    variance of its own.
    """
    times = 2 if learned else 1
    return DiffusionModel(
        UNet(shape, channels, blocks, patch, classes, times=times), predicts, learned
    )

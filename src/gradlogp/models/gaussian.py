r"""Noise-conditional scores, energies and diffusion models with the Gaussian of the data wired in.

With the data's mean :math:`\mu` and covariance :math:`C = \sum_i \lambda_i u_i u_i^T` the best
linear denoiser is Wiener's filter, and the network only learns what it leaves over,

.. math:: D(x, \sigma) = \mu + C (C + \sigma^2 I)^{-1} (x - \mu) + c_{out} F(c_{in} x, \tfrac14 \ln \sigma),
          \qquad c_{out}^2 = \frac1d \sum_i \frac{\lambda_i \sigma^2}{\lambda_i + \sigma^2} ,

where :math:`c_{out}^2` is that filter's mean squared error, so that F again predicts unit variance
at every level. Integrated over x, with a potential :math:`\phi` whose gradient takes the place of F,

.. math:: E(x, \sigma) = -\log \mathcal N(x; \mu, C + \sigma^2 I)
          - \frac{c_{out}}{c_{in} \sigma^2}\, \phi(c_{in} x, \tfrac14 \ln\sigma) .

A diffusion model says also how uncertain it is of x0, by a second output u of the network,

.. math:: V(x, \sigma) = c_{out}^2 \exp(u(c_{in} x, \tfrac14 \ln\sigma)) .

At F = u = 0 its bound on the likelihood is the Gaussian's own likelihood, but for the number of its
steps, whose entries are independent of each other.

The usual preconditioning (`models.score`) is the case :math:`C = \sigma_d^2 I`. Entries of natural
pictures lean on each other so much that networks of minutes stay above the linear denoiser's loss
with it; with this one they begin there.

References: Karras et al. (2022), Elucidating the Design Space, arXiv 2206.00364, eq. 7 and table 1
(the case of one variance); Nichol & Dhariwal (2021), arXiv 2102.09672, eq. 15 (a learned variance);
Wiener (1949), Extrapolation, Interpolation and Smoothing of Stationary
Time Series.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField, column
from gradlogp.core.inputs import in_own_precision
from gradlogp.core.spectrum import Spectrum
from gradlogp.models.diffusion import Moments
from gradlogp.models.noisy import PreconditionedEnergy
from gradlogp.models.noisy_gaussians import NoisyGaussians
from gradlogp.models.score import Preconditioned

LARGEST = 4096  # entries of an example: the directions are a table of their square


def check_entries(shape: Sequence[int]) -> None:
    """UserError where a covariance of examples of `shape` would be too large a table."""
    if (dim := math.prod(shape)) > LARGEST:
        raise UserError(
            f"a covariance is for examples of at most {LARGEST} entries, got {dim} of"
            f" {tuple(shape)}; use `unet_score` or `unet_noisy_energy`."
        )


class NoisyGaussian(nn.Module):
    """N(mu, C + sigma^2 I) at every sigma [B], for x [B, *shape]; N(0, sigma_data^2 I) until `fit`
    to examples. The directions take d^2 numbers; UserError above 4096 entries.
    """

    mean: Tensor
    variances: Tensor
    directions: Tensor

    def __init__(self, shape: Sequence[int], sigma_data: float) -> None:
        super().__init__()
        check_entries(shape)
        dim = math.prod(shape)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variances", torch.full((dim,), float(sigma_data) ** 2))
        self.register_buffer("directions", torch.eye(dim))

    def fit(self, x: Tensor, cond: Tensor | None = None) -> None:
        """To examples x [n, *shape] of whatever class, in closed form."""
        found = Spectrum.fit(x)
        self.mean.copy_(found.mean)
        self.variances.copy_(found.variances)
        self.directions.copy_(found.directions)

    def denoise(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """E[x0 | x], Wiener's filter, of whatever class."""
        gain = self.variances / (self.variances + sigma[:, None] ** 2)
        z = self._coordinates(x) * gain
        with in_own_precision(x):
            return (self.mean + z @ self.directions.T).view_as(x)

    def error(self, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """Root mean squared error of an entry after `denoise`, [B]."""
        noise = sigma[:, None] ** 2
        return (self.variances * noise / (self.variances + noise)).mean(1).sqrt()

    def energy(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        """-log density, [B]."""
        total = self.variances + sigma[:, None] ** 2
        return ((self._coordinates(x) ** 2 / total) + (2 * math.pi * total).log()).sum(1) / 2

    def _coordinates(self, x: Tensor) -> Tensor:
        with in_own_precision(x):
            return (x.flatten(1) - self.mean) @ self.directions


Wired = NoisyGaussian | NoisyGaussians


class GaussianScore(Preconditioned):
    """The first equation around any network (x, level [B], cond) -> [B, *shape]; `gaussian.fit` it."""

    def __init__(self, net: nn.Module, gaussian: Wired, sigma_data: float) -> None:
        super().__init__(net, sigma_data)
        self.gaussian = gaussian

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.beyond(self.ask(x, sigma, cond), x, sigma, cond)

    def ask(self, x: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
        """What the network says of x."""
        total = column(sigma**2 + self.sigma_data**2, x)
        out: Tensor = self.net(x / total.sqrt(), sigma.log() / 4, cond)
        return out

    def beyond(self, out: Tensor, x: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
        """`out` errors of the linear denoiser beyond it."""
        linear = self.gaussian.denoise(x, sigma, cond)
        return torch.addcmul(linear, column(self.gaussian.error(sigma, cond), x), out)


class GaussianDiffusion(GaussianScore):
    """The first and the third equation around any network (x, level [B], cond) -> twice the channels
    of x; `gaussian.fit` it.
    """

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.moments(x, sigma, cond)[0]

    def moments(
        self, x: Tensor, sigma: Tensor, cond: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """D and V at x [B, *shape], level sigma [B]."""
        out, u = self.ask(x, sigma, cond).chunk(2, 1)
        variance = column(self.gaussian.error(sigma, cond) ** 2, x) * u.exp()
        return self.beyond(out, x, sigma, cond), variance

    def field(self, cond: Tensor | None = None) -> NoisyField:
        return Moments(self.moments, cond)


class GaussianEnergy(PreconditionedEnergy):
    """The second equation around any potential (x, level [B], cond) -> [B]; `gaussian.fit` it."""

    def __init__(self, potential: nn.Module, gaussian: Wired, sigma_data: float) -> None:
        super().__init__(potential, sigma_data)
        self.gaussian = gaussian

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        total = (sigma**2 + self.sigma_data**2).sqrt()
        phi = self.potential(x / column(total, x), sigma.log() / 4, cond)
        scale = self.gaussian.error(sigma, cond) * total / sigma**2
        return self.gaussian.energy(x, sigma, cond) - scale * phi


@overload
def with_gaussian(
    model: Preconditioned, shape: Sequence[int], sigma_data: float, classes: int = 0
) -> GaussianScore: ...
@overload
def with_gaussian(
    model: PreconditionedEnergy, shape: Sequence[int], sigma_data: float, classes: int = 0
) -> GaussianEnergy: ...
def with_gaussian(model: Any, shape: Sequence[int], sigma_data: float, classes: int = 0) -> Any:
    """The network of `model`, for examples of `shape` and standard deviation `sigma_data`, with their
    Gaussian wired in, or that of each class where it is told one of `classes`; not yet fitted.
    """
    wired = not_yet_fitted(shape, sigma_data, classes)
    if isinstance(model, PreconditionedEnergy):
        return GaussianEnergy(model.potential, wired, sigma_data)
    return GaussianScore(model.net, wired, sigma_data)


def gaussian_diffusion(
    net: nn.Module, shape: Sequence[int], sigma_data: float, classes: int = 0
) -> GaussianDiffusion:
    """A diffusion model by `net` (x, level, cond) -> twice the channels of x, otherwise the same."""
    return GaussianDiffusion(net, not_yet_fitted(shape, sigma_data, classes), sigma_data)


def not_yet_fitted(shape: Sequence[int], sigma_data: float, classes: int) -> Wired:
    check_entries(shape)
    if classes:
        return NoisyGaussians(shape, sigma_data, classes)
    return NoisyGaussian(shape, sigma_data)


def fit_gaussian(model: nn.Module, examples: Callable[[], Batch]) -> None:
    """Fit the Gaussians inside `model`, if it has any, to `examples()` and their classes."""
    for part in model.modules():
        if isinstance(part, Wired):
            part.fit(*examples())

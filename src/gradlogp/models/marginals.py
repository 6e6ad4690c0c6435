r"""Diffusion models with the histogram of each entry wired in, for data of whole numbers.

Entry i has one of the values :math:`v_1 < \dots < v_K` on [-1, 1], each with its share
:math:`\pi_i(v)` of the examples. Bayes' rule says what the noisy entry tells, and the network only
what the others add, as a tilt of two numbers,

.. math:: p(x_{0,i} = v \mid x) \propto \pi_i(v)\, \exp\Big(-\frac{(x_i - v)^2}{2\ell^2} + a_i v + b_i v^2\Big),
          \qquad (a, b) = 4\, F(x / \sqrt{1 + \ell^2}, \tfrac14 \ln \ell) ,

D and V are the mean and variance of that. At F = 0 the bound on the likelihood is that of the
histograms, up to the steps' being Gaussian; at low noise V vanishes once x_i tells one value from
the next, so the decoder is as sharp as the data. Two values, 1/2 each, are `models.score.TwoValued`.

The exponent is linear in (a, b), so the derivatives of the moments are moments, with :math:`u = v - D`
and :math:`c_n = E[u^n \mid x]`,

.. math:: \partial_a D = c_2, \quad \partial_b D = c_3 + 2 D c_2, \quad
          \partial_a V = c_3, \quad \partial_b V = c_4 - c_2^2 + 2 D c_3 .

References: Brown (1986), Fundamentals of Statistical Exponential Families (moments of tilts);
Nichol & Dhariwal (2021), arXiv 2102.09672, eq. 15 (a learned variance); Kingma et al. (2021), arXiv
2107.00630, eq. 11 (a decoder by Bayes' rule).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField, column
from gradlogp.core.inputs import in_own_precision
from gradlogp.models.diffusion import Moments
from gradlogp.models.score import ScoreModel

AT_ONCE = 131_072  # shares that are held together: they stay in the cache
SHARPNESS = 4.0  # of a tilt by the network's unit outputs


class Marginals(nn.Module):
    """The shares of `values` numbers from -1 to 1 in each of `dim` entries; alike until `fit`."""

    log_shares: Tensor
    values: Tensor

    def __init__(self, dim: int, values: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.linspace(-1, 1, values))
        self.register_buffer("log_shares", torch.zeros(dim, values))
        self.finest = 2 / (values - 1) / 8

    def fit(self, x: Tensor) -> None:
        """To examples x [n, *shape] on [-1, 1], with one more count for each value."""
        steps = len(self.values) - 1
        codes = ((x.flatten(1) + 1) / 2 * steps).round().long().T
        counts = torch.ones_like(self.log_shares)
        counts.scatter_add_(1, codes, torch.ones_like(codes, dtype=counts.dtype))
        self.log_shares.copy_((counts / counts.sum(1, keepdim=True)).log())

    def moments(self, x: Tensor, sigma: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of x0 given x [B, *shape], sigma [B] and the tilt (a, b), of x's shape
        each; the standard deviation is never below an eighth of the step from value to value, where
        a decoder's bin holds all of it.
        """
        precision = column(sigma**-2, x)
        slope = (a + x * precision).flatten(1)
        curvature = (b - precision / 2).flatten(1)
        with in_own_precision(x):
            found = TiltedMoments.apply(slope, curvature, self.log_shares, self.values)
        mean, variance = found
        return mean.view_as(x), variance.clamp_min(self.finest**2).view_as(x)


class TiltedMoments(torch.autograd.Function):
    r"""Mean and variance, [B, d], of :math:`p_i(v) \propto \pi_i(v) \exp(a_i v + b_i v^2)`, by a, b
    [B, d], log shares [d, K] and values [K]. Differentiable once, in a and b.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, log_shares: Tensor, values: Tensor) -> Any:
        columns = max(1, AT_ONCE // len(values))
        parts = zip(
            a.split(columns, 1), b.split(columns, 1), log_shares.split(columns), strict=True
        )
        found = [_by_rows(*part, values=values) for part in parts]
        mean, second, third, fourth = (torch.cat(part, 1) for part in zip(*found, strict=True))
        ctx.save_for_backward(mean, second, third, fourth)
        return mean, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        mean, second, third, fourth = ctx.saved_tensors
        of_mean, of_variance = gradients
        to_a = of_mean * second + of_variance * third
        by_square = of_variance * (fourth - second.square()) + of_mean * third
        return to_a, by_square + 2 * mean * to_a, None, None


def _by_rows(a: Tensor, b: Tensor, log_shares: Tensor, values: Tensor) -> list[Tensor]:
    """`central_moments` of some rows at a time."""
    rows = max(1, AT_ONCE // log_shares.numel())
    parts = zip(a.split(rows), b.split(rows), strict=True)
    found = [central_moments(*part, log_shares, values) for part in parts]
    return [torch.cat(part) for part in zip(*found, strict=True)]


def central_moments(
    a: Tensor, b: Tensor, log_shares: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean and the second, third and fourth moments about it, [B, d] each.

    The parabola b v^2 + a v is taken about its summit where it has one: at little noise its terms are
    huge, and in single precision only their difference would be lost.
    """
    summit = torch.where(b < 0, -a / (2 * b).clamp(max=-1e-6), 0).clamp(-1, 1)
    slope = a + 2 * b * summit
    exponent = torch.addcmul(log_shares, slope[..., None], values)
    parabola = (values - summit[..., None]).square_().mul_(b[..., None])
    p = exponent.add_(parabola).softmax(-1)
    mean = p @ values
    u = values - mean[..., None]
    p = p.mul_(u).mul_(u)
    second = p.sum(-1)
    third = p.mul_(u).sum(-1)
    return mean, second, third, p.mul_(u).sum(-1)


class MarginalDiffusion(ScoreModel):
    """The tilt above by any network (x, level [B], cond) -> twice the channels of x; `marginals.fit`
    it.
    """

    def __init__(self, net: nn.Module, marginals: Marginals) -> None:
        super().__init__()
        self.net, self.marginals = net, marginals

    def forward(self, x: Tensor, sigma: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.moments(x, sigma, cond)[0]

    def moments(
        self, x: Tensor, sigma: Tensor, cond: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """D and V at x [B, *shape], level sigma [B]."""
        seen = column((1 + sigma**2).rsqrt(), x) * x
        a, b = (SHARPNESS * self.net(seen, sigma.log() / 4, cond)).chunk(2, 1)
        return self.marginals.moments(x, sigma, a, b)

    def field(self, cond: Tensor | None = None) -> NoisyField:
        return Moments(self.moments, cond)


def fit_marginals(model: nn.Module, examples: Callable[[], Batch]) -> None:
    """Fit the marginals inside `model`, if it has any, to `examples()` [n, *shape]."""
    for part in model.modules():
        if isinstance(part, Marginals):
            part.fit(examples().x)


def check_values(x: Tensor, values: int) -> None:
    """UserError where an entry of x is none of the `values` equally spaced numbers from -1 to 1."""
    steps = (x.flatten() + 1) / 2 * (values - 1)
    nearest = steps.round().clamp(0, values - 1)
    if not bool(((steps - nearest).abs() < 0.01).all()):
        raise UserError(
            f"marginals=true is for examples of {values} values, but these have others; set bins to"
            " the number of values that an entry can have, or marginals=false."
        )

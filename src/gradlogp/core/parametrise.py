r"""One network, many names for what it predicts. With :math:`x_t = \alpha x_0 + \sigma\varepsilon`,

.. math:: s(x_t) = -\varepsilon/\sigma = (\alpha \hat x_0 - x_t)/\sigma^2, \qquad v = \alpha\varepsilon - \sigma x_0 .

The first is Tweedie's formula. alpha and sigma broadcast against x_t [B, *shape].

References: Efron (2011), Tweedie's Formula; Salimans & Ho (2022), Progressive Distillation, arXiv 2202.00512 (v).
"""

from torch import Tensor

Scale = Tensor | float


def score_from_x0(x0: Tensor, xt: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return (alpha * x0 - xt) / sigma**2


def x0_from_score(score: Tensor, xt: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return (xt + sigma**2 * score) / alpha


def score_from_eps(eps: Tensor, sigma: Scale) -> Tensor:
    return -eps / sigma


def eps_from_score(score: Tensor, sigma: Scale) -> Tensor:
    return -sigma * score


def x0_from_eps(eps: Tensor, xt: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return (xt - sigma * eps) / alpha


def eps_from_x0(x0: Tensor, xt: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return (xt - alpha * x0) / sigma


def v_from_eps_x0(eps: Tensor, x0: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return alpha * eps - sigma * x0


def x0_from_v(v: Tensor, xt: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return (alpha * xt - sigma * v) / (alpha**2 + sigma**2)


def eps_from_v(v: Tensor, xt: Tensor, alpha: Scale, sigma: Scale) -> Tensor:
    return (sigma * xt + alpha * v) / (alpha**2 + sigma**2)

r"""The entropy of a law from its samples, by the distance to the nearest neighbour.

Of n samples in d dimensions, with :math:`\rho_i` the distance from sample i to the nearest other
one,

.. math:: \hat H = \frac1n \sum_i \left[ d \log\rho_i + \log\big((n - 1)\, V_d\big) + \gamma \right],
          \qquad V_d = \pi^{d/2} / \Gamma(d/2 + 1),

in nats; gamma is Euler's constant. Asymptotically unbiased; at finite n it errs towards too much
entropy, more so in many dimensions.

References: Kozachenko & Leonenko (1987), Sample Estimate of the Entropy of a Random Vector;
Beirlant et al. (1997), Nonparametric Entropy Estimation: An Overview.
"""

import math

import torch
from torch import Tensor

EULER = 0.5772156649015329


def nearest_neighbour_entropy(x: Tensor) -> Tensor:
    """Each sample's part [n] of the entropy in nats of the law of x [n, *shape]: their mean
    estimates it.

    Differentiable in x. Two equal samples have no distance, so theirs is bounded below by the
    smallest normal number.
    """
    flat = x.flatten(1)
    n, d = flat.shape
    if n < 2:
        raise ValueError(
            f"a nearest neighbour needs 2 samples or more, got {n}; raise the batch size."
        )
    with torch.no_grad():
        nearest = torch.cdist(flat, flat).fill_diagonal_(math.inf).argmin(1)
    square = (flat - flat[nearest]).square().sum(1).clamp(min=torch.finfo(x.dtype).tiny)
    log_ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
    return d / 2 * square.log() + math.log(n - 1) + log_ball + EULER

r"""Frechet distance between Gaussian fits, the squared 2-Wasserstein distance of two normal laws.

    FD = |mean_a - mean_b|^2 + tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2

and what two samples of n and m points of *one* law score (z: features in the eigenbasis of their
covariance):

    E FD = (1/n + 1/m) * [tr C + 1/2 sum_ij (E z_i^2 z_j^2 - d_ij l_i^2) / (l_i + l_j)] + O(1/n^2)

which for Gaussian features has l_i l_j (1 + d_ij) above the line, and for C = I in d dimensions is
(d^2 + 5 d) / 4.

References: Dowson & Landau (1982); Heusel et al. (2017), arXiv 1706.08500. Never to be called FID
unless the feature network is theirs: values do not compare across networks.
"""

import math

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, double, finite
from gradlogp.metrics.base import (
    GROUPS,
    Measure,
    Metric,
    feature_pair,
    features,
    jackknife,
    matrix_pair,
    scarce,
    too_few,
)

BLOCK = 1000  # rows of features whose moments are taken at once


def frechet(mean_a: Numbers, cov_a: Numbers, mean_b: Numbers, cov_b: Numbers) -> float:
    """Closed form for means [d] and covariances [d, d], which may be singular; in float64."""
    given = [finite(x, "moments") for x in (mean_a, cov_a, mean_b, cov_b)]
    d = len(given[0])
    if [x.shape for x in given] != [(d,), (d, d)] * 2:
        raise ValueError(
            "`frechet` needs means [d] and covariances [d, d], but has shapes "
            f"{[list(x.shape) for x in given]}; for samples use frechet_distance."
        )
    mean_a, cov_a, mean_b, cov_b = given
    overlap = torch.linalg.svdvals(
        _factor(cov_a).T @ _factor(cov_b)
    ).sum()  # = tr (A^1/2 B A^1/2)^1/2, without its sqrt(eps)
    return max(
        float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * overlap), 0.0
    )


def frechet_distance(a: Numbers, b: Numbers) -> float:
    """FD of two feature matrices [n, d] and [m, d]."""
    return _distance(*matrix_pair(a, b))


def reference_fd(x: Numbers, n: int, m: int) -> float:
    """The FD to expect between samples of n and m points of the law of features `x` [many, d].

    Uses measured fourth moments, so it holds for any law: the Gaussian formula is 10 to 25 % low
    for exponential features. Within 1.5 % for n, m >= 8 d where the law is known well; from few
    rows of `x` it comes out low, by 7 % with 8 d of them, 2 % with 30 d.
    """
    x = features(x, "x")
    values, basis = torch.linalg.eigh(_moments(x, "x")[1])
    squares = ((x - x.mean(0)) @ basis).square()
    variance = squares.T @ squares / len(x) - values.square().diag()  # of the products z_i z_j
    pairs = values[:, None] + values
    live = pairs > 1e-12 * pairs.max()  # dead features contribute nothing
    return float((1 / n + 1 / m) * (values.sum() + (variance[live] / pairs[live]).sum() / 2))


def fd(real: Numbers, fake: Numbers, network: str = "unnamed") -> Measure:
    """FD of features [n, d] and [m, d], and what equal distributions score; jackknife standard
    error over both samples.

    The error is right away from that reference and up to 1.7 times too wide at it, where FD is
    quadratic in the error.
    """
    real, fake = feature_pair(real, fake, at_least=3)
    (n, d), m = real.shape, len(fake)
    groups = min(GROUPS, n, m)
    keep = [(torch.arange(n) % groups != g, torch.arange(m) % groups != g) for g in range(groups)]
    stderr = jackknife(
        torch.tensor([_distance(real[a], fake[b]) for a, b in keep], dtype=torch.float64)
    )
    return FD.measure(
        _distance(real, fake),
        stderr,
        m,
        f"Gaussian fits of {d} features of network {network}, {n} real and {m} generated, "
        f"jackknife standard error over {groups} groups"
        + (f"; {scarce(min(n, m), d, 'features')}" if too_few(min(n, m), d) else ""),
        reference_fd(real, n, m),
    )


def _distance(a: Tensor, b: Tensor) -> float:
    return frechet(*_moments(a, "real"), *_moments(b, "fake"))


def _moments(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d] of features [n, d], in float64; UserError where some are not
    finite.

    Rows are taken in blocks that fit a cache, so that no second copy of x is held, each less the
    mean of the first: what that is off by costs a factor n / BLOCK in rounding at most.
    """
    shift = double(x[:BLOCK]).mean(0)
    total = torch.zeros_like(shift)
    products = shift.new_zeros(len(shift), len(shift))
    for block in x.split(BLOCK):
        z = double(block) - shift
        total += z.sum(0)
        products.addmm_(z.T, z)
    if not math.isfinite(float(total.sum())):
        finite(x, name)
    off = total / len(x)
    return shift + off, (products - len(x) * torch.outer(off, off)) / (len(x) - 1)


def _factor(cov: Tensor) -> Tensor:
    """F with F F^T the covariance."""
    values, basis = torch.linalg.eigh(cov)
    return basis * values.clamp(min=0).sqrt()


FD = Metric(
    key="fd",
    call=fd,
    takes=("features", "features"),
    says="Frechet distance between Gaussian fits of features",
    name="Fréchet distance",
    meaning="How far the crowd of drawn pictures is from the crowd of real ones, in the features of"
    " the evaluation classifier. The one number to look at first. Even real pictures do not score 0,"
    " since no two samples are the same.",
    better="lower",
)

r"""Bits per dimension of a run's test pictures, by the probability-flow ODE of its score, beside
what closed forms reach.

A picture is whole numbers, :math:`k \in \{0, \dots, K\}`, which the model met as :math:`2k/K - 1`.
So number k stands for the bin of width 2 / K around that point, and with u uniform in the bin

.. math:: -\log_2 P(k) = -\log_2 \int_{\mathrm{bin}} p \;\le\; E_u\Big[\frac{-\log p(u)}{\ln 2}\Big] + D \log_2 \frac{K}{2} .

p is the law that the flow carries from its prior to the finest level, so it is normalised whatever
the network says, and the bound holds at any finest level. By default that is
:math:`\frac{2}{K\sqrt{12}}`, noise with the variance of a bin: the best for a pixel that never
changes. Finer, a model that met pictures on the grid sees the gaps of the grid.

The two references are densities of the training pictures: a histogram for each pixel alone, and one
Gaussian of all of them.

References: Song et al. (2021), arXiv 2011.13456, section 4.3 and app. D.2; Theis et al. (2016),
arXiv 1511.01844, section 3.1.
"""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.calculus import draw_probes
from gradlogp.core.errors import UserError
from gradlogp.core.noise import EDM
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness.fit import Fitted
from gradlogp.harness.record import Rows, row
from gradlogp.metrics import Measure
from gradlogp.metrics.base import scarce, standard_error, too_few
from gradlogp.tasks.likelihood import Quantised, bits_per_dim, measured_prior, ode_likelihood
from gradlogp.tasks.ode import cut

BATCH = 50


def likelihood(
    fitted: Fitted,
    data: Dataset,
    n: int = 100,
    probes: int | None = 1,
    levels: int = 40,
    finest: float | None = None,
    seed: int = 0,
    listener: Listener | None = None,
) -> Rows:
    """Bits per dimension of the first `n` test pictures, and of the two closed forms on the same;
    the rows join results.json.

    probes: Hutchinson's, drawn once for each picture; None is the exact divergence, a backward pass
    for every pixel. levels: nodes of RK4, four evaluations each. finest: by default the noise with
    the variance of a bin. Raises UserError for energies, which are generators here, and for data
    that are not whole numbers.
    """
    began = time.perf_counter()
    test = data.test[slice(0, n)]
    bins = grid(test)
    x = bins.dequantise(test.x, seeded(seed, "dequantise"))
    directions = None if probes is None else draw_probes(x, probes, seeded(seed, "probes"))
    coarsest = fitted.recipe.coarsest_level()
    finest = finest or 1 / (bins.data_scale * math.sqrt(12))
    ladder = EDM(finest, coarsest).ladder(levels)
    prior = measured_prior(fitted.spec.coordinates.to_model(data.train.scaled()), coarsest)
    nats, evaluations = _nats(fitted, test, x, directions, ladder, prior, listener or Silent())
    references = _references(data.train, test, x, bins)
    ours = _measure(
        "bits_per_dim",
        bits_per_dim(nats, x[0].numel(), bins.data_scale),
        f"{_by_flow(ladder, probes, fitted.recipe.conditional)}; {words(bins)}",
        min(r.value for r in references),
    )
    seconds = (time.perf_counter() - began) / len(x)
    rows = [
        row(ours, seed=seed, seconds=seconds, evaluations=evaluations),
        *(row(r, seed=seed) for r in references),
    ]
    with fitted.run as run:
        run.update_results(rows)
    return rows


def _references(train: Split, test: Split, x: Tensor, bins: Quantised) -> list[Measure]:
    """The two closed forms: each pixel alone, and all pixels as one Gaussian."""
    return [
        _measure(
            "bits_per_dim_histogram",
            histogram_bits(train, test),
            "a histogram for each pixel alone, from the training pictures with one more count for"
            " each number",
        ),
        _measure(
            "bits_per_dim_gaussian",
            gaussian_bits(train, x, bins),
            f"a Gaussian of the training pictures with its whole covariance{_few(train)};"
            f" {words(bins)}",
        ),
    ]


def _by_flow(ladder: Sequence[float], probes: int | None, conditional: bool) -> str:
    """How the flow was followed, in words."""
    divergence = (
        "exact divergence"
        if probes is None
        else f"Hutchinson's divergence, {probes} Rademacher probe(s) a picture"
    )
    return (
        f"bound by the probability-flow ODE, RK4 over {len(ladder)} levels from {ladder[0]:g} to"
        f" {ladder[-1]:.3g}, {divergence}, a Gaussian prior measured for each"
        f" pixel{', given its class, unguided' if conditional else ''}"
    )


def grid(split: Split) -> Quantised:
    """The bins around the points 2 k / levels - 1."""
    if split.x.dtype != torch.uint8:
        raise UserError(
            f"bits per dimension are of pictures in whole numbers, got {split.x.dtype}; take a data"
            " set of pictures."
        )
    half = 1 / split.max_value
    return Quantised(split.max_value + 1, -1 - half, 1 + half)


def _few(train: Split) -> str:
    """What is said of the Gaussian where the training pictures are few for their pixels."""
    n, dim = len(train), train.x[0].numel()
    return f", shrunk: {scarce(n, dim, 'pixels')}" if too_few(n, dim) else ""


def words(bins: Quantised) -> str:
    return (
        f"uniform dequantisation: {bins.values} numbers, bins of {bins.width:.4g} around"
        f" the points from -1 to 1, data scale {bins.data_scale:g}; standard error over"
        " pictures"
    )


def _nats(
    fitted: Fitted,
    test: Split,
    x: Tensor,
    directions: Tensor | None,
    ladder: list[float],
    prior: Any,
    listener: Listener,
) -> tuple[Tensor, int]:
    """-log p(x), [n], batch by batch, and the evaluations for each picture, where a backward pass
    counts as one.
    """
    nats = []
    labels = test.labels if fitted.recipe.conditional else None
    evaluations = 0
    steps = len(cut([math.log(level) for level in reversed(ladder)])) - 1
    listener.begin("likelihood", (4 * steps + 1) * len(x))  # evaluations by RK4
    for rows in torch.arange(len(x)).split(BATCH):
        cond = None if labels is None else labels[rows].to(fitted.device)
        probes = None if directions is None else directions[:, rows].to(fitted.device)
        found = ode_likelihood(
            fitted.model,
            x[rows].to(fitted.device),
            ladder,
            prior,
            probes,
            cond=cond,
            told=partial(listener.advance, len(rows)),
        )
        evaluations = found.evaluations * (1 + (x[0].numel() if probes is None else len(probes)))
        nats.append(found.nats.cpu())
    listener.end()
    return torch.cat(nats), evaluations


def histogram_bits(train: Split, test: Split) -> Tensor:
    """Bits per dimension, [n], under the histogram of each pixel in the training pictures with one
    more count for each number.
    """
    codes, values = test.x.flatten(1).long(), train.max_value + 1
    cell = values * torch.arange(codes.shape[1])  # where the counts of each pixel begin
    pixels = train.x.flatten(1)
    parts = [
        torch.bincount((some.long() + cell).flatten(), minlength=values * len(cell))
        for some in pixels.split(4096)
    ]
    counts = torch.stack(parts).sum(0).reshape(-1, values).double() + 1  # [D, values]
    return -(counts / counts.sum(1, keepdim=True)).log2().T.gather(0, codes).mean(1)


def gaussian_bits(train: Split, x: Tensor, bins: Quantised) -> Tensor:
    """Bits per dimension, [n], of dequantised x under the Gaussian of the dequantised training
    pictures; shrunk where they are few for their pixels.
    """
    flat = (2 * train.scaled() - 1).flatten(1).double()
    dim = flat.shape[1]
    covariance = flat.T.cov(correction=0).reshape(dim, dim)
    if too_few(len(flat), dim):
        covariance = shrunk(covariance, flat)
    factor = torch.linalg.cholesky(
        covariance + bins.width**2 / 12 * torch.eye(dim, dtype=torch.float64)
    )
    white = torch.linalg.solve_triangular(
        factor, (x.flatten(1).double() - flat.mean(0)).T, upper=False
    )
    nats = (
        white.square().sum(0) / 2 + factor.diagonal().log().sum() + dim / 2 * math.log(2 * math.pi)
    )
    return bits_per_dim(nats, dim, bins.data_scale)


def shrunk(covariance: Tensor, rows: Tensor) -> Tensor:
    r"""The covariance [D, D] of rows [n, D], drawn towards its mean variance m by the share that
    loses least,

    .. math:: \rho = \min\Big(1, \frac{\sum_i \|z_i z_i^T - C\|^2}{n^2 \|C - m I\|^2}\Big) .

    Ledoit & Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices,
    section 3.3.
    """
    z = rows - rows.mean(0)
    target = covariance.diagonal().mean() * torch.eye(
        len(covariance), dtype=rows.dtype, device=rows.device
    )
    noise = z.square().sum(1).square().sum() - len(z) * covariance.square().sum()
    share = (noise / len(z) ** 2 / (covariance - target).square().sum()).clamp(0, 1)
    return torch.lerp(covariance, target, share)


def _measure(metric: str, bits: Tensor, protocol: str, trivial: float | None = None) -> Measure:
    return Measure(
        metric,
        float(bits.mean()),
        standard_error(bits),
        len(bits),
        "lower",
        protocol,
        trivial=trivial,
    )

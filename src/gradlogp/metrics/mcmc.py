r"""What a set of chains is worth: autocorrelation, effective sample size and split R-hat, per
quantity.

Traces are [chains, steps, *quantities]: x, an energy, any function of x at each step. With
:math:`\rho_t` the autocorrelation of C chains of N steps, the effective sample size is

.. math:: \mathrm{ESS} = \frac{CN}{-1 + 2\sum_k P_k}, \qquad P_k = \rho_{2k} + \rho_{2k+1} ,

summed while P_k is positive and made to fall (Geyer's initial monotone sequence: for a reversible
chain the true P_k are positive and fall, the estimated ones are noise after a while), and at most
CN log10(CN). For several chains :math:`\rho_t` is taken about their common mean, with W the mean
variance within chains and :math:`\hat V = \frac{N-1}N W + B` that of all, B the variance of their
means, so that chains that disagree are worth little.

R-hat is :math:`\sqrt{\hat V / W}` of the chains cut into halves: 1 where all agree, below 1.01 is
good. It needs no reversibility and compares means only; `rank` replaces values by normal scores of
their ranks and takes the worse of them and of the distances from the median, which sees heavy tails
and wrong scales too.

References: Geyer (1992), Practical Markov Chain Monte Carlo, section 3.3; Gelman et al. (2013),
Bayesian Data Analysis, section 11.4; Vehtari et al. (2021), Rank-normalization, folding, and
localization, arXiv 1903.08008, eq. 3, 10-14.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics.base import GROUPS, Measure, finite, jackknife


def traces(x: Tensor, name: str) -> Tensor:
    """Traces [chains, steps, *quantities] in float64; errors for too few steps, NaN or inf."""
    if x.ndim < 2:
        raise ValueError(
            f"`{name}` needs traces of shape [chains, steps, *quantities], but has {list(x.shape)};"
            " one chain is x[None]."
        )
    if x.shape[1] < 4:
        raise UserError(
            f"`{name}` needs at least 4 steps of each chain, but has {x.shape[1]}; run for longer."
        )
    return finite(x, name)


def autocovariance(x: Tensor) -> Tensor:
    """Of each chain about its own mean, over N for every lag; [chains, steps, *q] to [chains, lags,
    *q], by FFT.
    """
    n = x.shape[1]
    spectrum = torch.fft.rfft(x - x.mean(1, keepdim=True), 2 * n, dim=1)
    return torch.fft.irfft(spectrum.abs().square(), 2 * n, dim=1)[:, :n] / n


def autocorrelation(x: Tensor) -> Tensor:
    """Of each chain, 1 at lag 0; [chains, steps, *q] to [chains, lags, *q]; NaN for a chain that
    never moves.
    """
    covariance = autocovariance(traces(x, "x"))
    return covariance / covariance[:, :1]


def _variances(x: Tensor) -> tuple[Tensor, Tensor]:
    """(W within chains, V of all), [*q]."""
    within, n = x.var(1).mean(0), x.shape[1]
    between = x.mean(1).var(0) if len(x) > 1 else torch.zeros_like(within)
    return within, within * (n - 1) / n + between


def effective_samples(x: Tensor) -> Tensor:
    """The effective sample size of each quantity; [chains, steps, *q] to [*q]; NaN where nothing
    moves.
    """
    x = traces(x, "x")
    within, whole = _variances(x)
    chains, n = x.shape[:2]
    total = chains * n
    rho = 1 - (within - autocovariance(x).mean(0) * n / (n - 1)) / whole  # [lags, *q]
    rho[0] = 1
    pairs = rho[: n // 2 * 2].unflatten(0, (-1, 2)).sum(1)
    falling = torch.where((pairs > 0).cumprod(0).bool(), pairs, 0).cummin(0).values
    return _moving(x, total / (2 * falling.sum(0) - 1).clamp(min=1 / math.log10(total)))


def split_rhat(x: Tensor, rank: bool = False) -> Tensor:
    """Split R-hat of each quantity; [chains, steps, *q] to [*q]; NaN where nothing moves."""
    x = traces(x, "x")
    if rank:
        return torch.maximum(
            split_rhat(normal_scores(x)), split_rhat(normal_scores((x - _median(x)).abs()))
        )
    half = x.shape[1] // 2
    within, whole = _variances(torch.cat([x[:, :half], x[:, -half:]]))
    return _moving(x, (whole / within).sqrt())


def _moving(x: Tensor, value: Tensor) -> Tensor:
    """`value` [*q], NaN for the quantities that are one number throughout."""
    flat = x.flatten(0, 1)
    return torch.where(flat.amax(0) > flat.amin(0), value, torch.nan)


def normal_scores(x: Tensor) -> Tensor:
    """Values replaced by the normal quantiles of their ranks over all chains and steps."""
    flat = x.flatten(0, 1)
    ranks = flat.argsort(0).argsort(0).to(x) + 1
    return torch.special.ndtri((ranks - 0.375) / (len(flat) + 0.25)).view_as(x)


def _median(x: Tensor) -> Tensor:
    return x.flatten(0, 1).median(0).values


def ess(chains: Tensor) -> Measure:
    """The smallest effective sample size of any quantity of traces [chains, steps, *q]; spread:
    jackknife over chains.
    """
    x = traces(chains, "chains")
    value, spread, groups = _worst(
        x, lambda part: effective_samples(part) * len(x) / len(part), smallest=True
    )
    return Measure(
        "ess",
        value,
        spread,
        len(x),
        "higher",
        "Geyer's initial monotone sequence, smallest of "
        f"{_protocol(x)}, jackknife standard error over {groups} groups of chains",
    )


def rhat(chains: Tensor) -> Measure:
    """The largest split R-hat of any quantity of traces [chains, steps, *q]; jackknife standard error over
    chains.
    """
    x = traces(chains, "chains")
    value, spread, groups = _worst(x, split_rhat, smallest=False)
    return Measure(
        "rhat",
        value,
        spread,
        len(x),
        "lower",
        "split R-hat, largest of "
        f"{_protocol(x)}, jackknife standard error over {groups} groups of chains",
        1.0,
    )


def _protocol(x: Tensor) -> str:
    return f"{x[0, 0].numel()} quantities, {len(x)} chains of {x.shape[1]} steps"


def _worst(
    x: Tensor, of: Callable[[Tensor], Tensor], smallest: bool
) -> tuple[float, float | None, int]:
    """(the worst of all quantities that move, its jackknife standard error or None for one chain,
    the groups).
    """

    def worst(part: Tensor) -> Tensor:
        each = of(part).flatten()
        each = each[~each.isnan()]
        if not len(each):
            raise UserError(
                "expected chains that move, got constant traces; see the acceptance, or leave"
                " pinned coordinates out."
            )
        return each.min() if smallest else each.max()

    groups = min(GROUPS, len(x))
    dealt = torch.arange(len(x), device=x.device) % groups
    spread = (
        jackknife(torch.stack([worst(x[dealt != g]) for g in range(groups)]))
        if groups > 1
        else None
    )
    return float(worst(x)), spread, groups

r"""What a set of chains is worth: autocorrelation, effective sample size and split R-hat, per
quantity.

Traces are [chains, steps, *quantities]: x, an energy, any function of x at each step. All chains
are cut into halves first, so that one that drifts is seen to disagree with itself. With
:math:`\rho_t` the autocorrelation of C half-chains of N steps, the effective sample size is

.. math:: \mathrm{ESS} = \frac{CN}{-1 + 2\sum_{k < L} P_k + \rho_{2L}}, \qquad P_k = \rho_{2k} + \rho_{2k+1} ,

with :math:`P_L` the first that is not positive, and all before it made to fall (Geyer's initial
monotone sequence: for a reversible chain the true P_k are positive and fall, the estimated ones are
noise after a while), and at most CN log10(CN). :math:`\rho_t` is taken about the common mean, with
W the mean variance within half-chains and :math:`\hat V = \frac{N-1}N W + B` that of all, B the
variance of their means, so that chains that disagree are worth little.

R-hat is :math:`\sqrt{\hat V / W}`: 1 where all agree, below 1.01 is good. It needs no reversibility
and compares means only; `rank` replaces values by normal scores of their ranks (ties share their
mean rank) and takes the worse of them and of the distances from the median, which sees heavy tails
and wrong scales too. Both are the definitions of Stan and of ArviZ (`ess` there with method "mean",
`rhat` with "split" and "rank").

A quantity that never moves has neither: it is NaN, and the worst of all is that of those that move.

References: Geyer (1992), Practical Markov Chain Monte Carlo, section 3.3; Gelman et al. (2013),
Bayesian Data Analysis, section 11.4; Vehtari et al. (2021), Rank-normalization, folding, and
localization, arXiv 1903.08008, eq. 3, 10-14.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, finite, real
from gradlogp.core.errors import UserError
from gradlogp.metrics.base import Measure, Metric, subsample_error


def traces(x: Numbers, name: str) -> Tensor:
    """Traces [chains, steps, *quantities] in float64; errors for too few steps, NaN or inf."""
    x = real(x, name)
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


def autocorrelation(x: Numbers) -> Tensor:
    """Of each chain, 1 at lag 0; [chains, steps, *q] to [chains, lags, *q]; NaN for a chain that
    never moves.
    """
    covariance = autocovariance(_scaled(traces(x, "x"), 1))
    return covariance / covariance[:, :1]


def _scaled(x: Tensor, *dims: int) -> Tensor:
    """x less its first value, over the largest difference: squares of 1e-200 and of 1e200 are lost
    otherwise.
    """
    first = x
    for dim in dims:
        first = first.narrow(dim, 0, 1)
    away = x / 2 - first / 2
    largest = away.abs().amax(dims, keepdim=True)
    return away / torch.where(largest > 0, largest, 1)


def _halves(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    return torch.cat([x[:, :half], x[:, -half:]])


def _variances(x: Tensor) -> tuple[Tensor, Tensor]:
    """(W within chains, V of all), [*q]."""
    within, n = x.var(1).mean(0), x.shape[1]
    return within, within * (n - 1) / n + x.mean(1).var(0)


def effective_samples(x: Numbers) -> Tensor:
    """The effective sample size of each quantity; [chains, steps, *q] to [*q]; NaN where nothing
    moves.
    """
    x = _halves(traces(x, "x"))
    z = _scaled(x, 0, 1)
    within, whole = _variances(z)
    total, n = z.shape[0] * z.shape[1], z.shape[1]
    rho = 1 - (within - autocovariance(z).mean(0)) / whole  # [lags, *q]
    rho[0] = 1
    pairs = rho[: max(2, (n - 1) // 2 * 2)].unflatten(0, (-1, 2)).sum(1)
    before = (pairs[:-1] > 0).cumprod(0)  # the last one is but begun
    falling = torch.where(before.bool(), pairs[:-1], 0).cummin(0).values if len(before) else before
    last = rho[: 2 * len(pairs) : 2].gather(0, before.sum(0, keepdim=True))[0]
    time = 2 * falling.sum(0) - 1 + last.clamp(min=0)
    return _moving(x, total / time.clamp(min=1 / math.log10(total)))


def split_rhat(x: Numbers, rank: bool = False) -> Tensor:
    """Split R-hat of each quantity; [chains, steps, *q] to [*q]; NaN where nothing moves."""
    x = _halves(traces(x, "x"))
    if not rank:
        return _rhat(x)
    return torch.maximum(_rhat(normal_scores(x)), _rhat(normal_scores((x - _median(x)).abs())))


def _rhat(x: Tensor) -> Tensor:
    within, whole = _variances(_scaled(x, 0, 1))
    return _moving(x, (whole / within).sqrt())


def _moving(x: Tensor, value: Tensor) -> Tensor:
    """`value` [*q], NaN for the quantities that are one number throughout."""
    flat = x.flatten(0, 1)
    return torch.where(flat.amax(0) > flat.amin(0), value, torch.nan)


def normal_scores(x: Tensor) -> Tensor:
    """Values replaced by the normal quantiles of their ranks over all chains and steps; ties share
    their mean rank.
    """
    flat = (
        x.flatten(0, 1).reshape(x.shape[0] * x.shape[1], -1).T.contiguous()
    )  # [quantities, chains x steps]
    ordered = flat.sort(1).values
    below, up_to = (torch.searchsorted(ordered, flat, right=side) for side in (False, True))
    ranks = (below + up_to + 1).to(x) / 2
    return torch.special.ndtri((ranks - 0.375) / (flat.shape[1] + 0.25)).T.reshape(x.shape)


def _median(x: Tensor) -> Tensor:
    ordered = x.flatten(0, 1).sort(0).values
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def ess(chains: Numbers) -> Measure:
    """The smallest effective sample size of any quantity of traces [chains, steps, *quantities]
    that moves.
    """
    x = traces(chains, "chains")
    value, error = _worst(x, lambda part: effective_samples(part) * len(x) / len(part), torch.amin)
    protocol = f"Geyer's initial monotone sequence of half-chains, smallest of {_protocol(x)}"
    return ESS.measure(value, error, len(x), protocol)


def rhat(chains: Numbers) -> Measure:
    """The largest split R-hat of any quantity of traces [chains, steps, *quantities] that moves."""
    x = traces(chains, "chains")
    value, error = _worst(x, split_rhat, torch.amax)
    protocol = f"split R-hat, largest of {_protocol(x)}"
    return RHAT.measure(value, error, len(x), protocol, 1.0)


def _protocol(x: Tensor) -> str:
    stuck = int((x.amax((0, 1)) == x.amin((0, 1))).sum())
    left_out = f" that move ({stuck} that never do left out)" if stuck else ""
    return (
        f"{x[0, 0].numel() - stuck} quantities{left_out}, {len(x)} chains of {x.shape[1]} steps,"
        " standard error by random quarters of the chains"
    )


def _worst(
    x: Tensor, of: Callable[[Tensor], Tensor], pick: Callable[[Tensor], Tensor]
) -> tuple[float, float | None]:
    """The worst of all quantities that move, and its standard error: None for one chain, or where
    half of the chains never move.
    """

    def worst(part: Tensor) -> Tensor:
        each = of(part).flatten()
        each = each[~each.isnan()]
        return pick(each) if len(each) else each.new_tensor(torch.nan)

    value = float(worst(x))
    if math.isnan(value):
        raise UserError(
            "expected chains that move, got constant traces; see the acceptance, or leave"
            " pinned coordinates out."
        )
    error = float(subsample_error(worst, x)) if len(x) > 1 else math.nan
    return value, None if math.isnan(error) else error


ESS = Metric(
    key="ess",
    call=ess,
    takes=("chains",),
    says="effective sample size of the worst of the traces [chains, steps, quantities]",
    name="effective samples",
    meaning="How many independent draws the chains are worth: a chain that moves slowly says the"
    " same thing many times.",
    better="higher",
)
RHAT = Metric(
    key="rhat",
    call=rhat,
    takes=("chains",),
    says="split R-hat of the worst of the traces, 1 where all chains agree",
    name="agreement of chains",
    meaning="Whether chains that began apart tell the same story: 1 is alike, above 1.01 is too"
    " early to stop.",
    better="lower",
)

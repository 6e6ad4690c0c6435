"""Kernel distance: the unbiased squared maximum mean discrepancy with a cubic kernel.

    KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_ij k(x_i, y_j),    k(x, y) = (x . y / d + 1)^3

Zero in expectation for two samples of one law, so half of such values are negative: they are not
clipped.

Reference: Binkowski et al. (2018), arXiv 1801.01401, section 4.
"""

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers
from gradlogp.metrics.base import GROUPS, Measure, Metric, feature_pair, jackknife

CELLS = 2**22  # pairs held at once: 32 MiB


def kid(real: Numbers, fake: Numbers, network: str = "unnamed") -> Measure:
    """KID of features [n, d] and [m, d]; jackknife standard error over both samples (too wide, by
    up to 1.4, near zero).
    """
    real, fake = feature_pair(real, fake, at_least=3)
    (n, d), m = real.shape, len(fake)
    groups = min(GROUPS, n, m)
    tables = [_pairs(x, y, groups) for x, y in ((real, real), (fake, fake), (real, fake))]
    whole = [sums.sum() / counts.sum() for sums, counts in tables]
    left_out = [_without_each(sums) / _without_each(counts) for sums, counts in tables]
    return KID.measure(
        float(_combine(whole)),
        jackknife(_combine(left_out)),
        m,
        f"unbiased MMD^2, kernel (x.y/{d} + 1)^3, {d} features of network {network}, {n} real and "
        f"{m} generated, jackknife standard error over {groups} groups",
        0.0,
    )


def _kernel(dot: Tensor, d: int) -> Tensor:
    return (dot / d + 1) ** 3


def _pairs(x: Tensor, y: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Sum of the kernel and number of pairs between every two groups, [groups, groups]; no point
    meets itself.
    """
    d = x.shape[1]
    group = torch.arange(len(y), device=y.device) % groups
    rows = torch.stack([_sums(x[g::groups], y) for g in range(groups)])
    sums = rows.new_zeros(groups, groups).index_add(1, group, rows)
    sizes = [
        torch.tensor([float(len(z[g::groups])) for g in range(groups)]).to(sums) for z in (x, y)
    ]
    counts = sizes[0].outer(sizes[1])
    if x is y:
        self_meeting = sums.new_zeros(groups).index_add(0, group, _kernel(x.square().sum(1), d))
        return sums - self_meeting.diag(), counts - sizes[0].diag()
    return sums, counts


def _sums(x: Tensor, y: Tensor) -> Tensor:
    """The sum of the kernel of each y with all x, in blocks of the table."""
    blocks = x.split(max(1, CELLS // len(y)))
    return torch.stack([_kernel(part @ y.T, x.shape[1]).sum(0) for part in blocks]).sum(0)


def _without_each(table: Tensor) -> Tensor:
    """The total of a [groups, groups] table without row and column g, for each g."""
    return table.sum() - table.sum(0) - table.sum(1) + table.diagonal()


def _combine(means: list[Tensor]) -> Tensor:
    return means[0] + means[1] - 2 * means[2]


KID = Metric(
    key="kid",
    call=kid,
    takes=("features", "features"),
    says="unbiased kernel distance (MMD^2) of features, near 0 if equal",
    name="kernel distance",
    meaning="A second opinion on the same question, which assumes less. Around 0 the crowds cannot"
    " be told apart; slightly below 0 is luck.",
    better="lower",
)

r"""How well a score tells anomalies from what is normal. High score = anomalous, always.

    AUROC = P(score of an anomaly > score of a normal one), ties count half         .5 for a coin
    AUPRC = average precision = sum_i (R_i - R_{i-1}) P_i over falling thresholds   pi, the share of anomalies, for a coin
    FPR95 = share of normal ones that lie above the threshold which catches 95 % of the anomalies

The threshold of FPR95 is itself an order statistic of the anomalies, and their scatter is the
larger part of its variance: f (1 - f) / n + .05 x .95 / m (p_normal(c) / p_anomalous(c))^2 in the
limit. The bootstrap of an order statistic has a closed form, so no samples are drawn:

    P(threshold <= x_(j)) = P(Binomial(m, j / m) > k),    var = E f_j (1 - f_j) / n + var f_j

AUPRC depends on the share of anomalies, so it is never quoted without it: at prevalence pi not even
the worst order falls below 1 + (1 - pi)/pi ln(1 - pi). Two unit Gaussians at distance D have AUROC
Phi(D / sqrt 2).

References: DeLong et al. (1988), Biometrics 44, eq. 3 to 6 (the error, and the paired test); Boyd
et al. (2012), Unachievable region in precision-recall space, ICML, theorem 1 (the lowest AUPRC);
Maritz & Jarrett (1978), J. Am. Stat. Assoc. 73 (the exact bootstrap of an order statistic).
"""

import math

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers, finite, real
from gradlogp.metrics.base import GROUPS, Measure, Metric, jackknife


def auroc(normal: Numbers, anomalous: Numbers) -> Measure:
    """AUROC of scores [n] and [m]; standard error by DeLong, None where a side has one example."""
    normal = _scores(normal, "normal")
    anomalous = _scores(anomalous, "anomalous")
    value, stderr = _delong(*_placements(normal, anomalous))
    return AUROC.measure(
        value,
        None if math.isnan(stderr) else stderr,
        len(normal) + len(anomalous),
        f"high score = anomaly, {len(normal)} normal and {len(anomalous)} anomalous, standard error"
        " by DeLong",
        trivial=0.5,
    )


def auroc_difference(
    normal: tuple[Numbers, Numbers], anomalous: tuple[Numbers, Numbers]
) -> tuple[float, float]:
    """AUROC of the first score minus that of the second *on the same examples*, and its standard
    error (DeLong, paired), NaN where a side has one example.
    """
    pairs = zip(normal, anomalous, strict=True)
    (v0, w0), (v1, w1) = (
        _placements(_scores(a, "normal"), _scores(b, "anomalous")) for a, b in pairs
    )
    return _delong(v0 - v1, w0 - w1)


def auprc(normal: Numbers, anomalous: Numbers) -> Measure:
    """Average precision of scores [n] and [m], with the prevalence as its trivial value; jackknife
    standard error.
    """
    normal = _scores(normal, "normal")
    anomalous = _scores(anomalous, "anomalous")
    groups = min(GROUPS, len(normal), len(anomalous))
    left_out = (
        torch.tensor(
            [
                _average_precision(_without(normal, g, groups), _without(anomalous, g, groups))
                for g in range(groups)
            ]
        )
        if groups > 1
        else None
    )
    share = len(anomalous) / (len(normal) + len(anomalous))
    return AUPRC.measure(
        _average_precision(normal, anomalous),
        None if left_out is None else jackknife(left_out),
        len(normal) + len(anomalous),
        f"average precision at prevalence {share:.4g} (a coin's value; no order falls below"
        f" {lowest_auprc(share):.3g}), {len(normal)} normal and {len(anomalous)} anomalous,"
        f" jackknife standard error over {groups} groups",
        trivial=share,
    )


def lowest_auprc(share: float) -> float:
    """The average precision of the worst order at prevalence `share`, in the limit of many
    examples.
    """
    return 1 + (1 - share) / share * math.log1p(-share) if share < 1 else 1.0


def fpr95(normal: Numbers, anomalous: Numbers) -> Measure:
    """False alarms where 95 % of the anomalies are caught; standard error by the exact bootstrap,
    the threshold's included.
    """
    normal = _scores(normal, "normal")
    anomalous = _scores(anomalous, "anomalous")
    n, m = len(normal), len(anomalous)
    place = int(0.05 * m)  # at least 95 % lie at or above it
    alarms = 1 - torch.searchsorted(normal.sort().values, anomalous.sort().values).double() / n
    return FPR95.measure(
        float(alarms[place]),
        _alarm_error(alarms, place, n) if m > 1 else None,
        n + m,
        f"share of {n} normal at or above the threshold that catches 95 % of {m} anomalous,"
        " standard error over both by the exact bootstrap",
        trivial=0.95,
    )


def _alarm_error(alarms: Tensor, place: int, n: int) -> float:
    """From the share of false alarms at each anomaly as threshold [m], the threshold being number
    `place`.
    """
    from scipy.special import bdtrc

    m = len(alarms)
    share = torch.arange(m + 1, dtype=torch.float64) / m
    weight = torch.from_numpy(bdtrc(place, m, share.numpy())).diff().to(alarms)
    mean = weight @ alarms
    variance = weight @ (alarms - mean).square() + weight @ (alarms * (1 - alarms)) / n
    return float(variance.sqrt())


def _scores(x: Numbers, name: str) -> Tensor:
    scores = real(x, name)
    if scores.ndim != 1:
        raise ValueError(
            f"`{name}` needs one score per example, shape [n], but has {list(scores.shape)};"
            " flatten or average it."
        )
    return finite(scores, name).contiguous()


def _placements(normal: Tensor, anomalous: Tensor) -> tuple[Tensor, Tensor]:
    """For every anomaly the share of normals below it [m], and for every normal the share of
    anomalies above it [n].
    """
    return _below(anomalous, normal), 1 - _below(normal, anomalous)


def _below(x: Tensor, others: Tensor) -> Tensor:
    """The share of `others` below each x, ties half."""
    ordered = others.sort().values
    left, right = (torch.searchsorted(ordered, x, right=side) for side in (False, True))
    return (left + right).double() / (2 * len(others))


def _delong(anomalous: Tensor, normal: Tensor) -> tuple[float, float]:
    """Mean placement and its standard error: the variances over anomalies and over normals add; NaN
    where one of them has one example.
    """
    if min(len(anomalous), len(normal)) < 2:
        return float(anomalous.mean()), math.nan
    variance = anomalous.var() / len(anomalous) + normal.var() / len(normal)
    return float(anomalous.mean()), float(variance.sqrt())


def _average_precision(normal: Tensor, anomalous: Tensor) -> float:
    from sklearn.metrics import average_precision_score

    truth = torch.cat([torch.zeros(len(normal)), torch.ones(len(anomalous))])
    return float(
        average_precision_score(truth.numpy(), torch.cat([normal, anomalous]).cpu().numpy())
    )


def _without(x: Tensor, group: int, groups: int) -> Tensor:
    return x[torch.arange(len(x)) % groups != group]


AUROC = Metric(
    key="auroc",
    call=auroc,
    takes=("scores", "scores"),
    says="chance that an anomaly scores above a normal one",
    name="AUROC",
    meaning="The chance that an anomaly gets a higher score than a normal example; 0.5 is a coin.",
    better="higher",
)
AUPRC = Metric(
    key="auprc",
    call=auprc,
    takes=("scores", "scores"),
    says="average precision of the anomalies, beside their prevalence",
    name="AUPRC",
    meaning="The average precision of the anomalies. A coin scores their share, so read it beside"
    " that.",
    better="higher",
)
FPR95 = Metric(
    key="fpr95",
    call=fpr95,
    takes=("scores", "scores"),
    says="false alarms where 95 % of the anomalies are caught",
    name="false alarms at 95 %",
    meaning="The share of normal examples that is alarmed about when 95 % of the anomalies are"
    " caught.",
    better="lower",
)

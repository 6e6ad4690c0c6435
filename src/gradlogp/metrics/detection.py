r"""How well a score tells anomalies from what is normal. High score = anomalous, always.

    AUROC = P(score of an anomaly > score of a normal one), ties count half         .5 for a coin
    AUPRC = average precision = sum_i (R_i - R_{i-1}) P_i over falling thresholds   pi, the share of anomalies, for a coin
    FPR95 = share of normal ones that lie above the threshold which catches 95 % of the anomalies

AUPRC depends on the share of anomalies, so it is never quoted without it: at prevalence pi not even
the worst order falls below 1 + (1 - pi)/pi ln(1 - pi). Two unit Gaussians at distance D have AUROC
Phi(D / sqrt 2).

References: DeLong et al. (1988), Biometrics 44, eq. 3 to 6 (the spread, and the paired test); Boyd
et al. (2012), Unachievable region in precision-recall space, ICML, theorem 1 (the lowest AUPRC).
"""

import math

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.metrics.base import GROUPS, Measure, finite, jackknife


def auroc(normal: Tensor, anomalous: Tensor) -> Measure:
    """AUROC of scores [n] and [m]; spread by DeLong."""
    normal = _scores(normal, "normal")
    anomalous = _scores(anomalous, "anomalous")
    value, spread = _delong(*_placements(normal, anomalous))
    return Measure(
        "auroc",
        value,
        spread,
        len(normal) + len(anomalous),
        "higher",
        f"high score = anomaly, {len(normal)} normal and {len(anomalous)} anomalous, spread:"
        " standard error by DeLong",
        trivial=0.5,
    )


def auroc_difference(
    normal: tuple[Tensor, Tensor], anomalous: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """AUROC of the first score minus that of the second *on the same examples*, and its standard
    error (DeLong, paired).
    """
    pairs = zip(normal, anomalous, strict=True)
    (v0, w0), (v1, w1) = (
        _placements(_scores(a, "normal"), _scores(b, "anomalous")) for a, b in pairs
    )
    return _delong(v0 - v1, w0 - w1)


def auprc(normal: Tensor, anomalous: Tensor) -> Measure:
    """Average precision of scores [n] and [m], with the prevalence as its ceiling; spread:
    jackknife over groups.
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
    return Measure(
        "auprc",
        _average_precision(normal, anomalous),
        None if left_out is None else jackknife(left_out),
        len(normal) + len(anomalous),
        "higher",
        f"average precision at prevalence {share:.4g} (a coin's value; no order falls below"
        f" {lowest_auprc(share):.3g}), {len(normal)} normal and {len(anomalous)} anomalous, spread:"
        f" jackknife standard error over {groups} groups",
        trivial=share,
    )


def lowest_auprc(share: float) -> float:
    """The average precision of the worst order at prevalence `share`, in the limit of many
    examples.
    """
    return 1 + (1 - share) / share * math.log1p(-share) if share < 1 else 1.0


def fpr95(normal: Tensor, anomalous: Tensor) -> Measure:
    """False alarms where 95 % of the anomalies are caught; binomial standard error, at the threshold that
    was found.
    """
    normal = _scores(normal, "normal")
    anomalous = _scores(anomalous, "anomalous")
    threshold = anomalous.sort().values[
        int(0.05 * len(anomalous))
    ]  # at least 95 % lie at or above it
    value = float((normal >= threshold).double().mean())
    return Measure(
        "fpr95",
        value,
        math.sqrt(value * (1 - value) / len(normal)),
        len(normal) + len(anomalous),
        "lower",
        f"share of {len(normal)} normal at or above the threshold that catches 95 % of"
        f" {len(anomalous)} anomalous, binomial standard error",
        trivial=0.95,
    )


def _scores(x: Tensor, name: str) -> Tensor:
    if x.ndim != 1:
        raise ValueError(
            f"`{name}` needs one score per example, shape [n], but has {list(x.shape)}; flatten or"
            " average it."
        )
    return finite(x, name)


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
    """Mean placement and its standard error: the variances over anomalies and over normals add."""
    if min(len(anomalous), len(normal)) < 2:
        raise UserError(
            f"a spread needs two anomalies and two normal examples, got {len(anomalous)} and"
            f" {len(normal)}; add some."
        )
    return float(anomalous.mean()), float(
        (anomalous.var() / len(anomalous) + normal.var() / len(normal)).sqrt()
    )


def _average_precision(normal: Tensor, anomalous: Tensor) -> float:
    from sklearn.metrics import average_precision_score

    truth = torch.cat([torch.zeros(len(normal)), torch.ones(len(anomalous))])
    return float(
        average_precision_score(truth.numpy(), torch.cat([normal, anomalous]).cpu().numpy())
    )


def _without(x: Tensor, group: int, groups: int) -> Tensor:
    return x[torch.arange(len(x)) % groups != group]

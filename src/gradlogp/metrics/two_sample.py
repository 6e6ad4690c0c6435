r"""Can real and generated be told apart? Two-sample tests by classifiers, .5 = they cannot.

    1-NNA = share of all points whose nearest other point is of their own kind      below .5: copies of the real ones
    C2ST  = held-out accuracy of a logistic regression on features, 5 folds         says by how much, where it is linear

References: Lopez-Paz & Oquab (2017), Revisiting Classifier Two-Sample Tests, arXiv 1610.06545; Yang
et al. (2019), PointFlow, arXiv 1906.12320, section 5.1 (1-NNA of generative models).
"""

import math

import torch
from torch import Tensor

from gradlogp.metrics.base import Measure, feature_pair

FOLDS = 5


def one_nn(real: Tensor, fake: Tensor, network: str = "unnamed") -> Measure:
    """Leave-one-out 1-nearest-neighbour accuracy on features [n, d] each; as many real as fake are
    used.
    """
    real, fake, n = _even(real, fake)
    points, kind = torch.cat([real, fake]), torch.arange(2 * n) >= n
    nearest = torch.cat([_nearest_other(points, rows) for rows in torch.arange(2 * n).split(1000)])
    value = float((kind[nearest] == kind).double().mean())
    return Measure(
        "1nna",
        value,
        _binomial(value, 2 * n),
        n,
        "lower",
        f"leave-one-out, {real.shape[1]} features of network {network}, {n} real and {n} generated,"
        " binomial standard error; far below .5 means copies",
        0.5,
        1.0,
    )


def _nearest_other(points: Tensor, rows: Tensor) -> Tensor:
    distance = torch.cdist(points[rows], points)
    distance[torch.arange(len(rows)), rows] = math.inf
    return distance.argmin(1)


def c2st(real: Tensor, fake: Tensor, network: str = "unnamed") -> Measure:
    """Held-out accuracy of a standardised logistic regression on features [n, d] each, over 5
    folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    real, fake, n = _even(real, fake, FOLDS + 1)
    x = torch.cat([real, fake]).cpu().numpy()
    kind = (torch.arange(2 * n) >= n).numpy()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    value = float(cross_val_score(model, x, kind, cv=folds).mean())
    return Measure(
        "c2st",
        value,
        _binomial(value, 2 * n),
        n,
        "lower",
        f"logistic regression on {real.shape[1]} standardised features of network {network},"
        f" {FOLDS} folds, {n} real and {n} generated, binomial standard error",
        0.5,
        1.0,
    )


def _even(real: Tensor, fake: Tensor, at_least: int = 3) -> tuple[Tensor, Tensor, int]:
    real, fake = feature_pair(real, fake, at_least)
    n = min(len(real), len(fake))
    return real[:n], fake[:n], n


def _binomial(share: float, n: int) -> float:
    return math.sqrt(share * (1 - share) / n)

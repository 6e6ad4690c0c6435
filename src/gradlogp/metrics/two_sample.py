r"""Can real and generated be told apart? Two-sample tests by classifiers, .5 = they cannot.

    1-NNA = share of all points whose nearest other point is of their own kind      below .5: copies of the real ones
    C2ST  = held-out accuracy of a logistic regression on features, 5 folds         says by how much, where it is linear

References: Lopez-Paz & Oquab (2017), Revisiting Classifier Two-Sample Tests, arXiv 1610.06545; Yang
et al. (2019), PointFlow, arXiv 1906.12320, section 5.1 (1-NNA of generative models).
"""

import math

import torch
from torch import Tensor

from gradlogp.core.arrays import Numbers
from gradlogp.metrics.base import Measure, Metric, feature_pair, subsample_error

FOLDS = 5


def one_nn(real: Numbers, fake: Numbers, network: str = "unnamed") -> Measure:
    """Leave-one-out 1-nearest-neighbour accuracy on features [n, d] each; as many real as fake are
    used.
    """
    real, fake, n = _even(real, fake)
    return ONE_NN.measure(
        float(_own_kind(real, fake)),
        float(subsample_error(_own_kind, real, fake)),
        n,
        f"leave-one-out, {real.shape[1]} features of network {network}, {n} real and {n} generated,"
        " standard error by random quarters; far below .5 means copies",
        0.5,
        1.0,
    )


def _own_kind(real: Tensor, fake: Tensor) -> Tensor:
    """Share of all points whose nearest other is of their own kind, []."""
    points, kind = torch.cat([real, fake]), torch.arange(2 * len(real)) >= len(real)
    nearest = torch.cat(
        [_nearest_other(points, rows) for rows in torch.arange(len(kind)).split(1000)]
    )
    return (kind[nearest.cpu()] == kind).double().mean()


def _nearest_other(points: Tensor, rows: Tensor) -> Tensor:
    distance = torch.cdist(points[rows], points)
    distance[torch.arange(len(rows)), rows] = math.inf
    return distance.argmin(1)


def c2st(real: Numbers, fake: Numbers, network: str = "unnamed") -> Measure:
    """Held-out accuracy of a standardised logistic regression on features [n, d] each, over 5
    folds.
    """
    real, fake, n = _even(real, fake, FOLDS + 1)
    return C2ST.measure(
        float(_told_apart(real, fake)),
        float(subsample_error(_told_apart, real, fake, count=2)) if n >= 2 * (FOLDS + 1) else None,
        n,
        f"logistic regression on {real.shape[1]} standardised features of network {network},"
        f" {FOLDS} folds, {n} real and {n} generated, standard error by random halves",
        0.5,
        1.0,
    )


def _told_apart(real: Tensor, fake: Tensor) -> Tensor:
    """The accuracy over the folds, []."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = torch.cat([real, fake]).cpu().numpy()
    kind = (torch.arange(len(x)) >= len(real)).numpy()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return torch.tensor(cross_val_score(model, x, kind, cv=folds).mean(), dtype=torch.float64)


def _even(real: Numbers, fake: Numbers, at_least: int = 3) -> tuple[Tensor, Tensor, int]:
    real, fake = feature_pair(real, fake, at_least)
    n = min(len(real), len(fake))
    return real[:n], fake[:n], n


ONE_NN = Metric(
    key="1nna",
    call=one_nn,
    takes=("features", "features"),
    says="share whose nearest neighbour is of its own kind, .5 if equal",
    name="told apart by neighbours",
    meaning="Of all pictures, real and drawn, the share whose nearest other one is of their own"
    " kind. 0.5: nobody can tell them apart. Far below 0.5: copies.",
    better="none",
    aim=0.5,
)
C2ST = Metric(
    key="c2st",
    call=c2st,
    takes=("features", "features"),
    says="accuracy of a classifier of real against generated, .5 if equal",
    name="told apart by a classifier",
    meaning="How often a simple classifier can tell drawn from real; 0.5 is a coin.",
    better="lower",
)

"""Numbers that say how good samples, restored images and labels are, each with its spread, its
protocol and its floor.

A feature network is received, never chosen here: any callable from images (n, c, h, w) in [0, 1] to
features (n, d), and what follows takes its output. Values of two networks do not compare, so every
protocol names its own.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from gradlogp.metrics import (
    bins,
    calibration,
    classes,
    detection,
    frechet,
    image,
    kid,
    mcmc,
    memory,
    prdc,
    two_sample,
)
from gradlogp.metrics.base import Measure

__all__ = ["METRICS", "Measure", "Metric", "generative"]


class Metric(NamedTuple):
    """A member of the table: what it is called with, in order, what it computes, and one line about
    it.
    """

    call: Callable[..., Measure]
    takes: tuple[str, ...]
    says: str


METRICS = {
    "fd": Metric(
        frechet.fd, ("features", "features"), "Frechet distance between Gaussian fits of features"
    ),
    "kid": Metric(
        kid.kid,
        ("features", "features"),
        "unbiased kernel distance (MMD^2) of features, near 0 if equal",
    ),
    "precision": Metric(
        prdc.precision, ("features", "features"), "share of generated that lie among the real"
    ),
    "recall": Metric(
        prdc.recall, ("features", "features"), "share of real that lie among the generated"
    ),
    "density": Metric(
        prdc.density, ("features", "features"), "how densely real surrounds generated, 1 if equal"
    ),
    "coverage": Metric(
        prdc.coverage, ("features", "features"), "share of real with a generated neighbour"
    ),
    "1nna": Metric(
        two_sample.one_nn,
        ("features", "features"),
        "share whose nearest neighbour is of its own kind, .5 if equal",
    ),
    "ndb": Metric(
        bins.ndb,
        ("features", "features"),
        "share of bins of the real that are drawn too often or rarely",
    ),
    "c2st": Metric(
        two_sample.c2st,
        ("features", "features"),
        "accuracy of a classifier of real against generated, .5 if equal",
    ),
    "psnr": Metric(
        image.psnr, ("images", "images"), "peak signal-to-noise ratio of restored images, dB"
    ),
    "ssim": Metric(
        image.ssim, ("images", "images"), "structural similarity of restored images, 1 if identical"
    ),
    "class_entropy": Metric(
        classes.class_entropy, ("labels",), "entropy of the predicted classes, nats"
    ),
    "inception_score": Metric(
        classes.inception_score,
        ("logits",),
        "1 to the number of classes, by the domain's classifier",
    ),
    "agreement": Metric(
        classes.agreement, ("labels", "labels"), "share of samples of the class that was asked for"
    ),
    "memorisation": Metric(
        memory.memorisation,
        ("images", "images", "images"),
        "distance to the training set, generated over test: 0 copies, 1 fresh",
    ),
    "auroc": Metric(
        detection.auroc, ("scores", "scores"), "chance that an anomaly scores above a normal one"
    ),
    "auprc": Metric(
        detection.auprc,
        ("scores", "scores"),
        "average precision of the anomalies, beside their prevalence",
    ),
    "fpr95": Metric(
        detection.fpr95, ("scores", "scores"), "false alarms where 95 % of the anomalies are caught"
    ),
    "accuracy": Metric(
        calibration.accuracy, ("logits", "labels"), "share of examples classified rightly"
    ),
    "nll": Metric(
        calibration.nll, ("logits", "labels"), "negative log-probability of the label, nats"
    ),
    "ece": Metric(
        calibration.ece,
        ("logits", "labels"),
        "expected calibration error: confidence against accuracy",
    ),
    "ess": Metric(
        mcmc.ess,
        ("chains",),
        "effective sample size of the worst of the traces [chains, steps, quantities]",
    ),
    "rhat": Metric(
        mcmc.rhat, ("chains",), "split R-hat of the worst of the traces, 1 where all chains agree"
    ),
}


def generative(real: Tensor, fake: Tensor, k: int = 5, *, network: str) -> list[Measure]:
    """FD, KID, precision, recall, density and coverage of features (n, d) and (m, d), floors filled
    in.

    `network` names the feature network, best with a hash of its weights. Equal n and m in every row
    of a table: FD and coverage depend on both.
    """
    return [
        frechet.fd(real, fake, network),
        kid.kid(real, fake, network),
        *prdc.prdc(real, fake, k, network).values(),
    ]

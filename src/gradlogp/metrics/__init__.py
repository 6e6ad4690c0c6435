"""Numbers that say how good samples, restored images and labels are, each with its standard error,
its protocol and its reference.

A feature network is received, never chosen here: any callable from images (n, c, h, w) in [0, 1] to
features (n, d), and what follows takes its output. Values of two networks do not compare, so every
protocol names its own. Tensors, numpy arrays and lists of any real type will do.
"""

from gradlogp.core.arrays import Numbers
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
from gradlogp.metrics.base import Measure, Metric, Quantity
from gradlogp.metrics.quantities import QUANTITIES

__all__ = ["METRICS", "QUANTITIES", "Measure", "Metric", "Quantity", "generative", "quantity"]

METRICS: dict[str, Metric] = {
    "fd": frechet.FD,
    "kid": kid.KID,
    "precision": prdc.PRECISION,
    "recall": prdc.RECALL,
    "density": prdc.DENSITY,
    "coverage": prdc.COVERAGE,
    "1nna": two_sample.ONE_NN,
    "c2st": two_sample.C2ST,
    "ndb": bins.NDB,
    "psnr": image.PSNR,
    "ssim": image.SSIM,
    "class_entropy": classes.CLASS_ENTROPY,
    "inception_score": classes.INCEPTION_SCORE,
    "agreement": classes.AGREEMENT,
    "memorisation": memory.MEMORISATION,
    "auroc": detection.AUROC,
    "auprc": detection.AUPRC,
    "fpr95": detection.FPR95,
    "accuracy": calibration.ACCURACY,
    "nll": calibration.NLL,
    "ece": calibration.ECE,
    "ess": mcmc.ESS,
    "rhat": mcmc.RHAT,
}


def quantity(name: str) -> Quantity | None:
    """What the number of that name means; None where unknown."""
    return METRICS.get(name) or QUANTITIES.get(name)


def generative(real: Numbers, fake: Numbers, k: int = 5, *, network: str) -> list[Measure]:
    """FD, KID, precision, recall, density and coverage of features (n, d) and (m, d), references
    filled in.

    `network` names the feature network, best with a hash of its weights. Equal n and m in every row
    of a table: FD and coverage depend on both.
    """
    return [
        frechet.fd(real, fake, network),
        kid.kid(real, fake, network),
        *prdc.prdc(real, fake, k, network).values(),
    ]

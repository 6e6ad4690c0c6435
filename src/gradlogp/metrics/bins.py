r"""Are all kinds of real examples drawn as often as they occur? The number of statistically
different bins.

The real features are clustered into K bins by k-means; of each bin the share p of the real and q of
the generated are compared by a two-proportion z-test,

.. math:: z = \frac{p - q}{\sqrt{r (1 - r) (1/n + 1/m)}}, \qquad r = \frac{n p + m q}{n + m},

and NDB / K is the share of the bins with :math:`|z| > 1.96`: .05 where the two are equal in law, 1
where no mode has its weight. It sees missing and doubled modes, not how good an example is.

Reference: Richardson & Weiss (2018), On GANs and GMMs, arXiv 1805.12462, section 2.
"""

import torch
from torch import Tensor

from gradlogp.metrics.base import Measure, Metric, feature_pair

LEVEL, QUANTILE = 0.05, 1.959964


def ndb(
    real: Tensor, fake: Tensor, network: str = "unnamed", bins: int = 50, seed: int = 0
) -> Measure:
    """NDB / K of features [n, d] and [m, d]; K is `bins`, or fewer where there are not ten real
    examples for each.
    """
    real, fake = feature_pair(real, fake, 6)
    k = max(2, min(bins, len(real) // 10))
    p, q = shares(real, fake, k, seed)
    pooled = (len(real) * p + len(fake) * q) / (len(real) + len(fake))
    variance = pooled * (1 - pooled) * (1 / len(real) + 1 / len(fake))
    different = (p - q).abs() > QUANTILE * variance.sqrt()
    value = float(different.double().mean())
    return NDB.measure(
        value,
        (value * (1 - value) / k) ** 0.5,
        len(real) + len(fake),
        f"share of {k} k-means bins (seed {seed}) of {real.shape[1]} features of network {network}"
        f" whose shares differ at level {LEVEL}, {len(real)} real and {len(fake)} generated,"
        " binomial standard error over bins",
        LEVEL,
        1.0,
    )


def shares(real: Tensor, fake: Tensor, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The shares of the real and of the generated in each of k bins of the real, [k] each."""
    from sklearn.cluster import KMeans

    fit = KMeans(k, n_init=1, random_state=seed).fit(real.cpu().numpy())
    centres = torch.from_numpy(fit.cluster_centers_)
    counts = (torch.cdist(x.cpu(), centres).argmin(1).bincount(minlength=k) for x in (real, fake))
    p, q = (c.double() / c.sum() for c in counts)
    return p, q


NDB = Metric(
    key="ndb",
    name="bins drawn differently",
    meaning="The share of bins of the real examples that are drawn too often or too rarely; a twentieth"
    " is what chance alone gives.",
    better="lower",
    call=ndb,
    takes=("features", "features"),
    says="share of bins of the real that are drawn too often or rarely",
)

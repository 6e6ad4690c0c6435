r"""What the draws of a model of the zoo are held against, without its data: the Gaussian of the test
pictures along their leading principal components.

.. math:: FD = |m - \bar z|^2 + \mathrm{tr} \Lambda + \mathrm{tr} S
    - 2\, \mathrm{tr} (\Lambda^{1/2} S \Lambda^{1/2})^{1/2}, \qquad z = U^T (x - \mu) .

No network is asked, so that it fits into 50 kB and anybody can compute it again. It tells a model
that works from one that is broken, not a good one from a better one: that is what `evaluate` does.

References: Heusel et al. (2017), arXiv 1706.08500 (the Frechet distance).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gradlogp.metrics.frechet import frechet
from gradlogp.runs import read, write

FEATURES = 32  # principal components
DRAWN = 64  # samples, numbers 0 to 63 of seed 0


def reference(x: Tensor) -> dict[str, Tensor]:
    """The mean [D], basis [k, D] and variances [k] of examples x [n, *shape] along their leading
    principal components.
    """
    flat = x.flatten(1).double()
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    basis, variances = vectors.flip(1)[:, :FEATURES].T, values.flip(0)[:FEATURES]
    return {"mean": mean.half(), "basis": basis.half(), "variances": variances.float()}


def distance(x: Tensor, held: Mapping[str, Tensor]) -> float:
    """The Frechet distance of samples x [n, *shape] from a `reference`."""
    z = (x.flatten(1).double() - held["mean"].double()) @ held["basis"].double().T
    centre = torch.zeros(z.shape[1], dtype=torch.float64)
    return frechet(centre, held["variances"].double().diag(), z.mean(0), torch.cov(z.T))


def reference_of(dataset: str) -> dict[str, Tensor]:
    """The reference of a data set that models of the zoo are trained on."""
    return read(_file(dataset))[0]


def keep(dataset: str, x: Tensor) -> Path:
    """Write the reference of the test pictures x of a data set into the package."""
    write(_file(dataset), reference(x), {"dataset": dataset, "examples": len(x)})
    return _file(dataset)


def _file(dataset: str) -> Path:
    return Path(__file__).parent / f"{dataset}.safetensors"

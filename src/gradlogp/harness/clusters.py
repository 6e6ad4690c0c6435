r"""Classes for examples that have none, so that there is something to learn features by: the
clusters that they fall into along their leading principal components,

.. math:: z = U^T (x - \bar x), \qquad y = \arg\min_k \|z - c_k\|, \qquad c\ \text{by k-means}.

A network that is taught to tell them apart has features of the shapes that occur. It is one way for
all kinds: pictures, volumes, waveforms and rows have clusters, whether or not they can be turned
round. It is the first round of deep clustering, with principal components in the place of an
untrained network's features.

References: Caron et al. (2018), Deep Clustering for Unsupervised Learning of Visual Features, arXiv
1807.05520, section 3.2; Lloyd (1982), Least Squares Quantization in PCM (k-means).
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness.recipe import specify
from gradlogp.models.mixture import k_means, nearest_centre

CLUSTERS = 10
EACH = 20  # training examples for each cluster, at least
COMPONENTS = 32
KNOWN = 1000  # training examples that the components are found by
BLOCK = 2000  # examples turned into components at a time


def classless(data: Dataset) -> bool:
    """Whether there are no two classes to tell apart."""
    return len(data.classes) < 2 or data.train.labels is None or data.test.labels is None


def clustered(data: Dataset) -> Dataset:
    """The same examples, labelled by the cluster of the training part that each is nearest to."""
    coordinates = _components(data)
    known = coordinates(data.train)
    count = min(CLUSTERS, max(2, len(known) // EACH))
    centres = k_means(known, count, seeded(0, "clusters"), rounds=20)

    def labelled(split: Split) -> Split:
        return replace(split, labels=nearest_centre(coordinates(split), centres))

    return replace(
        data,
        train=labelled(data.train),
        validation=labelled(data.validation),
        test=labelled(data.test),
        classes=tuple(f"cluster {i + 1}" for i in range(count)),
    )


def _components(data: Dataset) -> Callable[[Split], Tensor]:
    """A split -> its examples' leading principal components [n, k]."""
    to_model = specify(data).coordinates.to_model
    flat = to_model(data.train.scaled(slice(0, KNOWN))).flatten(1)
    mean = flat.mean(0)
    directions = torch.linalg.svd(flat - mean, full_matrices=False)[2][:COMPONENTS].T

    def coordinates(split: Split) -> Tensor:
        parts = [
            (to_model(split.scaled(rows)).flatten(1) - mean) @ directions
            for rows in torch.arange(len(split)).split(BLOCK)
        ]
        return torch.cat(parts)

    return coordinates

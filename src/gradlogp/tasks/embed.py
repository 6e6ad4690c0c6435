r"""Embed: what a trained model makes of an example before its last layer, as a vector.

| model | features |
|---|---|
| a classifier, or an energy with a trunk under a linear head | the trunk's output, :math:`h` of :math:`E = w \cdot h + b` |
| a score network | its middle at one noise level, averaged over the places of a picture |

Reference: Baranchuk et al. (2022), Label-Efficient Semantic Segmentation with Diffusion Models,
arXiv 2112.03126 (features of a denoiser at a noise level).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.core.inputs import check_floating
from gradlogp.models.mixture import without_proposal


def embed(model: Any, x: Tensor, sigma: float = 0.5, batch: int = 500) -> Tensor:
    """The features [n, d] of each row of x [n, *shape].

    A score network sees x as it is and is told the level `sigma`. Raises UserError for a model
    without features.
    """
    function = _features(without_proposal(model), sigma)
    with torch.no_grad():
        return torch.cat([function(part) for part in check_floating(x).split(batch)])


def _features(model: Any, sigma: float) -> Callable[[Tensor], Tensor]:
    if hasattr(getattr(model, "net", None), "features"):  # a score network
        return lambda x: model.features(x, x.new_full((len(x),), sigma))
    if hasattr(model, "features"):
        return model.features
    if hasattr(model, "trunk"):
        return model.trunk
    raise UserError(
        f"a {type(model).__name__} has no features; take an energy, a score network, or the"
        " evaluation classifier."
    )

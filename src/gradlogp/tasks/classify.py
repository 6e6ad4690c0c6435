"""Classify: run a classifier over many images, for its labels and for its features.

Reference: Bishop (2006), Pattern Recognition and Machine Learning, section 1.5.1 (the label of
least error).
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from gradlogp.core.inputs import check_floating


def labels(model: nn.Module, x: Tensor, batch: int = 500) -> Tensor:
    """The most probable class of each row of x [n, *shape], [n]."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in check_floating(x).split(batch)])


def probabilities(logits: Callable[[Tensor], Tensor], x: Tensor, batch: int = 500) -> Tensor:
    """p(y | x) = softmax of the logits, [n, classes] in float64; those of a joint energy are -E(x,
    y).
    """
    with torch.no_grad():
        return torch.cat([logits(part).double().softmax(1) for part in x.split(batch)])


class Featured(Protocol):
    def features(self, x: Tensor) -> Tensor: ...


def features(model: Featured, x: Tensor, batch: int = 500) -> Tensor:
    """The features of each row of x [n, *shape], [n, d], by `model.features`."""
    with torch.no_grad():
        return torch.cat([model.features(part) for part in check_floating(x).split(batch)])

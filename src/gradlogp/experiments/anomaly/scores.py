"""The scores that every method has kept, by problem."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gradlogp.harness.record import Items
from gradlogp.metrics.detection import auroc

Kept = Mapping[str, Items]  # method -> what its run has kept
Axes = Mapping[str, Any]


def problems_of(found: Items, group: Axes) -> list[dict[str, Any]]:
    """The axes of the problems of a group, {"protocol": "held-out"} say."""
    return found.axes("normal", group)


def asked(kept: Kept, group: Axes) -> dict[str, Items]:
    """The methods that have scored a problem of the group: settings may leave protocols out."""
    return {method: found for method, found in kept.items() if problems_of(found, group)}


def scores_of(found: Items, problem: Axes) -> tuple[Tensor, Tensor]:
    """Of normal and of anomalous test examples, of the first kind of anomaly."""
    first = found.axes("anomalous", problem)[0]
    return found.at("normal", problem).double(), found.at("anomalous", first).double()


def mean_auroc(found: Items, group: Axes) -> float:
    """Over the problems of the group; nan where there are none."""
    each = [float(auroc(*scores_of(found, p))) for p in problems_of(found, group)]
    return sum(each) / len(each) if each else math.nan

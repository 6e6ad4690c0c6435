"""What of the data a score may have wired in, and whether its examples let it.

The network learns what a closed form leaves over: the Gaussian of the data, or of each class
(`models.gaussian`, `models.noisy_gaussians`), or that all entries are -1 or 1 (`models.score`).
"""

import math

from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.harness.recipe import DataSpec, Target
from gradlogp.models.gaussian import LARGEST


def wired_by_class(target: Target) -> bool:
    """Whether a score that is told the class stands on the Gaussians of the classes by default: of
    pictures that are no larger than a covariance may be.
    """
    return target.kind == "picture" and math.prod(target.shape) <= LARGEST


def check_covariance(spec: DataSpec) -> None:
    """Raises UserError for examples whose covariance is too large to be wired in."""
    numbers = math.prod(spec.shape)
    if numbers > LARGEST:
        raise UserError(
            f"covariance=true is for examples of at most {LARGEST:,} numbers, got {numbers:,}; set"
            " covariance=false."
        )


def check_two_valued(x: Tensor) -> None:
    """Raises UserError for entries that are neither -1 nor 1."""
    if bool((x.abs() != 1).any()):
        raise UserError(
            "two_valued=true is for examples that are empty or full everywhere, as voxels are, but"
            " these have values between; set two_valued=false."
        )

"""What people hand over, looked at once and without waiting for a device: one clear line in place
of somebody else's traceback, and of numbers that rounding has made wrong.

Chains, losses and densities are kept in float32 or float64. In bfloat16 and half a step of .001
is lost against a state of 1 (their last digits are .008 and .001), and the noise of the step is
not: Langevin dynamics in bfloat16 at h = .001 has a variance of 8.85 on N(0, 1). A network may
still compute in them, inside torch.autocast.

Reference: Micikevicius et al. (2018), Mixed Precision Training, arXiv 1710.03740, section 3.1 (a
master copy in float32).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

PRECISE = (torch.float32, torch.float64)


def check_floating(x: Any, name: str = "x") -> Tensor:
    """x as it is; ValueError where it is no tensor in floating point."""
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{name} is a torch.Tensor, got {type(x).__name__}; torch.as_tensor({name}) makes one of"
            " an array or a list."
        )
    if not x.is_floating_point():
        raise ValueError(
            f"{name} is in floating point, got {x.dtype}; pass {name}.float(), whole numbers too."
        )
    return x


def check_numbers(x: Any, name: str = "x") -> Tensor:
    """x as it is; ValueError where it is no tensor in float32 or float64."""
    if check_floating(x, name).dtype not in PRECISE:
        raise ValueError(
            f"{name} is in float32 or float64, got {x.dtype}, in which small steps are rounded away;"
            f" pass {name}.float(), and let the network compute in {x.dtype} by torch.autocast."
        )
    return x


def in_own_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Inside, torch.autocast leaves products with x as they are: for closed forms around a network,
    whose differences are divided by small numbers, as a score is (D - x) / sigma^2.
    """
    kind = x.device.type
    # Entered where there is something to leave alone: compilers and exports see no context.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def check_interval(interval: tuple[float, float] | None, name: str) -> None:
    """ValueError unless `interval`, if there is one, begins below its end."""
    if interval is not None and not interval[0] < interval[1]:
        raise ValueError(f"{name} is an interval (low, high) with low < high, got {interval}.")

r"""Runge-Kutta for :math:`dy/du = f(u, y)` in the log of the level, :math:`u = \ln\ell`: classical
RK4 from node to node, or Dormand and Prince's pair, where each row of y takes its own steps.

References: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, sections II.1
and II.5.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradlogp.samplers.adaptive import PAIRS
from gradlogp.samplers.solvers import RK4

LONGEST = math.log(2)  # of a step of RK4 in ln level, which then grows x by 2 to within 8e-4
Rows = tuple[tuple[float, ...], ...]
Slope = Callable[[Tensor, Tensor], Tensor]  # (u [B], y [B, D]) -> dy/du [B, D]


def cut(nodes: Sequence[float]) -> list[float]:
    """Rising `nodes` with more of them where two are apart by more than LONGEST, or thrice the
    mean: there in even steps of half that.
    """
    longest = min(LONGEST, 3 * (nodes[-1] - nodes[0]) / (len(nodes) - 1)) + 1e-9
    found = []
    for a, b in itertools.pairwise(nodes):
        parts = 1 if b - a <= longest else math.ceil(2 * (b - a) / longest)
        found += [a + (b - a) * i / parts for i in range(parts)]
    return [*found, nodes[-1]]


def stride(
    slope: Slope, u: Tensor, y: Tensor, h: Tensor, first: Tensor, rows: Rows
) -> tuple[Tensor, list[Tensor]]:
    """One Runge-Kutta step of h [B]: the solution, and the slopes at every stage, its own the last."""
    slopes = [first]
    for row in rows:
        point = y + h[:, None] * _sum(row, slopes)
        slopes.append(slope(u + sum(row) * h, point))
    return point, slopes


def _sum(row: Sequence[float], slopes: list[Tensor]) -> Tensor:
    return torch.stack([a * k for a, k in zip(row, slopes, strict=True) if a != 0]).sum(0)


def walk(slope: Slope, y: Tensor, nodes: Sequence[float]) -> Tensor:
    """y at the last of `nodes`, by RK4 from node to node."""
    u = y.new_full((len(y),), nodes[0])
    first = slope(u, y)
    for h in (b - a for a, b in itertools.pairwise(nodes)):
        y, slopes = stride(slope, u, y, torch.full_like(u, h), first, RK4)
        u, first = u + h, slopes[-1]
    return y


def adapt(
    slope: Slope, y: Tensor, start: float, end: float, tolerance: float, limit: int = 1000
) -> Tensor:
    """y at `end`, by Dormand and Prince's pair with relative and absolute error `tolerance` a step,
    for each row on its own.
    """
    rows, weights, order = PAIRS["dormand_prince"]
    u = y.new_full((len(y),), start)
    h, first = torch.full_like(u, 0.5), slope(u, y)
    for _ in range(limit):
        h = torch.minimum(
            h.clamp(max=1), end - u
        )  # a longer step could leap over the levels at which the data take shape
        point, slopes = stride(slope, u, y, h, first, rows)
        size = tolerance * (1 + torch.maximum(y.abs(), point.abs()))
        error = (h[:, None] * _sum(weights, slopes) / size).square().mean(1).sqrt()
        good = error <= 1
        u = torch.where(good, u + h, u)
        y = torch.where(good[:, None], point, y)
        first = torch.where(good[:, None], slopes[-1], first)
        h = h * (0.9 * error.clamp(min=1e-10) ** (-1 / order)).clamp(0.2, 5)
        if bool((end - u < 1e-9).all()):
            return y
        if bool(error.isnan().any()):
            raise ValueError(
                f"the model gave NaN at level {float(u[error.isnan()][0].exp()):.3g}; look for a"
                " run that diverged."
            )
    raise RuntimeError(
        f"{int((end - u >= 1e-9).sum())} of {len(y)} examples have not arrived after {limit} steps;"
        " raise tolerance, or look for dropout left on."
    )

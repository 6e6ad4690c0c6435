"""The exact final variance of a sampler on N(0, s^2), without Monte Carlo.

Every reverse sampler is linear there. So run it on one chain for each source of randomness: the
first begins at sigma_1 and sees no noise, chain k begins at 0 and sees a 1 at draw k alone. The
variance is the sum of the squares of where they end.
"""

import torch
from torch import Tensor

from gradlogp.core.kernel import run
from gradlogp.core.random import Streams
from gradlogp.core.targets import gaussian


class Impulses(Streams):
    """Noise that is 1 for chain k at the k-th draw, and 0 elsewhere."""

    drawn = 0

    def fill(self, out: Tensor, distribution: str) -> Tensor:
        self.drawn += 1
        out.zero_()[self.drawn] = 1
        return out


def final_variance(sampler, std: float, start: float | None = None) -> float:
    """`start`: the standard deviation of the first x; None is the first level."""
    draws = sampler.evaluations + 1
    x = torch.zeros(draws + 1, 1, dtype=torch.float64)
    x[0] = sampler.ladder[0] if start is None else start
    return float(
        run(sampler, gaussian([0.0], [std]), x, sampler.steps, Impulses(0, 0, draws + 1))
        .square()
        .sum()
    )


def final_std(sampler, std: float) -> float:
    return final_variance(sampler, std) ** 0.5

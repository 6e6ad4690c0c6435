r"""The law of N examples, each as likely as the others: :math:`p_\sigma(x) = \frac1N \sum_n
\mathcal N(x; x_n, \sigma^2 I)`.

Its posterior mean is exact at every level, :math:`D(x, \sigma) = \sum_n w_n x_n,\ w =
\mathrm{softmax}(-\|x - x_n\|^2/2\sigma^2)`: a network that fitted its training set perfectly would
be this. Samplers that follow it end at the examples themselves, so what they leave undone is the
sampler's own error; as a denoiser it shows what memory alone can do.

Reference: Karras et al. (2022), arXiv 2206.00364, app. B.3 (the ideal denoiser).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import Level
from gradlogp.core.random import check_generator
from gradlogp.core.targets.base import Target, variance


@final
@dataclass(frozen=True, eq=False)
class Empirical(Target):
    """The noised law of `examples` [N, *shape]; one evaluation is two matrix products with them.
    sigma > 0 everywhere.

    Squared distances, the small difference of large numbers, are taken in float64 wherever float32
    would put log-densities off by 1e-3 nats.
    """

    examples: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.examples.shape[1:])

    @cached_property
    def _rows(self) -> Tensor:
        return self.examples.flatten(1)

    @cached_property
    def _half_norms(self) -> Tensor:
        """|x_n|^2 / 2, [N], in float64."""
        return self._rows.double().square().sum(1) / 2

    @cached_property
    def _precise_rows(self) -> Tensor:
        return self._rows.double()

    @cached_property
    def _size(self) -> float:
        return float(self._half_norms.max())

    def _logits(self, x: Tensor, sigma: Level) -> Tensor:
        """log N(x; x_n, sigma^2) up to a term of x alone, [B, N]."""
        flat = self.check(x).flatten(1)
        rounding = 2 * self._size * torch.finfo(x.dtype).eps
        if isinstance(sigma, Tensor) or sigma**2 < 1e3 * rounding:
            flat, rows = flat.double(), self._precise_rows
        else:
            rows = self._rows.to(flat)
        return (flat @ rows.T - self._half_norms.to(flat)) / variance(sigma, flat)

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        share = self._logits(x, sigma).softmax(1).to(x.dtype)
        return (share @ self._rows.to(x)).reshape(x.shape)

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        return (self.denoise(x, sigma) - x) / variance(sigma, x)

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        n, d = self._rows.shape
        var = torch.as_tensor(sigma, dtype=torch.float64, device=x.device) ** 2
        square = x.flatten(1).double().square().sum(1) / (2 * var)
        nats = square - self._logits(x.double(), sigma).logsumexp(1)
        return (nats + math.log(n) + d / 2 * (2 * math.pi * var).log()).to(x.dtype)

    def sample(self, n: int, generator: Generator) -> Tensor:
        check_generator(generator)
        return self.examples[torch.randint(len(self.examples), (n,), generator=generator)].double()

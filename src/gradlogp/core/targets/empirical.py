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

from gradlogp.core.fields import Level, column
from gradlogp.core.targets.base import Target, variance


@final
@dataclass(frozen=True, eq=False)
class Empirical(Target):
    """The noised law of `examples` [N, *shape]; one evaluation is two matrix products with them.
    sigma > 0 everywhere.
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
        return self._rows.square().sum(1) / 2

    def _logits(self, x: Tensor, sigma: Level) -> Tensor:
        """log N(x; x_n, sigma^2) up to a term of x alone, [B, N]."""
        var = variance(sigma, x.flatten(1))
        return (x.flatten(1) @ self._rows.T - self._half_norms) / var

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return (self._logits(x, sigma).softmax(1) @ self._rows).reshape(x.shape)

    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        level = column(sigma, x) if isinstance(sigma, Tensor) else sigma
        return (self.denoise(x, sigma) - x) / level**2

    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        n, d = self._rows.shape
        var = torch.as_tensor(sigma, dtype=x.dtype) ** 2
        square = x.flatten(1).square().sum(1) / (2 * var)
        return (
            square
            - self._logits(x, sigma).logsumexp(1)
            + math.log(n)
            + d / 2 * (2 * math.pi * var).log()
        )

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.examples[torch.randint(len(self.examples), (n,), generator=generator)].double()

r"""The coordinates of a Gaussian-Bernoulli machine: pictures with noise, each entry standardised,

.. math:: z = (x + \sigma \epsilon - \mu) / s, \qquad s^2 = \widehat{var}(x) + \sigma^2, \qquad
          \log p(x) = \log p(z) - \sum_i \log s_i .

The noise bounds the likelihood, which is infinite for an entry that never changes; to standardise
gives every entry the same say, without which the background decides all hidden units. Likelihoods
of one sigma compare, whatever the model.

References: Liao et al. (2022), arXiv 2210.10318 (standardised data); Hinton (2010), A Practical
Guide to Training Restricted Boltzmann Machines, section 13.2 (unit variance).
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp.core.random import normal_
from gradlogp.objectives.augment import Augmentation


@final
@dataclass(frozen=True)
class Standardised(Augmentation):
    """x [B, *shape] in model coordinates -> z [B, *shape]; mean and std: [*shape]."""

    mean: Tensor
    std: Tensor
    sigma: float

    @classmethod
    def fit(cls, x: Tensor, sigma: float) -> "Standardised":
        """Those of the examples x [n, *shape] after noise of standard deviation `sigma`."""
        return cls(x.mean(0), (x.var(0) + sigma**2).sqrt(), sigma)

    @property
    def log_volume(self) -> float:
        """log |dx / dz|, what a log-density loses on the way back to x."""
        return float(self.std.double().log().sum())

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        noise = normal_(torch.empty_like(x), generator)
        return self.of(torch.add(x, noise, alpha=self.sigma))

    def of(self, x: Tensor) -> Tensor:
        """Without noise."""
        return (x - self.mean) / self.std

    def back(self, z: Tensor) -> Tensor:
        return torch.addcmul(self.mean, z, self.std)

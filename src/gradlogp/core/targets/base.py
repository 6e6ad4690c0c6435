"""What every continuous target offers: the exact law, clean and with noise of any level added."""

import abc

import torch
from torch import Generator, Tensor

from gradlogp.core.fields import ClosedForm, Level, NoisyField, column
from gradlogp.core.inputs import check_numbers
from gradlogp.core.random import check_generator


class Target(NoisyField):
    """A law on [B, *shape] whose normalised energy, score and posterior mean are known at every
    noise level sigma >= 0.

    sigma is a float, or a tensor [B] of levels > 0. Samples come in float64; energies and scores in
    the dtype of x, on its device.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""

    @abc.abstractmethod
    def energy(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        """-log p, normalised, [B], of the law with noise `sigma` added."""

    @abc.abstractmethod
    def score(self, x: Tensor, sigma: Level = 0.0) -> Tensor:
        """The gradient of log p at x, [B, *shape], of the law with noise `sigma` added."""

    @abc.abstractmethod
    def sample(self, n: int, generator: Generator) -> Tensor:
        """n independent draws of the clean law, [n, *shape], on the generator's device."""

    def check(self, x: Tensor) -> Tensor:
        """x as it is; ValueError where it is not in float32 or float64, or its examples have not
        the shape of the law's, and would broadcast.
        """
        if check_numbers(x).shape[1:] != self.shape:
            sizes = ", ".join(map(str, self.shape))
            raise ValueError(
                f"this {type(self).__name__} is a law of examples of shape [{sizes}], so x is [B,"
                f" {sizes}], got {list(x.shape)}; reshape x."
            )
        return x

    def log_z(self) -> float:
        """The log of the integral of exp(-energy): 0, since the energy is normalised."""
        return 0.0

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return x + variance(sigma, x) * self.score(x, sigma)

    def at(self, sigma: Level = 0.0) -> ClosedForm:
        """The exact field of the law with noise sigma >= 0 added."""
        return ClosedForm(lambda x: self.energy(x, sigma), lambda x: self.score(x, sigma))


def variance(sigma: Level, x: Tensor) -> Tensor | float:
    """sigma^2, as a column where there is one level per example."""
    return column(sigma, x).to(x) ** 2 if isinstance(sigma, Tensor) else sigma**2


def standard_normal(n: int, dim: int, generator: Generator) -> Tensor:
    check_generator(generator)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64, device=generator.device)

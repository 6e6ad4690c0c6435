r"""Autoencoders: squeeze, rebuild, and learn from the error, :math:`r(x) = g(f(x))` with a narrow
code f(x).

.. math:: \text{plain}\ \|r(x) - x\|^2, \qquad \text{denoising}\ \|r(x + \sigma\varepsilon) - x\|^2, \qquad
          \text{contractive}\ \|r(x) - x\|^2 + \lambda\, \|\partial f / \partial x\|_F^2 .

The contractive penalty is estimated without bias by one random direction of the code,
:math:`\|J\|_F^2 = E_v \|J^T v\|^2,\ v \sim \mathcal N(0, I)`.

A denoising autoencoder need not be narrow. Any network that is told the level learns :math:`E[x_0 |
x]` from `DenoisingError`, which is denoising score matching with the weight :math:`\lambda(\sigma)
= \sigma^4`: :math:`s(x) = (r(x) - x)/\sigma^2`.

References: Vincent et al. (2008), Extracting and Composing Robust Features with Denoising
Autoencoders; Rifai et al. (2011), Contractive Auto-Encoders, eq. 3; Vincent (2011), A Connection
Between Score Matching and Denoising Autoencoders, eq. 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp.core.batch import Batch
from gradlogp.core.fields import as_noisy, column
from gradlogp.models import AutoencoderEnergy, autoencoder_energy
from gradlogp.objectives import LevelDistribution, Loss, Objective
from gradlogp.objectives.base import check_batch, mean
from gradlogp.objectives.denoising import normal, squared_error


def autoencoder(
    shape: Sequence[int], latent: int = 32, channels: Sequence[int] = (16, 32, 64), width: int = 128
) -> AutoencoderEnergy:
    """A narrow autoencoder, convolutional or, for vectors, of perceptrons.

    It has `encode`, `decode`, and its squared error as an energy.
    """
    return autoencoder_energy(shape, latent, channels, width, sphere=False)


def reconstruct(model: AutoencoderEnergy, x: Tensor) -> Tensor:
    """r(x), [B, *shape]."""
    return model.decode(model.encode(x))


@final
@dataclass
class Reconstruction(Objective):
    """The squared error of an autoencoder per entry: plain; denoising with a law of `noise`;
    contractive with a weight.
    """

    noise: LevelDistribution | None = None
    contractive: float = 0.0

    def __post_init__(self) -> None:
        if self.contractive < 0:
            raise ValueError(
                "contractive is the weight of a penalty, so it is 0 or more, got"
                f" {self.contractive}."
            )

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        clean, _ = check_batch(batch)
        x = clean if self.noise is None else self._noised(self.noise, clean, generator)
        if self.contractive:
            x = x.detach().requires_grad_(True)
        code = model.encode(x)
        error = (model.decode(code) - clean).flatten(1).square().mean(1)
        if not self.contractive:
            return Loss(error, {"error": mean(error)})
        penalty = jacobian_norm(x, code, generator) / code[0].numel()
        return Loss(
            error + self.contractive * penalty, {"error": mean(error), "penalty": mean(penalty)}
        )

    @staticmethod
    def _noised(levels: LevelDistribution, clean: Tensor, generator: Generator) -> Tensor:
        sigma = levels.sample(len(clean), generator, clean)
        return clean + column(sigma, clean) * normal(clean, generator)


def jacobian_norm(x: Tensor, code: Tensor, generator: Generator) -> Tensor:
    """An unbiased estimate of the squared Frobenius norm of d code / d x for each example, [B], to
    be differentiated.
    """
    (pulled,) = torch.autograd.grad(code, x, normal(code, generator), create_graph=True)
    return pulled.flatten(1).square().sum(1)


@final
@dataclass
class DenoisingError(Objective):
    r"""|r(x0 + sigma eps, sigma) - x0|^2 per entry over `levels`: a denoising
    autoencoder that is told the level.

    With `sigma_data` each level is divided by what a linear denoiser of data of that deviation
    would leave, :math:`\sigma^2 \sigma_d^2 / (\sigma^2 + \sigma_d^2)`, so that all cost alike at
    first: the weight `edm` of score matching.
    """

    levels: LevelDistribution
    sigma_data: float | None = None

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        clean, cond = check_batch(batch)
        sigma = self.levels.sample(len(clean), generator, clean)
        error = (
            squared_error(as_noisy(model, cond), clean, sigma, normal(clean, generator))
            / clean[0].numel()
        )
        weight = 1.0 if self.sigma_data is None else sigma**-2 + self.sigma_data**-2
        return Loss(weight * error, {"error": mean(error)})

r"""The variational autoencoder: a code z ~ N(0, I), a decoder m(z), an encoder :math:`q(z|x) =
N(\mu(x), \mathrm{diag}\,v(x))`.

.. math:: -\log p(x) \le E_q\Big[\frac{\|x - m(z)\|^2}{2\sigma^2} + D\log\sigma + \tfrac D2\log 2\pi\Big]
          + \tfrac12\sum_i (\mu_i^2 + v_i - 1 - \log v_i)

The likelihood is Gaussian with one standard deviation :math:`\sigma` for all entries, learned with
the rest: it sets the balance between the two terms, so there is no weight to tune. What is drawn is
m(z), without the pixel noise.

For linear maps this is probabilistic PCA, and the bound is tight at its maximum.

References: Kingma & Welling (2014), Auto-Encoding Variational Bayes, arXiv 1312.6114, eq. 10;
Rybkin et al. (2021), arXiv 2006.13202 (the learned deviation); Tipping & Bishop (1999),
Probabilistic Principal Component Analysis, eq. 8.
"""

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.baselines.decoder import Decoder
from gradlogp.core.batch import Batch
from gradlogp.models.nets.conv import ConvTrunk
from gradlogp.models.nets.mlp import perceptron
from gradlogp.objectives import Loss, Objective
from gradlogp.objectives.base import check_batch, mean
from gradlogp.objectives.denoising import normal


class VAE(nn.Module):
    """Any encoder (B, *shape) -> (B, 2 latent), means and log-variances, and decoder (B, latent) ->
    (B, *shape).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.log_sigma = nn.Parameter(torch.tensor(-1.0))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the code, [B, latent] each."""
        mu, log_var = self.encoder(x).chunk(2, 1)
        return mu, log_var

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(z)


def vae(
    shape: Sequence[int],
    latent: int = 32,
    trunk: Sequence[int] = (16, 32, 64, 64),
    width: int = 64,
    channels: Sequence[int] = (64, 32),
) -> VAE:
    """A variational autoencoder whose encoder is the trunk of `ConvEnergy`.

    Of pictures, waves and volumes; of vectors with perceptrons, whose hidden layers are `trunk` and
    `channels`.
    """
    encoder: nn.Module = (
        perceptron([shape[0], *trunk, width]) if len(shape) == 1 else ConvTrunk(shape, trunk, width)
    )
    return VAE(
        nn.Sequential(encoder, nn.Linear(width, 2 * latent)), Decoder(shape, latent, channels)
    )


@final
class EvidenceBound(Objective):
    """The negative evidence lower bound of a `VAE` in nats, with one draw of the code for each
    example.
    """

    def __call__(self, model: Any, batch: Batch, generator: Generator) -> Loss:
        x, _ = check_batch(batch)
        mu, log_var = model.encode(x)
        z = mu + (log_var / 2).exp() * normal(mu, generator)
        error = (x - model(z)).flatten(1).square().sum(1)
        likelihood = gaussian_nats(error, x[0].numel(), model.log_sigma)
        divergence = (mu.square() + log_var.exp() - 1 - log_var).sum(1) / 2
        value = likelihood + divergence
        return Loss(
            value,
            {
                "bound": mean(value),
                "divergence": mean(divergence),
                "sigma": model.log_sigma.detach().exp(),
            },
        )


def gaussian_nats(error: Tensor, dim: int, log_sigma: Tensor) -> Tensor:
    """-log N(x; m, sigma^2 I) of squared errors |x - m|^2, [B]."""
    return error / (2 * (2 * log_sigma).exp()) + dim * (log_sigma + math.log(2 * math.pi) / 2)

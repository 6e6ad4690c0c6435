r"""Energies of anomalies by contrastive divergence, a small network for each problem.

* **A Gaussian, corrected**: f on the 32 leading principal components z (whitened), with probabilistic
  PCA's energy of what lies outside them,

  .. math:: E(x) = \tfrac12 \|z\|^2 + f_\theta(z) + \|x - Px\|^2 / 2\lambda ,

  whose chains are honest Langevin dynamics in 32 dimensions, from a replay buffer.
* **Normalised autoencoder**: :math:`E(x) = \|x - g(f(x))\|^2`, learned by reconstruction first, then
  by contrastive divergence from chains that begin on the decoded manifold, so that it stops
  reconstructing what is not data.

References: Du & Mordatch (2019), arXiv 1903.08689; Yoon, Noh & Park (2021), Autoencoding Under
Normalization Constraints, arXiv 2105.05735; Xiao et al. (2021), VAEBM, arXiv 2010.00654 (an energy
as the correction of a tractable density).
"""

import abc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.baselines.autoencoder import Reconstruction
from gradlogp.core.batch import Batch
from gradlogp.core.kernel import run as walk
from gradlogp.core.random import normal_, seeded
from gradlogp.core.spectrum import Spectrum
from gradlogp.experiments.anomaly.common import Detecting, learned, seed_weights, spend
from gradlogp.experiments.anomaly.problems import Problem
from gradlogp.harness.record import Cost
from gradlogp.models import AutoencoderEnergy, TiltedEnergy, autoencoder_energy
from gradlogp.objectives import ContrastiveDivergence, FromBuffer, FromProposal, ReplayBuffer
from gradlogp.runs.cache import Cache
from gradlogp.samplers import Langevin
from gradlogp.tasks import detect
from gradlogp.training import Training

CHAINS = 1024  # in the replay buffer
Scores = Callable[[Tensor], Tensor]  # [B, *shape] -> [B], high = anomalous


class Components:
    """The leading principal components z of x, whitened, and the energy of what they leave out."""

    def __init__(self, x: Tensor, rank: int) -> None:
        self.spectrum = Spectrum.fit(x)
        variances = self.spectrum.variances
        mean = float(variances.mean())
        self.rank = min(rank, len(variances))
        self.scales = variances[: self.rank].clamp(min=1e-3 * mean).sqrt()
        outside = variances[self.rank :]
        self.rest = max(float(outside.mean()), 1e-4 * mean) if len(outside) else 1.0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z [B, rank], and |x - P x|^2 / 2 lambda, [B]."""
        inside, outside = self.spectrum.coordinates(x).tensor_split([self.rank], 1)
        return (inside / self.scales).to(x.dtype), outside.square().sum(1) / (2 * self.rest)


@dataclass(frozen=True)
class ContrastiveDetector(Detecting):
    """An energy learned by contrastive divergence; `images` for a picture problem, and a share of
    them for a table.
    """

    images: int = 25_000
    share: float = 0.4
    rank: int = 32
    chain_steps: int = 10
    batch: int = 128
    of_images: ClassVar[int] = 1  # contrastive divergence takes one of so many images

    @abc.abstractmethod
    def fit(self, problem: Problem) -> tuple[nn.Module, Scores]:
        """The energy, and the scores by it."""

    def scores(self, problem: Problem, cache: Cache, cost: Cost) -> Tensor:
        began = time.perf_counter()
        seed_weights(self.seed, problem)
        model, score = self.fit(problem)
        cost.seconds += time.perf_counter() - began
        images = self.images_for(problem, self.images // self.of_images)
        spend(cost, model, images, self.chain_steps + 2)
        return score(problem.test)

    def images_for(self, problem: Problem, images: int) -> int:
        return int(images * (self.share if problem.protocol == "tables" else 1))

    def training(self, problem: Problem, images: int, learning_rate: float) -> Training:
        return Training(
            self.images_for(problem, images),
            batch=min(self.batch, len(problem.normal)),
            learning_rate=learning_rate,
            grad_clip=1.0,
            warmup=20,
        )


@final
@dataclass(frozen=True)
class CorrectedGaussian(ContrastiveDetector):
    """A correction to the Gaussian of `rank` principal components."""

    def fit(self, problem: Problem) -> tuple[nn.Module, Scores]:
        components = Components(problem.normal, self.rank)
        z, _ = components(problem.normal)
        training = self.training(problem, self.images, 2e-3)
        model = learned(
            TiltedEnergy(components.rank),
            self._objective(z, problem),
            z,
            training,
            self.seed,
            problem.name,
        )

        def score(x: Tensor) -> Tensor:
            z, outside = components(x)
            return detect.energy(model, z) + outside

        return model, score

    def _objective(self, z: Tensor, problem: Problem) -> ContrastiveDivergence:
        generator = seeded(self.seed, "chains", problem.name)
        chains = ReplayBuffer(CHAINS, z.shape[1:], normal_, generator, 0.05)
        return ContrastiveDivergence(
            Langevin(0.1), FromBuffer(chains), self.chain_steps, energy_l2=0.0
        )


@final
@dataclass(frozen=True)
class NormalisedAutoencoder(ContrastiveDetector):
    """An autoencoder's error, normalised; `pretrain` images for the reconstruction."""

    pretrain: int = 20_000
    of_images: ClassVar[int] = 4

    def fit(self, problem: Problem) -> tuple[nn.Module, Scores]:
        x = problem.normal.flatten(1)
        latent = min(self.rank, max(1, x.shape[1] // 2))
        # the total variance over ten: energies of data come to about 1
        temperature = x.shape[1] * problem.std**2 / 10
        model: Any = autoencoder_energy(x.shape[1:], latent, width=256, temperature=temperature)
        training = self.training(problem, self.pretrain, 2e-3)
        model = learned(model, Reconstruction(), x, training, self.seed, problem.name)
        model.requires_grad_(True).train()
        objective = self._objective(model, latent, temperature)
        training = self.training(problem, self.images // self.of_images, 1e-4)
        words = (problem.name, "normalise")
        model = learned(model, objective, x, training, self.seed, *words)
        return model, lambda x: detect.energy(model, x.flatten(1))

    def _objective(
        self, model: AutoencoderEnergy, latent: int, temperature: float
    ) -> ContrastiveDivergence:
        chain = Langevin(0.1 * temperature, noise_std=0.02, grad_clip=1 / temperature)
        starts = FromProposal(on_manifold(model, latent))
        return ContrastiveDivergence(chain, starts, self.chain_steps, energy_l2=0.01)


def on_manifold(
    model: AutoencoderEnergy, latent: int, steps: int = 10
) -> Callable[[Batch, Generator], Tensor]:
    """Chains begin at decoded latents: `steps` of Langevin on the energy of g(z), from directions
    drawn uniformly.
    """
    chain = Langevin(0.2, noise_std=0.05, grad_clip=1.0)

    def propose(batch: Batch, generator: Generator) -> Tensor:
        z = normal_(batch.x.new_empty(len(batch.x), latent), generator)
        start = nn.functional.normalize(z, dim=1)
        z = walk(chain, model.latent_field(), start, steps, generator, check=False)
        with torch.no_grad():
            return model.decode(z)

    return propose

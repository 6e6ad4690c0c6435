r"""Anomaly scores of energies, on pictures and on tables: low energy is likely, so the energy
itself is the score.

Three ways to learn one, each a small network per problem:

* **at every noise level**, :math:`E(x, \sigma)` by denoising score matching, half the squared error
  of a perceptron (`models.noisy`); asked at the data's own standard deviation :math:`\sigma_d`. Its
  gradient norm there is a second score. In the held-out protocol it knows clusters, is asked at
  :math:`4\sigma_d` and is :math:`E(x \mid c) - E(0 \mid c)`, for the reasons that `anomaly_score`
  gives; there it is learned of :math:`x - \mu_c` (the norm is not), which suited the energy better
  and the norm worse on the train and validation parts of MNIST. Its form and its batch were chosen
  by the loss on validation pictures of Fashion-MNIST and of MNIST's digit 2.
* **contrastive divergence**, as a correction f to a Gaussian on the 32 leading principal components
  z (whitened), with probabilistic PCA's energy of what lies outside them,

  .. math:: E(x) = \tfrac12 \|z\|^2 + f_\theta(z) + \|x - Px\|^2 / 2\lambda ,

  whose chains are honest Langevin dynamics in 32 dimensions, from a replay buffer.
* **normalised autoencoder**: :math:`E(x) = \|x - g(f(x))\|^2`, learned by reconstruction first,
  then by contrastive divergence from chains that begin on the decoded manifold, so that it stops
  reconstructing what is not data.

References: Du & Mordatch (2019), arXiv 1903.08689; Yoon, Noh & Park (2021), Autoencoding Under
Normalization Constraints, arXiv 2105.05735; Xiao et al. (2021), VAEBM, arXiv 2010.00654 (an energy
as the correction of a tractable law).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Generator, Tensor, nn

from gradlogp.baselines.autoencoder import Reconstruction
from gradlogp.baselines.detectors import Spectrum
from gradlogp.core.batch import Batch
from gradlogp.core.kernel import run as walk
from gradlogp.core.random import seeded
from gradlogp.experiments.anomaly.common import Bank, Detecting, Problem, learn, order, scope_of
from gradlogp.experiments.anomaly.score import Budget, How, ScoreDetector
from gradlogp.harness.trial import Cost
from gradlogp.models import AutoencoderEnergy, EnergyModel, autoencoder_energy
from gradlogp.models.nets.mlp import perceptron
from gradlogp.objectives import ContrastiveDivergence, FromBuffer, FromProposal, ReplayBuffer
from gradlogp.samplers import Langevin
from gradlogp.tasks import detect
from gradlogp.training import Training


class Tilted(EnergyModel):
    """E(z) = |z|^2 / 2 + f(z), f zero at the start: a correction to N(0, I)."""

    def __init__(self, dim: int, width: int = 64) -> None:
        super().__init__()
        self.trunk = perceptron([dim, width, width])
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return z.square().sum(1) / 2 + self.head(self.trunk(z))[:, 0]


class Components:
    """The leading principal components z of x, whitened, and the energy of what they leave out."""

    def __init__(self, x: Tensor, rank: int) -> None:
        self.spectrum = Spectrum(x)
        variances = self.spectrum.variances
        mean = float(variances.mean())
        self.rank = min(rank, len(variances))
        self.scales = variances[: self.rank].clamp(min=1e-3 * mean).sqrt()
        self.rest = (
            max(float(variances[self.rank :].mean()), 1e-4 * mean)
            if self.rank < len(variances)
            else 1.0
        )

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z [B, rank], and |x - P x|^2 / 2 lambda, [B]."""
        inside, outside = self.spectrum.coordinates(x).tensor_split([self.rank], 1)
        return (inside / self.scales).to(x.dtype), outside.square().sum(1) / (2 * self.rest)


@final
@dataclass(frozen=True)
class ContrastiveDetector(Detecting):
    """An energy learned by contrastive divergence; `images` for a picture problem, and a share of
    them for a table.
    """

    energy: Literal["tilted", "autoencoder"] = "tilted"
    images: int = 25_000
    pretrain: int = 20_000  # of the autoencoder, by reconstruction
    share: float = 0.4
    rank: int = 32
    chain_steps: int = 10
    batch: int = 128

    def scores(self, problem: Problem, bank: Bank, cost: Cost) -> Tensor:
        began = time.perf_counter()
        torch.manual_seed(seeded(self.seed, "weights", problem.name).initial_seed())
        fit = self._tilted if self.energy == "tilted" else self._autoencoder
        model, score = fit(problem)
        cost.seconds += time.perf_counter() - began
        cost.parameters = max(cost.parameters, sum(p.numel() for p in model.parameters()))
        images = self._training(
            problem, self.images if self.energy == "tilted" else self.images // 4, 1.0
        ).images
        cost.images = cost.images + images
        cost.evaluations = cost.evaluations + images * (self.chain_steps + 2)
        return score(problem.test)

    def _training(self, problem: Problem, images: int, rate: float) -> Training:
        images = int(images * (self.share if problem.protocol == "tables" else 1))
        return Training(
            images,
            batch=min(self.batch, len(problem.normal)),
            learning_rate=rate,
            grad_clip=1.0,
            warmup=20,
        )

    def _tilted(self, problem: Problem) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
        components = Components(problem.normal, self.rank)
        z, _ = components(problem.normal)
        chains = ReplayBuffer(
            1024, z.shape[1:], _normal, seeded(self.seed, "chains", problem.name), 0.05
        )
        objective = ContrastiveDivergence(
            Langevin(0.1), FromBuffer(chains), self.chain_steps, energy_l2=0.0
        )
        model = learn(
            Tilted(components.rank),
            objective,
            z,
            self._training(problem, self.images, 2e-3),
            self.seed,
            problem.name,
        )

        def score(x: Tensor) -> Tensor:
            z, outside = components(x)
            return detect.energy(model, z) + outside

        return model, score

    def _autoencoder(self, problem: Problem) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
        x = problem.normal.flatten(1)
        latent = min(self.rank, max(1, x.shape[1] // 2))
        temperature = (
            x.shape[1] * problem.std**2 / 10
        )  # the total variance over ten: energies of data come to about 1
        model: Any = autoencoder_energy(x.shape[1:], latent, width=256, temperature=temperature)
        model = learn(
            model,
            Reconstruction(),
            x,
            self._training(problem, self.pretrain, 2e-3),
            self.seed,
            problem.name,
        )
        model.requires_grad_(True).train()
        chain = Langevin(0.1 * temperature, noise_std=0.02, grad_clip=1 / temperature)
        objective = ContrastiveDivergence(
            chain, FromProposal(on_manifold(model, latent)), self.chain_steps, energy_l2=0.01
        )
        training = self._training(problem, self.images // 4, 1e-4)
        model = learn(model, objective, x, training, self.seed, problem.name, "normalise")
        return model, lambda x: detect.energy(model, x.flatten(1))


def _normal(x: Tensor, generator: Generator) -> Tensor:
    return x.normal_(generator=generator)


def on_manifold(
    model: AutoencoderEnergy, latent: int, steps: int = 10
) -> Callable[[Batch, Generator], Tensor]:
    """Chains begin at decoded latents: `steps` of Langevin on the energy of g(z), from directions
    drawn uniformly.
    """
    chain = Langevin(0.2, noise_std=0.05, grad_clip=1.0)

    def propose(batch: Batch, generator: Generator) -> Tensor:
        z = _normal(batch.x.new_empty(len(batch.x), latent), generator)
        z = walk(
            chain,
            model.latent_field(),
            nn.functional.normalize(z, dim=1),
            steps,
            generator,
            check=False,
        )
        with torch.no_grad():
            return model.decode(z)

    return propose


Maker = Callable[[str, str, int], Detecting]


def _levels(name: str, how: How, says: str) -> Maker:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> ScoreDetector:
        quick = preset == "quick"
        budget = (
            Budget(15_000, 25_000, 40_000, 15_000)
            if quick
            else Budget(100_000, 200_000, 300_000, 100_000)
        )
        budget = replace(budget, batch=64)
        scope = scope_of(dataset, preset)
        return ScoreDetector(
            name, dataset, preset, seed, scope, how, budget, net="energy", residual=how == "energy"
        )

    make.__doc__ = says
    return make


def _contrastive(name: str, energy: Literal["tilted", "autoencoder"], says: str) -> Maker:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> ContrastiveDetector:
        images, pretrain = (12_000, 12_000) if preset == "quick" else (200_000, 150_000)
        return ContrastiveDetector(
            name, dataset, preset, seed, scope_of(dataset, preset), energy, images, pretrain
        )

    make.__doc__ = says
    return make


TRIALS: dict[str, Maker] = {
    "level_energy": _levels(
        "level_energy",
        "energy",
        "Energy at the data's own noise level, by denoising score matching.",
    ),
    "level_gradient": _levels("level_gradient", "norm", "The norm of that energy's gradient."),
    "contrastive_energy": _contrastive(
        "contrastive_energy", "tilted", "Energy by contrastive divergence: a Gaussian, corrected."
    ),
    "normalised_autoencoder": _contrastive(
        "normalised_autoencoder", "autoencoder", "Energy of a normalised autoencoder (NAE)."
    ),
}
RIVALS = (
    "neighbour_1",
    "neighbour_5",
    "cluster_means",
    "pca_32",
    "isolation_forest",
    "autoencoder_error",
)
METHODS = order(TRIALS, RIVALS)

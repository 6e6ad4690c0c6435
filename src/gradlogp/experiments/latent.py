"""Baselines that draw in one pass: a variational autoencoder and adversarial networks, trained and
judged like everything else.

The encoder, and the critic, are the trunk of the energy-based model: the same convolutions, the
same width. The decoder comes on top of it. Budgets are in training pictures; choices (learning
rate, width of the code, penalty, how often the generator moves) were made on the validation part,
by the Frechet distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.baselines.decoder import Decode, OnePass
from gradlogp.baselines.gan import GAN, Adversarial, Game, gan as adversarial
from gradlogp.baselines.vae import VAE, EvidenceBound, vae as variational
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.random import normal_
from gradlogp.experiments.base import Evaluation, Facts, Generative, Restorer, to_model, to_picture
from gradlogp.experiments.energy import Net
from gradlogp.objectives import Objective
from gradlogp.training import GuardSettings, Training


@dataclass(frozen=True)
class LatentRecipe(Generative):
    """latent: entries of the code. decoder: channels at a quarter and at half of the picture's
    sides.
    """

    experiment: str
    dataset: str
    preset: str
    training: Training
    seed: int = 0
    conditional: bool = False
    net: Net = field(default_factory=Net)
    latent: int = 32
    decoder: tuple[int, int] = (64, 32)
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(default_factory=lambda: Evaluation(sigmas=()))

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed)
        at_least(1, latent=self.latent, decoder=self.decoder)

    def generator(
        self, model: Any, facts: Facts, device: torch.device | str = "cpu"
    ) -> tasks.Generator[Any]:
        return tasks.Generator(
            lambda cond: OnePass(model), Decode(), normal_, 1, (self.latent,), to_picture, device
        )


@final
@dataclass(frozen=True)
class VAERecipe(LatentRecipe):
    @property
    def evaluations_per_example(self) -> int:
        return 2  # encoder and decoder

    def model(self, facts: Facts) -> VAE:
        return variational(
            facts.shape, self.latent, self.net.channels, self.net.width, self.decoder
        )

    def objective(
        self, facts: Facts, generator: Generator, device: torch.device | str
    ) -> Objective:
        return EvidenceBound()

    def restorer(self, model: Any, validation: Tensor, sigma: float, seed: int) -> Restorer:
        def restore(noisy: Tensor) -> Tensor:
            with torch.no_grad():
                return to_picture(model(model.encode(to_model(noisy))[0]))

        return Restorer(restore, "decoded mean of the code", 2)


@final
@dataclass(frozen=True)
class GANRecipe(LatentRecipe):
    """every: updates of the critic for one of the generator."""

    game: Game = "non_saturating"
    penalty: float = 0.0
    every: int = 1
    guard: GuardSettings = field(default_factory=lambda: GuardSettings(max_energy=1e4))

    @property
    def evaluations_per_example(self) -> int:
        return 4  # generator; critic on data, on samples, and for the generator

    def model(self, facts: Facts) -> GAN:
        return adversarial(
            facts.shape, self.latent, self.net.channels, self.net.width, self.decoder
        )

    def objective(
        self, facts: Facts, generator: Generator, device: torch.device | str
    ) -> Objective:
        return Adversarial(self.game, self.penalty, self.every)

    def restorer(self, model: Any, validation: Tensor, sigma: float, seed: int) -> Restorer:
        raise UserError(
            "an adversarial network has no encoder, so it cannot restore a picture; take vae, ebm"
            " or ncsn."
        )


def vae(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> VAERecipe:
    """A variational autoencoder with the energy's trunk for an encoder and a learned Gaussian
    noise.
    """
    training = Training(_images(dataset, preset, (64_000, 1_500_000)), batch=32, learning_rate=3e-3)
    return _small(VAERecipe("vae", dataset, preset, training, seed, latent=6))


def gan(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> GANRecipe:
    """An adversarial network, non-saturating, with the energy's trunk for a critic."""
    training = Training(
        _images(dataset, preset, (64_000, 1_500_000)), learning_rate=3e-3, beta1=0.5
    )
    return _small(GANRecipe("gan", dataset, preset, training, seed))


def wgan_gp(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> GANRecipe:
    """A Wasserstein adversarial network with gradient penalty, with the energy's trunk for a
    critic.
    """
    training = Training(
        _images(dataset, preset, (32_000, 1_000_000)), batch=32, learning_rate=1e-3, beta1=0.0
    )
    return _small(
        GANRecipe(
            "wgan_gp", dataset, preset, training, seed, latent=16, game="wasserstein", penalty=10.0
        )
    )


def _images(dataset: str, preset: str, quick_and_full: Sequence[int]) -> int:
    quick, full = quick_and_full
    return {"quick": quick, "full": quick if dataset == "digits" else full, "gpu": 10_000_000}[
        preset
    ]


def _small(recipe: Any) -> Any:
    """8x8 pictures take a smaller trunk, like the energy's."""
    if recipe.dataset != "digits":
        return recipe
    return replace(recipe, net=Net((16, 32, 64)), evaluation=Evaluation(samples=360, sigmas=()))

"""Baselines that draw in one pass: a variational autoencoder and adversarial networks, trained and
measured like everything else.

The encoder, and the critic, are the trunk of the energy-based model: the same convolutions, the
same width. The decoder comes on top of it. Budgets are in training pictures; choices (learning
rate, width of the code, penalty, how often the generator moves) were made on the validation part,
by the Frechet distance.
"""

from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.baselines.decoder import Decode, OnePass
from gradlogp.baselines.gan import GAN, Adversarial, Game, gan as adversarial
from gradlogp.baselines.vae import VAE, EvidenceBound, vae as variational
from gradlogp.baselines.wave_gan import wave_gan as waveforms
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.random import normal_
from gradlogp.experiments.recipes.nets import Net
from gradlogp.harness.recipe import (
    GUARDED,
    DataSpec,
    Evaluation,
    Generative,
    Restoration,
    Target,
    configured,
)
from gradlogp.harness.settings import Choices
from gradlogp.objectives import Objective
from gradlogp.training import GuardSettings, Training

SMALL = ("net.channels=16,32,64", "evaluation.samples=360")  # 8x8 pictures take a smaller trunk
COLOUR = ("net.channels=32,64,128,128", "net.width=128", "latent=64", "decoder=128,64")
VAE_BUDGETS: Choices = {
    "any": {
        "quick": ("training.images=64000",),
        "full": ("training.images=1500000",),
        "gpu": ("training.images=10000000",),
    },
    "small": {"any": SMALL, "full": ("training.images=64000",)},
    "cifar10": {"any": COLOUR, "quick": ("training.images=150000",)},
}
GAN_BUDGETS: Choices = VAE_BUDGETS
WGAN_BUDGETS: Choices = {
    "any": {
        "quick": ("training.images=32000",),
        "full": ("training.images=1000000",),
        "gpu": ("training.images=10000000",),
    },
    "small": {"any": SMALL, "full": ("training.images=32000",)},
    "cifar10": {"any": COLOUR, "quick": ("training.images=60000",)},
}


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

    def sampling(
        self, model: Any, spec: DataSpec, device: torch.device | str = "cpu"
    ) -> tasks.Sampling[Any]:
        finish = spec.coordinates.from_model
        return tasks.Sampling(
            lambda cond: OnePass(model), Decode(), normal_, 1, (self.latent,), finish, device
        )


@final
@dataclass(frozen=True)
class VAERecipe(LatentRecipe):
    @property
    def evaluations_per_example(self) -> int:
        return 2  # encoder and decoder

    @property
    def unused(self) -> tuple[str, ...]:
        return GUARDED

    def model(self, spec: DataSpec) -> VAE:
        return variational(spec.shape, self.latent, self.net.channels, self.net.width, self.decoder)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        return EvidenceBound()

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        kind = spec.coordinates

        def restore(noisy: Tensor) -> Tensor:
            with torch.no_grad():
                return kind.from_model(model(model.encode(kind.to_model(noisy))[0]))

        return Restoration(restore, "decoded mean of the code", 2)

    def title(self) -> str:
        return "Variational autoencoder"


@final
@dataclass(frozen=True)
class GANRecipe(LatentRecipe):
    """every: updates of the critic for one of the generator. waves: a generator and a critic with
    long kernels and shuffled phases, for waveforms.
    """

    game: Game = "non_saturating"
    penalty: float = 0.0
    every: int = 1
    waves: bool = False
    guard: GuardSettings = field(default_factory=lambda: GuardSettings(max_energy=1e4))

    @property
    def evaluations_per_example(self) -> int:
        return 4  # generator; critic on data, on samples, and for the generator

    def model(self, spec: DataSpec) -> GAN:
        if self.waves:
            return waveforms(spec.shape, self.latent, trunk=self.net.channels[:3])
        return adversarial(spec.shape, self.latent, self.net.channels, self.net.width, self.decoder)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        return Adversarial(self.game, self.penalty, self.every)

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        raise UserError(
            "an adversarial network has no encoder, so it cannot restore an example; take vae, ebm"
            " or ncsn."
        )

    def title(self) -> str:
        if self.waves:
            return "Adversarial network of waveforms (WaveGAN)"
        wasserstein = self.game == "wasserstein"
        return f"Adversarial network, {'Wasserstein with penalty' if wasserstein else 'non-saturating'}"


def vae(target: Target, preset: str = "quick", seed: int = 0) -> VAERecipe:
    """A variational autoencoder with the energy's trunk for an encoder and a learned Gaussian
    noise.
    """
    training = Training(1, batch=32, learning_rate=3e-3)
    recipe = VAERecipe("vae", target.name, preset, training, seed, latent=6)
    return configured(recipe, VAE_BUDGETS, target, preset)


def gan(target: Target, preset: str = "quick", seed: int = 0) -> GANRecipe:
    """An adversarial network, non-saturating, with the energy's trunk for a critic."""
    training = Training(1, learning_rate=3e-3, beta1=0.5)
    recipe = GANRecipe("gan", target.name, preset, training, seed)
    return configured(recipe, GAN_BUDGETS, target, preset)


def wgan_gp(target: Target, preset: str = "quick", seed: int = 0) -> GANRecipe:
    """A Wasserstein adversarial network with gradient penalty, with the energy's trunk for a
    critic.
    """
    training = Training(1, batch=32, learning_rate=1e-3, beta1=0.0)
    recipe = GANRecipe("wgan_gp", target.name, preset, training, seed)
    recipe = replace(recipe, latent=16, game="wasserstein", penalty=10.0)
    return configured(recipe, WGAN_BUDGETS, target, preset)


def wave_gan(target: Target, preset: str = "quick", seed: int = 0) -> GANRecipe:
    """WaveGAN: a generator of waveforms against a critic with phase shuffle, Wasserstein with
    penalty.
    """
    training = Training(1, batch=32, learning_rate=3e-4, beta1=0.5)
    recipe = GANRecipe("wave_gan", target.name, preset, training, seed, latent=100, waves=True)
    recipe = replace(recipe, game="wasserstein", penalty=10.0, every=5)
    return configured(recipe, WGAN_BUDGETS, target, preset)

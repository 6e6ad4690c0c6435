"""The methods of restoring, each with its settings, and those that need no learning: the noisy
picture, Wiener's filter, the training set itself.

References: Wiener (1949), Extrapolation, Interpolation and Smoothing of Stationary Time Series; Li,
Chen & Sommer (2019), arXiv 1910.07762; Vincent (2011); Rifai et al. (2011), Contractive
Auto-Encoders.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, final

import torch

from gradlogp.baselines.wiener import PixelGaussian
from gradlogp.core.targets import Empirical
from gradlogp.data import Dataset
from gradlogp.experiments.denoise.chains import Contrastive
from gradlogp.experiments.denoise.common import Denoise, Estimator
from gradlogp.experiments.denoise.networks import Loss, Net, Network
from gradlogp.harness.compare import Maker
from gradlogp.harness.recipe import Target
from gradlogp.harness.record import Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context

PICTURES: Choices = {"any": {"full": ("pictures=1000",), "gpu": ("pictures=2000",)}}
NETWORKS: Choices = {
    "any": {"full": ("training.images=300000",), "gpu": ("training.images=4000000",)}
}
WIRED: Choices = {"cifar10": {"any": ("covariance=true",)}}  # of networks that know noise levels
# At twice this rate it learns nothing, and is Wiener's filter.
STRIDED: Choices = {"cifar10": {"any": ("training.learning_rate=2e-3",)}}
CONTRASTIVE: Choices = {"any": {"full": ("images=300000",), "gpu": ("images=4000000",)}}
T = TypeVar("T", bound=Denoise)


@final
@dataclass(frozen=True)
class Untrained(Denoise):
    """What needs no learning: the noisy picture, Wiener's filter, the training set itself."""

    by: Literal["nothing", "wiener", "memory"] = "nothing"

    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Estimator]:
        with recorder.training():
            return UNTRAINED[self.by](context.data)


def nothing(data: Dataset) -> Callable[[float], Estimator]:
    return lambda sigma: Estimator(lambda y: y, "the noisy picture itself", 0)


def by_wiener(data: Dataset) -> Callable[[float], Estimator]:
    gaussian = PixelGaussian.fit(data.train.scaled())
    says = "Wiener filter of the pixels' mean and covariance"
    return lambda sigma: Estimator(lambda y: gaussian.restore(y, sigma), says, 0)


def by_memory(data: Dataset) -> Callable[[float], Estimator]:
    training = Empirical(data.train.scaled())
    says = f"exact posterior mean if the {len(data.train)} training pictures were all there is"

    def at(sigma: float) -> Estimator:
        return Estimator(
            lambda y: torch.cat([training.denoise(part, sigma) for part in y.split(250)]), says, 0
        )

    return at


UNTRAINED: Mapping[str, Callable[[Dataset], Callable[[float], Estimator]]] = {
    "nothing": nothing,
    "wiener": by_wiener,
    "memory": by_memory,
}


def _sized(trial: T, target: Target) -> T:
    """As many test pictures as the preset has."""
    return chosen(trial, PICTURES, target.families, trial.preset)


def _network(name: str, net: Net, loss: Loss, target: Target, preset: str, seed: int) -> Network:
    trial = Network(name, target.name, preset, seed, net=net, loss=loss)
    trial = chosen(trial, NETWORKS, target.families, preset)
    return _sized(
        trial if net == "narrow" else chosen(trial, WIRED, target.families, preset), target
    )


def mdsm_ebm(target: Target, preset: str = "quick", seed: int = 0) -> Network:
    """A noise-conditional energy, a UNet's squared error, by denoising score matching."""
    return _network("mdsm_ebm", "unet_energy", "score matching", target, preset, seed)


def mdsm_conv(target: Target, preset: str = "quick", seed: int = 0) -> Network:
    """The same loss on an energy from plain strided convolutions with a scalar head."""
    trial = _network("mdsm_conv", "conv_energy", "score matching", target, preset, seed)
    return chosen(trial, STRIDED, target.families, preset)


def cd_ebm(target: Target, preset: str = "quick", seed: int = 0) -> Contrastive:
    """An energy trained by contrastive divergence, beside a Gaussian of the pixels: the mean of 8
    posterior Langevin chains.
    """
    trial = Contrastive("cd_ebm", target.name, preset, seed)
    return _sized(chosen(trial, CONTRASTIVE, target.families, preset), target)


def dsm(target: Target, preset: str = "quick", seed: int = 0) -> Network:
    """A noise-conditional score network, by denoising score matching."""
    return replace(_network("dsm", "unet", "score matching", target, preset, seed), levels=40)


def dae(target: Target, preset: str = "quick", seed: int = 0) -> Network:
    """A denoising autoencoder: the score network's UNet, seed and noise, trained on the squared
    error.
    """
    return _network("dae", "unet", "squared error", target, preset, seed)


def dae_weighted(target: Target, preset: str = "quick", seed: int = 0) -> Network:
    """The same autoencoder, its levels weighed as the score network's are: the same loss by another
    road.
    """
    return _network("dae_weighted", "unet", "weighted error", target, preset, seed)


def ae(target: Target, preset: str = "quick", seed: int = 0) -> Network:
    """A plain autoencoder, trained on clean pictures."""
    return _network("ae", "narrow", "plain", target, preset, seed)


def contractive_ae(target: Target, preset: str = "quick", seed: int = 0) -> Network:
    """A contractive autoencoder, trained on clean pictures."""
    return _network("contractive_ae", "narrow", "contractive", target, preset, seed)


def wiener(target: Target, preset: str = "quick", seed: int = 0) -> Untrained:
    """Wiener's filter, the best linear denoiser: mean and covariance of the pixels."""
    return _sized(Untrained("wiener", target.name, preset, seed, by="wiener"), target)


def memory(target: Target, preset: str = "quick", seed: int = 0) -> Untrained:
    """The exact denoiser of the training pictures: what memory alone can do."""
    return _sized(Untrained("memory", target.name, preset, seed, by="memory"), target)


def noisy(target: Target, preset: str = "quick", seed: int = 0) -> Untrained:
    """The noisy pictures themselves."""
    return _sized(Untrained("noisy", target.name, preset, seed), target)


REFERENCES: Mapping[str, Maker] = {"ae": ae, "wiener": wiener, "memory": memory, "noisy": noisy}
ENERGIES: Mapping[str, Maker] = {
    "mdsm_ebm": mdsm_ebm,
    "cd_ebm": cd_ebm,
    "dae": dae,
    "mdsm_conv": mdsm_conv,
    **REFERENCES,
}
AUTOENCODERS: Mapping[str, Maker] = {
    "dsm": dsm,
    "dae_weighted": dae_weighted,
    "dae": dae,
    "contractive_ae": contractive_ae,
    **REFERENCES,
}

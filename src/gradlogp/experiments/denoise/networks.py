r"""Networks that restore at every level: score networks, noise-conditional energies, autoencoders.

A score network gives the posterior mean in one evaluation (Tweedie), a noise-conditional energy in
one gradient,

.. math:: E[x_0 \mid y] = y + \sigma^2 s(y, \sigma) = y - \sigma^2 \nabla_y E(y, \sigma),

a denoising autoencoder directly: it minimises the same loss up to a weight of the levels. All but
the plain autoencoders are told sigma.

A score network draws its posterior sample by reverse diffusion from y downwards, since y *is* a
draw of the noised distribution at sigma; each step's variance counts in the posterior's own,
measured on validation pictures, or 40 steps would fall .3 dB short.

References: Vincent (2011), A Connection Between Score Matching and Denoising Autoencoders; Li, Chen
& Sommer (2019), arXiv 1910.07762 (energies by denoising score matching at many levels); Kadkhodaie
& Simoncelli (2021), arXiv 2007.13640 (samples from a denoiser).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import torch
from torch import Generator, Tensor, nn

from gradlogp import tasks
from gradlogp.baselines.autoencoder import DenoisingError, Reconstruction, autoencoder, reconstruct
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField
from gradlogp.core.kernel import run as walk
from gradlogp.core.random import seed_for, seeded
from gradlogp.experiments.denoise.common import (
    Denoise,
    Estimate,
    Estimator,
    PosteriorSample,
    learned_in,
    unclamped,
)
from gradlogp.experiments.recipes.wired import check_covariance
from gradlogp.harness.fit import fit
from gradlogp.harness.kinds import Kind
from gradlogp.harness.recipe import DataSpec, Recipe, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context
from gradlogp.models import (
    Preconditioned,
    PreconditionedEnergy,
    conv_noisy_energy,
    fit_gaussian,
    unet_noisy_energy,
    unet_score,
    with_gaussian,
)
from gradlogp.objectives import DenoisingScoreMatching, LogNormal, Objective, Uncertainty
from gradlogp.samplers import Ancestral
from gradlogp.tasks.likelihood import measure_variance
from gradlogp.training import GuardSettings, Training

Net = Literal["unet", "unet_energy", "conv_energy", "narrow"]
Loss = Literal["score matching", "squared error", "weighted error", "plain", "contractive"]
BUDGET = Training(48_000, batch=32, learning_rate=4e-3)


@final
@dataclass(frozen=True)
class DenoisingRecipe(Recipe):
    """A network that is trained once and restores at every level. Noise levels here are on [-1, 1],
    twice those on [0, 1].
    """

    experiment: str
    dataset: str
    preset: str
    training: Training
    seed: int = 0
    conditional: bool = False
    net: Net = "unet"
    loss: Loss = "score matching"
    channels: tuple[int, ...] = (24, 48)
    levels: LogNormal = field(default_factory=lambda: LogNormal(-0.4, 1.0))
    latent: int = 64
    contractive: float = 1.0
    covariance: bool = False
    guard: GuardSettings = field(default_factory=GuardSettings)

    @property
    def evaluations_per_example(self) -> int:
        return 1

    def model(self, spec: DataSpec) -> nn.Module:
        if self.net == "narrow":
            return autoencoder(spec.shape, self.latent, (16, 32, 64), 128)
        model = self._preconditioned(spec)
        return with_gaussian(model, spec.shape, spec.std) if self.covariance else model

    def _preconditioned(self, spec: DataSpec) -> Preconditioned | PreconditionedEnergy:
        if self.net == "unet":
            return unet_score(spec.shape, spec.std, self.channels, blocks=1)
        if self.net == "unet_energy":
            return unet_noisy_energy(spec.shape, spec.std, self.channels, blocks=1)
        return conv_noisy_energy(spec.shape, spec.std, (32, 64, 64, 128), 128)

    def accept(self, spec: DataSpec, examples: Callable[[], Tensor]) -> None:
        if self.covariance:
            check_covariance(spec)

    def prepare(
        self, model: Any, objective: Any, examples: Callable[[], Batch], generator: Generator
    ) -> None:
        fit_gaussian(model, examples)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        if self.loss == "score matching":
            uncertainty = Uncertainty().to(device) if self.covariance else None
            return DenoisingScoreMatching(self.levels, "edm", spec.std, uncertainty=uncertainty)
        if self.net == "narrow":
            weight = self.contractive if self.loss == "contractive" else 0.0
            return Reconstruction(contractive=weight)
        return DenoisingError(self.levels, spec.std if self.loss == "weighted error" else None)


@final
@dataclass(frozen=True)
class Network(Denoise):
    """A network with its loss; `levels` of reverse diffusion draw its posterior sample (0: none)."""

    training: Training = BUDGET
    net: Net = "unet"
    loss: Loss = "score matching"
    covariance: bool = False  # Wiener's filter is wired in, the network learns the rest
    levels: int = 0
    lowest: float = 0.03  # noise at which reverse diffusion ends, on [-1, 1]
    calibration: int = 64  # validation pictures on which the posterior variance is measured

    def __post_init__(self) -> None:
        if self.covariance and self.net == "narrow":
            raise UserError(
                "covariance=true wires a filter for every noise level into a network, and net=narrow"
                " knows no levels; set covariance=false."
            )

    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Estimator]:
        spec = specify(context.data)
        model = self._trained(context, recorder, spec)
        kind = spec.coordinates
        if self.net == "narrow":
            return lambda sigma: narrow(model, kind)
        some = context.data.validation.scaled(slice(0, self.calibration))
        validation = kind.to_model(some)
        return lambda sigma: self._estimator(model.field(), kind, validation, sigma)

    def _trained(self, context: Context, recorder: Recorder, spec: DataSpec) -> Any:
        recipe = DenoisingRecipe(
            self.experiment,
            self.dataset,
            self.preset,
            self.training,
            self.seed,
            net=self.net,
            loss=self.loss,
            covariance=self.covariance,
        )
        run = fit(recipe, context.data, recorder.run.path / "network", recorder.listener)
        run.close()
        learned_in(recorder, run)
        model = recipe.model(spec)
        model.load_state_dict(run.load("ema")[0])
        return model.eval().requires_grad_(False)

    def _estimator(
        self, noisy: NoisyField, kind: Kind, validation: Tensor, sigma: float
    ) -> Estimator:
        scale = kind.gain * sigma
        means = "the network's output" if self.net == "unet" else "one gradient step"
        estimator = Estimator(
            in_parts(lambda x: tasks.tweedie(noisy, x, scale), kind),
            f"posterior mean, {means} (Tweedie)",
        )
        if not self.levels:
            return estimator
        return replace(estimator, sample=self._sample(noisy, kind, validation, sigma))

    def _sample(
        self, noisy: NoisyField, kind: Kind, validation: Tensor, sigma: float
    ) -> PosteriorSample:
        """Reverse diffusion from the noisy picture, with the variances measured on `validation`."""
        levels = geometric(kind.gain * sigma, self.lowest, self.levels)
        sampler = Ancestral(levels=tuple(levels), variance="learned")
        known = seeded(seed_for("calibration", self.seed), "calibrate")
        field = measure_variance(noisy, validation, levels, known, same_noise=True)
        generator = seeded(seed_for("posterior", self.seed), "sample", str(sigma))
        draw = in_parts(lambda x: walk(sampler, field, x, sampler.steps, generator), kind)
        says = (
            f"one posterior sample by {sampler.steps} ancestral steps down from the noisy picture"
        )
        return PosteriorSample(draw, says, anew=True)


def narrow(model: Any, kind: Kind) -> Estimator:
    """What a narrow autoencoder makes of a noisy picture, at any level."""
    decoded = in_parts(lambda x: reconstruct(model, x), kind)
    says = "reconstruction of the noisy picture, clamped as the clean ones that it knows"
    return Estimator(lambda y: decoded(y.clamp(0, 1)), says)


def geometric(high: float, low: float, n: int) -> list[float]:
    return [high * (low / high) ** (i / (n - 1)) for i in range(n)]


def in_parts(restore: Estimate, kind: Kind, size: int = 250) -> Estimate:
    """`restore` in model coordinates, for pictures on [0, 1], a few hundred at a time."""

    def restored(noisy: Tensor) -> Tensor:
        with torch.no_grad():
            return unclamped(torch.cat([restore(x) for x in kind.to_model(noisy).split(size)]))

    return restored

"""Energy-based models of pictures by contrastive divergence: with a replay buffer, without one, and
without one by longer chains.

The chains are generators, on purpose: a large step on a clipped score, little noise, pixels
clamped. `step_size x grad_clip` = 0.3 lets a pixel cross a seventh of its range per step, which is
what makes 20 steps from noise worth anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Generator, Tensor

from gradlogp import tasks
from gradlogp.core.errors import UserError, at_least
from gradlogp.experiments.base import (
    Evaluation,
    Facts,
    Generative,
    Restorer,
    fill_uniform,
    to_model,
    to_picture,
)
from gradlogp.models import ConvEnergy
from gradlogp.objectives import (
    ContrastiveDivergence,
    FromBuffer,
    FromNoise,
    Objective,
    ReplayBuffer,
)
from gradlogp.samplers import Langevin
from gradlogp.training import GuardSettings, Training

RANGE = (-1.0, 1.0)
STOPS = (2, 5, 10, 20, 40)  # numbers of steps that a restorer chooses from, beside the most


@final
@dataclass(frozen=True)
class Net:
    """Channels of the strided convolutions, and the width of the layer after them."""

    channels: tuple[int, ...] = (16, 32, 64, 64)
    width: int = 64

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, width=self.width)


@final
@dataclass(frozen=True)
class Buffer:
    """Chains kept, and the share of a draw that starts anew from noise."""

    capacity: int = 8192
    fresh: float = 0.1

    def __post_init__(self) -> None:
        at_least(1, capacity=self.capacity)
        if not 0 <= self.fresh <= 1:
            raise UserError(f"fresh is a share, in [0, 1], got {self.fresh}.")


@final
@dataclass(frozen=True)
class Restore:
    """Posterior chains for denoising: the step as a share of sigma^2, their temperature, the most
    steps, how many are averaged.
    """

    step: float = 0.1
    temperature: float = 0.1
    steps: int = 60
    samples: int = 4
    weights: tuple[float, ...] = (100.0, 300.0, 600.0, 1000.0, 3000.0)

    def __post_init__(self) -> None:
        at_least(1, samples=self.samples)
        at_least(0, temperature=self.temperature, steps=self.steps, weights=self.weights)
        if self.step <= 0:
            raise UserError(f"step is a positive share of sigma^2, got {self.step}.")


@final
@dataclass(frozen=True)
class EnergyRecipe(Generative):
    """chain_steps: Langevin steps per update. generate_steps: from noise to a sample. buffer=None
    starts all chains from noise.
    """

    experiment: str
    dataset: str
    preset: str
    training: Training
    seed: int = 0
    conditional: bool = False
    net: Net = field(default_factory=Net)
    chain: Langevin = field(
        default_factory=lambda: Langevin(10.0, noise_std=0.01, grad_clip=0.03, clamp=RANGE)
    )
    chain_steps: int = 20
    generate_steps: int = 300
    buffer: Buffer | None = field(default_factory=Buffer)
    regularise: float = 0.1
    data_noise: float = 0.005
    restore: Restore = field(default_factory=Restore)
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        at_least(1, chain_steps=self.chain_steps)
        if self.buffer is not None and self.buffer.capacity < self.training.batch:
            raise UserError(
                f"a batch draws {self.training.batch} different chains, so buffer.capacity must be"
                f" as much, got {self.buffer.capacity}."
            )
        at_least(
            0,
            seed=self.seed,
            generate_steps=self.generate_steps,
            regularise=self.regularise,
            data_noise=self.data_noise,
        )

    @property
    def evaluations_per_example(self) -> int:
        return self.chain_steps + 2

    @property
    def reach(self) -> float:
        return self.chain.reach

    def model(self, facts: Facts) -> ConvEnergy:
        classes = facts.classes if self.conditional else 0
        return ConvEnergy(facts.shape, self.net.channels, self.net.width, classes)

    def objective(
        self, facts: Facts, generator: Generator, device: torch.device | str
    ) -> Objective:
        starts = (
            FromNoise(fill_uniform)
            if self.buffer is None
            else self._buffer(self.buffer, facts, generator, device)
        )
        return ContrastiveDivergence(
            self.chain, starts, self.chain_steps, self.regularise, self.data_noise, RANGE
        )

    def _buffer(
        self, settings: Buffer, facts: Facts, generator: Generator, device: torch.device | str
    ) -> FromBuffer:
        classes = None
        if self.conditional:  # slots hold the classes in the shares that the data have
            shares = torch.tensor(facts.per_class, dtype=torch.float64)
            classes = torch.multinomial(
                shares, settings.capacity, replacement=True, generator=generator
            )
        return FromBuffer(
            ReplayBuffer(
                settings.capacity,
                facts.shape,
                fill_uniform,
                generator,
                settings.fresh,
                classes,
                device,
            )
        )

    def generator(
        self, model: Any, facts: Facts, device: torch.device | str = "cpu"
    ) -> tasks.Generator[Any]:
        return tasks.Generator(
            model.field,
            self.chain,
            fill_uniform,
            self.generate_steps,
            facts.shape,
            to_picture,
            device,
        )

    def restorer(self, model: Any, validation: Tensor, sigma: float, seed: int) -> Restorer:
        r = self.restore
        scale = 2 * sigma  # noise of sigma on [0, 1] is twice that on [-1, 1]
        sampler = Langevin(r.step * scale**2, temperature=r.temperature, clamp=RANGE)

        def along(noisy: Tensor, weight: float, at: Sequence[int]) -> Tensor:
            y = to_model(noisy).to(next(model.parameters()).device)
            return to_picture(
                tasks.posterior_path(model.field(), sampler, y, scale, weight, at, r.samples, seed)
            ).cpu()

        noisy = validation + sigma * torch.randn(
            validation.shape, generator=torch.Generator().manual_seed(seed)
        )
        at = sorted({*(s for s in STOPS if s < r.steps), r.steps})
        tried = (
            ((w, s), x) for w in r.weights for s, x in zip(at, along(noisy, w, at), strict=True)
        )
        weight, steps = tasks.choose(tried, validation)
        says = (
            f"mean of {r.samples} Langevin chains of {steps} steps on {weight:g} x energy + |x -"
            f" y|^2 / 2 sigma^2 at temperature {r.temperature:g}; steps and weight chosen on"
            f" {len(validation)} validation pictures"
        )
        return Restorer(
            lambda y: along(y, weight, (steps,))[0],
            says,
            steps * r.samples,
            lambda y, at: along(y, weight, at),
        )


def ebm(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """An energy-based model with a replay buffer."""
    small = dataset == "digits"
    images = {
        "quick": 112_000 if small else 128_000,
        "full": 200_000 if small else 400_000,
        "gpu": 4_000_000,
    }[preset]
    training = Training(
        images, learning_rate=1e-3 if preset == "quick" else 7e-4, beta1=0.0, grad_clip=0.1
    )
    recipe = EnergyRecipe(
        "ebm",
        dataset,
        preset,
        training,
        seed,
        evaluation=Evaluation(steps=(0, 5, 10, 20, 40, 80, 160, 400)),
    )
    return _small(recipe) if small else recipe


def _small(recipe: EnergyRecipe) -> EnergyRecipe:
    """For 8x8 pictures in 17 shades: smaller steps with more noise, a smaller network, and a higher
    learning rate.
    """
    chain = Langevin(4.0, noise_std=0.02, grad_clip=0.03, clamp=RANGE)
    return replace(
        recipe,
        net=Net((16, 32, 64)),
        chain=chain,
        buffer=Buffer(2048, 0.05),
        data_noise=0.03,
        training=replace(recipe.training, learning_rate=1e-2),
        evaluation=Evaluation(samples=360, denoise=180, steps=(recipe.chain_steps,)),
    )


def ebm_no_buffer(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """The same energy-based model, but every chain starts from noise at every update."""
    return replace(ebm(dataset, preset, seed), experiment="ebm_no_buffer", buffer=None)


def ebm_long_chains(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """No buffer, but chains five times as long, for as many fewer pictures: the network evaluations
    are those of ebm.
    """
    short = ebm_no_buffer(dataset, preset, seed)
    long = replace(short, experiment="ebm_long_chains", chain_steps=5 * short.chain_steps)
    images = (
        short.training.images * short.evaluations_per_example // long.evaluations_per_example
    )  # 22 / 102 of the pictures
    steps = tuple(sorted({*short.evaluation.steps, long.chain_steps}))
    return replace(
        long,
        training=replace(short.training, images=images),
        evaluation=replace(short.evaluation, steps=steps),
    )


def ebm_class(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> EnergyRecipe:
    """A class-conditional energy-based model: a joint energy of picture and class, with a buffer
    divided by class.
    """
    return replace(ebm(dataset, preset, seed), experiment="ebm_class", conditional=True)

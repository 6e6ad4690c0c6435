"""Representations without classes, and two yardsticks: the same trunk untrained, and told the
classes.

The energies and SimCLR share one trunk, and all networks their budget of training examples. A layer
is averaged over a 2x2 grid of its places. Energies and scores see mirrored pictures where the data
may be mirrored, and noise; SimCLR has its own augmentation once, and theirs once, since much of
what it knows it is told by its augmentation.

References: Chen et al. (2020), arXiv 2002.05709 (SimCLR); Kim & Ye (2022), Energy-Based Contrastive
Learning of Visual Representations, arXiv 2202.04933 (energies for features); Baranchuk et al.
(2022), arXiv 2112.03126, and Xiang et al. (2023), arXiv 2303.09769 (features of a denoiser by
layer and noise level).
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlogp.baselines.linear import Principal
from gradlogp.baselines.simclr import simclr as simclr_model
from gradlogp.experiments.recipes.energy import ebm as energy_recipe
from gradlogp.experiments.represent.common import Encode, Represent, components
from gradlogp.harness.compare import Maker
from gradlogp.harness.fit import fit, load
from gradlogp.harness.recipe import DataSpec, Target, specify
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.settings import Choices, chosen
from gradlogp.harness.trial import Context, trained
from gradlogp.models import conv_noisy_energy, unet_score
from gradlogp.models.mixture import without_proposal
from gradlogp.models.nets.conv import ConvTrunk
from gradlogp.objectives import CrossEntropy, DenoisingScoreMatching, LogNormal, NTXent, Objective
from gradlogp.objectives.augment import (
    CROPS_AND_COLOURS,
    Augmentation,
    Augmented,
    Chain,
    Flip,
    Noise,
    ResizedCrop,
)
from gradlogp.training import Training

TRUNK = (32, 64, 64, 128)
WIDTH = 128
LEVELS = (0.1, 0.3, 1.0)  # in model coordinates
GRID = 2  # places a side that a layer is averaged to
MIRRORED = ("cifar10", "celeba", "fashion_mnist")  # data sets whose pictures may be mirrored
BUDGETS: Choices = {
    "any": {
        "full": ("images=600000", "bank=50000", "chosen_on=10000"),
        "gpu": ("images=20000000", "bank=50000", "chosen_on=10000"),
    },
    "small": {"any": ("images=30000",)},
}
CD_BUDGETS: Choices = {"any": {"quick": ("images=20000",), "full": ("images=150000",)}}


def pooled(h: Tensor) -> Tensor:
    """[B, channels, *sizes] -> the means over a grid of places, flat; a vector stays."""
    if h.ndim == 2:
        return h
    height, width = (min(GRID, size) for size in h.shape[2:])
    return F.adaptive_avg_pool2d(h, (height, width)).flatten(1)


def stages_of_trunk(trunk: ConvTrunk, scale: float = 1.0, name: str = "layer") -> dict[str, Encode]:
    """Each layer of a trunk that sees scale * x."""

    def encode(index: int) -> Encode:
        return lambda x: pooled(trunk.stages(scale * x)[index])

    count = sum(isinstance(layer, nn.SiLU) for layer in trunk.layers)
    return {f"{name} {index + 1}": encode(index) for index in range(count)}


def noise_scale(model: Any, sigma: float) -> float:
    """By how much a preconditioned network scales its input at the level sigma."""
    return float((sigma**2 + model.sigma_data**2) ** -0.5)


@dataclass(frozen=True)
class Trained(Represent):
    """A network that learns without classes, then gives its layers."""

    batch: int = 64
    learning_rate: float = 1e-3
    told: ClassVar[bool] = False  # whether it learns from the classes

    @abc.abstractmethod
    def build(self, spec: DataSpec) -> tuple[nn.Module, Objective]:
        """The network, its weights from torch's global generator, and what it learns by."""

    @abc.abstractmethod
    def layers(self, model: Any) -> Mapping[str, Encode]: ...

    def candidates(self, context: Context, recorder: Recorder) -> Mapping[str, Encode]:
        spec, train = specify(context.data), context.data.train
        with recorder.training() as cost:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                model, objective = self.build(spec)
            x = spec.coordinates.to_model(train.scaled())
            training = Training(self.images, batch=self.batch, learning_rate=self.learning_rate)
            classes = train.labels if self.told else None
            learned = trained(recorder, "network", model, objective, x, classes, training)
            _count(cost, model, self.images)
        return self.layers(learned)

    def mirrored(self, objective: Objective) -> Objective:
        """The objective on mirrored pictures, where the data may be mirrored."""
        return Augmented(objective, Flip()) if self.dataset in MIRRORED else objective


def _count(cost: Cost, model: nn.Module, images: int) -> None:
    cost.parameters = sum(p.numel() for p in model.parameters())
    cost.images = images
    cost.evaluations = images


@final
@dataclass(frozen=True)
class NoisyEnergy(Trained):
    """An energy at every noise level, by denoising score matching."""

    def build(self, spec: DataSpec) -> tuple[nn.Module, Objective]:
        model = conv_noisy_energy(spec.shape, spec.std, TRUNK, WIDTH)
        return model, self.mirrored(DenoisingScoreMatching(LogNormal(-0.4, 1.0), "edm", spec.std))

    def layers(self, model: Any) -> Mapping[str, Encode]:
        trunk = model.potential.trunk
        found: dict[str, Encode] = {}
        for sigma in LEVELS:
            found |= stages_of_trunk(trunk, noise_scale(model, sigma), f"noise {sigma:g}, layer")
        return found


@final
@dataclass(frozen=True)
class Score(Trained):
    """A score network: the layers on its way down, at each noise level."""

    channels: tuple[int, ...] = (64, 128)

    def build(self, spec: DataSpec) -> tuple[nn.Module, Objective]:
        patch = 4 if max(spec.shape[1:]) >= 32 else 2
        model = unet_score(spec.shape, spec.std, self.channels, patch=patch)
        return model, self.mirrored(DenoisingScoreMatching(LogNormal(-0.4, 1.0), "edm", spec.std))

    def layers(self, model: Any) -> Mapping[str, Encode]:
        net = model.net

        def encode(sigma: float, index: int) -> Encode:
            scale = noise_scale(model, sigma)

            def features(x: Tensor) -> Tensor:
                level = x.new_full((len(x),), sigma).log() / 4
                return pooled(net.stages(scale * x, level)[index])

            return features

        places = [(sigma, index) for sigma in LEVELS for index in range(len(self.channels))]
        return {f"noise {s:g}, layer {i + 1}": encode(s, i) for s, i in places}


@final
@dataclass(frozen=True)
class Contrast(Trained):
    """SimCLR. augmentation: its own, or the mirroring and noise of the energies."""

    batch: int = 256
    augmentation: Literal["own", "noise"] = "own"
    temperature: float = 0.2

    def build(self, spec: DataSpec) -> tuple[nn.Module, Objective]:
        model = simclr_model(spec.shape, TRUNK, WIDTH)
        return model, NTXent(self.views(spec), self.temperature)

    def views(self, spec: DataSpec) -> Augmentation:
        flip = (Flip(),) if self.dataset in MIRRORED else ()
        if self.augmentation == "noise":
            return Chain((*flip, Noise(0.3)))
        colour = spec.shape[0] == 3
        return CROPS_AND_COLOURS if colour else Chain((*flip, ResizedCrop((0.3, 1.0))))

    def layers(self, model: Any) -> Mapping[str, Encode]:
        return stages_of_trunk(model.encoder)


@final
@dataclass(frozen=True)
class Told(Trained):
    """The same trunk as a classifier: what the classes themselves would teach it."""

    told: ClassVar[bool] = True

    def build(self, spec: DataSpec) -> tuple[nn.Module, Objective]:
        return TrunkClassifier(spec.shape, spec.classes), self.mirrored(CrossEntropy())

    def layers(self, model: Any) -> Mapping[str, Encode]:
        return stages_of_trunk(model.trunk)


class TrunkClassifier(nn.Module):
    """x [B, *shape] -> logits [B, classes], by the trunk of the energies."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.trunk = ConvTrunk(shape, TRUNK, WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


@final
@dataclass(frozen=True)
class RandomNetwork(Represent):
    """The trunk as the seed made it."""

    def candidates(self, context: Context, recorder: Recorder) -> Mapping[str, Encode]:
        spec = specify(context.data)
        with recorder.training() as cost, torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            trunk = ConvTrunk(spec.shape, TRUNK, WIDTH).requires_grad_(False)
            _count(cost, trunk, 0)
        return stages_of_trunk(trunk)


@final
@dataclass(frozen=True)
class ChainEnergy(Represent):
    """The energy of the recipe `ebm`, by contrastive divergence."""

    def candidates(self, context: Context, recorder: Recorder) -> Mapping[str, Encode]:
        recipe = energy_recipe(Target.of(context.data), self.preset, self.seed)
        net = replace(recipe.net, channels=TRUNK, width=WIDTH, patch=1)
        training = replace(recipe.training, images=self.images)
        recipe = replace(recipe, net=net, training=training)
        path = recorder.run.path / "network"
        with recorder.training() as cost:
            fit(recipe, context.data, path, recorder.listener).close()
            fitted = load(path, "cpu")
            spent = fitted.run.status()
            cost.parameters, cost.images = spent["parameters"], spent["images"]
            cost.evaluations = spent["evaluations"]
        model: Any = without_proposal(fitted.model)
        return stages_of_trunk(model.trunk)


@final
@dataclass(frozen=True)
class Pixels(Represent):
    """The pixels or, at one of `ranks`, their leading principal components."""

    ranks: tuple[int, ...] = ()

    def candidates(self, context: Context, recorder: Recorder) -> Mapping[str, Encode]:
        if not self.ranks:
            return {"pixels": lambda x: x.flatten(1)}
        data = context.data
        with recorder.training():
            train = specify(data).coordinates.to_model(data.train.scaled(slice(0, self.images)))
            found = [Components(components(train, rank)) for rank in self.ranks]
        return {f"{each.rank} components": each for each in found}


@final
@dataclass(frozen=True)
class Components:
    """x [n, *shape] -> its principal components with their own variances, [n, rank]."""

    fitted: Principal

    @property
    def rank(self) -> int:
        return self.fitted.basis.shape[1]

    def __call__(self, x: Tensor) -> Tensor:
        scale = self.fitted.basis.square().sum(0).rsqrt()
        return (self.fitted(x) * scale).float()


def _budgeted(trial: Any, target: Target, preset: str, choices: Choices = BUDGETS) -> Any:
    return chosen(trial, choices, target.families, preset)


def ebm_dsm(target: Target, preset: str = "quick", seed: int = 0) -> NoisyEnergy:
    """An energy at every noise level, by denoising score matching."""
    return _budgeted(NoisyEnergy("ebm_dsm", target.name, preset, seed), target, preset)


def ebm_cd(target: Target, preset: str = "quick", seed: int = 0) -> ChainEnergy:
    """An energy with a replay buffer, by contrastive divergence."""
    trial = _budgeted(ChainEnergy("ebm_cd", target.name, preset, seed), target, preset)
    return _budgeted(trial, target, preset, CD_BUDGETS)


def score(target: Target, preset: str = "quick", seed: int = 0) -> Score:
    """A score network, the layers on its way down at three noise levels."""
    return _budgeted(Score("score", target.name, preset, seed), target, preset)


def simclr(target: Target, preset: str = "quick", seed: int = 0) -> Contrast:
    """SimCLR with its own augmentation: crops, colours, mirroring."""
    return _budgeted(Contrast("simclr", target.name, preset, seed), target, preset)


def simclr_noise(target: Target, preset: str = "quick", seed: int = 0) -> Contrast:
    """SimCLR with no more than the energies are shown: mirroring and noise."""
    trial = Contrast("simclr_noise", target.name, preset, seed, augmentation="noise")
    return _budgeted(trial, target, preset)


def told(target: Target, preset: str = "quick", seed: int = 0) -> Told:
    """The same trunk as a classifier that is told the classes: a reference."""
    return _budgeted(Told("told", target.name, preset, seed), target, preset)


def untrained(target: Target, preset: str = "quick", seed: int = 0) -> RandomNetwork:
    """The same trunk untrained: a reference."""
    return _budgeted(RandomNetwork("untrained", target.name, preset, seed), target, preset)


def pca(target: Target, preset: str = "quick", seed: int = 0) -> Pixels:
    """Principal components of the pixels, 32, 64 or 128 of them, by their own variances or whitened."""
    return _budgeted(Pixels("pca", target.name, preset, seed, ranks=(32, 64, 128)), target, preset)


def pixels(target: Target, preset: str = "quick", seed: int = 0) -> Pixels:
    """The pixels themselves, or whitened."""
    return _budgeted(Pixels("pixels", target.name, preset, seed), target, preset)


METHODS: Mapping[str, Maker] = {  # those that take longest begin first
    "ebm_dsm": ebm_dsm,
    "ebm_cd": ebm_cd,
    "score": score,
    "simclr": simclr,
    "simclr_noise": simclr_noise,
    "told": told,
    "untrained": untrained,
    "pca": pca,
    "pixels": pixels,
}

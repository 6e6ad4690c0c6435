"""What an experiment is: a recipe, which holds every setting of a run and builds its pieces from
the facts of the data.

Pictures are [0, 1] in files and [-1, 1] in models.
"""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from gradlogp import tasks
from gradlogp.core.errors import at_least
from gradlogp.core.random import Randomness, uniform_
from gradlogp.data import Dataset
from gradlogp.objectives import Objective
from gradlogp.training import GuardSettings, Training


def to_model(x: Tensor) -> Tensor:
    return 2 * x - 1


def to_picture(x: Tensor) -> Tensor:
    return ((x + 1) / 2).clamp(0, 1)


@dataclass(frozen=True)
class Facts:
    """What a recipe must know of its data: the shape of an example, how many of each class, the
    standard deviation in [-1, 1].
    """

    shape: tuple[int, ...]
    per_class: tuple[int, ...]
    std: float

    @property
    def classes(self) -> int:
        return len(self.per_class)


def measure(data: Dataset) -> Facts:
    """The facts of a data set, from its training part."""
    x, labels = data.train.scaled(), data.train.labels
    counts = () if labels is None else tuple(labels.bincount(minlength=len(data.classes)).tolist())
    return Facts(tuple(data.shape), counts, float(to_model(x).std()))


@dataclass(frozen=True)
class Evaluation:
    """samples: fresh ones, judged against as many test images. sigmas: noise for denoising, on
    pictures in [0, 1].

    snapshots: averaged weights kept at even shares of the training, of which the ones with the
    lowest Frechet distance of `trial` samples to the validation pictures are taken; 1 takes the
    last.
    """

    samples: int = 2000
    sigmas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    denoise: int = 100
    steps: tuple[int, ...] = ()  # further chain lengths at which the Frechet distance is measured
    snapshots: int = 1
    trial: int = 200

    def __post_init__(self) -> None:
        at_least(2, samples=self.samples, trial=self.trial)
        at_least(1, denoise=self.denoise, snapshots=self.snapshots)
        at_least(0, steps=self.steps or None)
        at_least(1e-3, sigmas=self.sigmas or None)


class Recipe(abc.ABC):
    """The settings of anything that is trained. Subclasses are frozen dataclasses with at least
    these fields.
    """

    experiment: str
    dataset: str
    preset: str
    seed: int
    conditional: bool
    training: Training
    guard: GuardSettings

    @abc.abstractmethod
    def model(self, facts: Facts) -> nn.Module:
        """The model, with weights drawn from torch's global generator, which the caller has seeded."""

    @abc.abstractmethod
    def objective(
        self, facts: Facts, generator: Generator, device: torch.device | str
    ) -> Objective: ...

    @property
    @abc.abstractmethod
    def evaluations_per_example(self) -> int:
        """Network evaluations for each training example of one update."""

    @property
    def reach(self) -> float:
        """The furthest a training chain can move one entry in one step."""
        return float("inf")


@dataclass(frozen=True)
class Restorer:
    """restore: noisy pictures in [0, 1] -> restored ones; says: how it does it; evaluations: of the
    network, for each picture.

    along: noisy pictures and numbers of steps -> what they are after each, [len(steps), n, *shape],
    where there are steps.
    """

    restore: Callable[[Tensor], Tensor]
    says: str
    evaluations: int
    along: Callable[[Tensor, Sequence[int]], Tensor] | None = None


class Generative(Recipe):
    """The settings of a model that draws pictures and restores them."""

    evaluation: Evaluation

    @abc.abstractmethod
    def generator(
        self, model: Any, facts: Facts, device: torch.device | str = "cpu"
    ) -> tasks.Generator[Any]:
        """How to draw from the model."""

    @abc.abstractmethod
    def restorer(self, model: Any, validation: Tensor, sigma: float, seed: int) -> Restorer:
        """How to restore pictures with noise `sigma` on [0, 1]; `validation` are clean ones to
        choose settings on.
        """


def asked(facts: Facts, n: int, cls: int | None = None) -> Tensor:
    """Conditions for `n` samples: of one class, or of each in turn."""
    return torch.arange(n) % facts.classes if cls is None else torch.full((n,), cls)


def fill_uniform(x: Tensor, generator: Randomness) -> Tensor:
    """U(-1, 1): pictures of pure noise."""
    return uniform_(x, generator).mul_(2).sub_(1)

"""A recipe: every setting of something that the one loop trains; it builds its pieces from the
specification of the data.
"""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor, nn

from gradlogp import tasks
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError, at_least
from gradlogp.data import Columns, Dataset
from gradlogp.harness.kinds import KINDS, Kind, Row, Waveform, standardisation
from gradlogp.harness.settings import Choices, Settings, chosen, override
from gradlogp.objectives import Objective
from gradlogp.training import GuardSettings, Training

if TYPE_CHECKING:
    from gradlogp.harness.evaluator import Evaluator
    from gradlogp.harness.fit import Fitted
    from gradlogp.harness.record import Recorder

MEASURED = 100_000  # examples that the specification of a data set is measured on
SMALL = 12  # pixels a side
PASSES = 150  # through a person's own data, at most, whatever the preset


@dataclass(frozen=True)
class DataSpec:
    """What a recipe must know of its data.

    shape: of one example. per_class: training examples of each class. std: of the training part in
    model coordinates. center, scale: of the entries of a row, in its own units. columns: of its
    table. rate: samples a second of a waveform.
    """

    shape: tuple[int, ...]
    per_class: tuple[int, ...]
    std: float
    kind: str = "picture"
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    columns: Columns | None = None
    rate: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"spec.kind expects one of {', '.join(KINDS)}, got {self.kind!r}.")

    @property
    def classes(self) -> int:
        return len(self.per_class)

    @cached_property
    def coordinates(self) -> Kind:
        """The kind of data: the way into model coordinates and back."""
        if self.kind == "row":
            return Row(self.center, self.scale, self.columns)
        return Waveform(self.rate) if self.rate else KINDS[self.kind]()


@dataclass(frozen=True)
class Target:
    """What settings may depend on: the name and kind of a data set, the shape of an example, and
    how many there are to learn from.
    """

    name: str
    kind: str = "picture"
    shape: tuple[int, ...] = (1, 28, 28)
    examples: int = 60_000

    @classmethod
    def of(cls, data: Dataset) -> "Target":
        return cls(data.name, data.kind, tuple(data.shape), len(data.train))

    @property
    def small(self) -> bool:
        """Pictures of at most twelve pixels a side."""
        return self.kind == "picture" and max(self.shape[1:]) <= SMALL

    @property
    def own(self) -> bool:
        """A person's own files, which no table of settings knows."""
        return ":" in self.name

    @property
    def families(self) -> tuple[str, ...]:
        """The tables of settings that hold for it, from wide to narrow."""
        return ("any", self.kind, *(("small",) if self.small else ()), self.name)

    def fitted(self, images: int) -> int:
        """A budget in examples, made for 60,000 pictures of 28x28, that fits the number and the
        size of a person's own data: at most PASSES through them, and no more entries in all.
        """
        if not self.own:
            return images
        size = min(1.0, 784 / math.prod(self.shape))
        return max(1, min(int(images * size), PASSES * self.examples))


def specify(data: Dataset) -> DataSpec:
    """The specification of a data set, from the finite examples of its training part, of at most
    about MEASURED of them.
    """
    every = slice(None, None, max(1, len(data.train) // MEASURED))
    x = data.train.scaled(every)
    x = x[x.isfinite().flatten(1).all(1)]
    labels = data.train.labels
    classes = len(data.classes)
    counts = () if labels is None else tuple(labels.bincount(minlength=classes).tolist())
    moments = standardisation(x) if data.kind == "row" else ((), ())
    rate = data.rate if data.kind == "waveform" else None
    spec = DataSpec(tuple(data.shape), counts, 1.0, data.kind, *moments, data.columns, rate)
    return replace(spec, std=float(spec.coordinates.to_model(x).std()))


@dataclass(frozen=True)
class Evaluation:
    """samples: fresh ones, measured against as many test examples. sigmas: noise for denoising, in
    the data's own range ([0, 1] for pictures).

    snapshots: averaged weights kept at even shares of the training, of which the ones with the
    lowest Frechet distance of `trial` samples to the validation part are taken; 1 takes the last,
    as does `choose` = False, which keeps the others to be studied.

    recover: test examples of which a part is hidden and filled in. probe: training examples on
    whose features classes are learned. levels: noise levels at which a score is measured. 0 leaves
    any of them out.
    """

    samples: int = 2000
    sigmas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    denoise: int = 100
    steps: tuple[int, ...] = ()  # further chain lengths at which the Frechet distance is measured
    snapshots: int = 1
    trial: int = 200
    choose: bool = True
    recover: int = 0
    probe: int = 0
    levels: int = 0

    def __post_init__(self) -> None:
        at_least(2, samples=self.samples, trial=self.trial)
        at_least(1, denoise=self.denoise, snapshots=self.snapshots)
        at_least(0, steps=self.steps or None, recover=self.recover)
        at_least(0, probe=self.probe, levels=self.levels)
        at_least(1e-3, sigmas=self.sigmas or None)


class Recipe(Settings, abc.ABC):
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
    def model(self, spec: DataSpec) -> nn.Module:
        """The model, its weights drawn from torch's global generator, which the caller has seeded."""

    @abc.abstractmethod
    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective: ...

    def accept(self, spec: DataSpec, examples: Callable[[], Tensor]) -> None:
        """Raises UserError, before anything is written, for training examples [n, *shape] in model
        coordinates that it cannot learn from.
        """

    def prepare(
        self, model: Any, objective: Any, examples: Callable[[], Batch], generator: Generator
    ) -> None:
        """What is fitted in closed form before the first update, to the training examples [n,
        *shape] in model coordinates, with their classes if it is told them; by default nothing.
        """

    @property
    @abc.abstractmethod
    def evaluations_per_example(self) -> int:
        """Network evaluations for each training example of one update."""

    @property
    def max_displacement(self) -> float:
        """The furthest that a training chain can move one entry in one step."""
        return float("inf")


@dataclass(frozen=True)
class Restoration:
    """A way to restore noisy examples.

    restore: noisy examples in the data's own range -> restored ones; says: how it does it;
    evaluations: of the network, for each example. along: noisy examples and numbers of steps ->
    what they are after each, [len(steps), n, *shape], where there are steps.
    """

    restore: Callable[[Tensor], Tensor]
    says: str
    evaluations: int
    along: Callable[[Tensor, Sequence[int]], Tensor] | None = None


class Generative(Recipe):
    """The settings of a model that draws examples, and perhaps restores them and weighs them."""

    evaluation: Evaluation
    takes_steps: ClassVar[bool] = False  # whether its sampler may run for any number of steps
    sampler_field: ClassVar[str] = ""  # the setting that holds the sampler, where it can be chosen

    @property
    def trained_steps(self) -> tuple[int, ...]:
        """Numbers of sampler steps that it is trained to be right after, where it is trained so."""
        return ()

    @abc.abstractmethod
    def sampling(
        self, model: Any, spec: DataSpec, device: torch.device | str = "cpu"
    ) -> tasks.Sampling[Any]:
        """How to draw from the model."""

    def steps_setting(self) -> str:
        """The setting that holds the number of the sampler's steps."""
        return f"{self.sampler_field}.levels"

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        """How to restore examples with noise `sigma` in the data's own range; `validation` are
        clean ones to choose settings on. Raises UserError where the model cannot.
        """
        raise UserError(f"{self.experiment} draws in one pass and cannot restore an example.")

    def coarsest_level(self) -> float:
        """The noise level from which the model's flow carries a normal density to that of the data.

        Raises UserError where the model has no density of its own.
        """
        raise UserError(f"{self.experiment} is a generator, which has no density of its own.")

    def study(self, subject: "Subject", recorder: "Recorder") -> None:
        """Anything further that is measured of a model of this kind; by default nothing."""

    def title(self) -> str:
        """The method in a few words, for a report."""
        return self.experiment

    def about(self) -> str:
        """How the method works, in plain words for a lay reader of a report."""
        return ""


R = TypeVar("R", bound=Recipe)


def configured(recipe: R, choices: Choices, target: Target, preset: str) -> R:
    """`recipe` as its table of settings has it for these data and this preset, its budget fitted to
    the size of a person's own data.
    """
    settings = chosen(recipe, choices, target.families, preset)
    images = target.fitted(settings.training.images)
    return override(settings, [f"training.images={images}"])


def classes_asked(spec: DataSpec, n: int, cls: int | None = None, start: int = 0) -> Tensor:
    """Conditions for `n` samples from number `start`: of one class, or of each in turn."""
    return torch.arange(start, start + n) % spec.classes if cls is None else torch.full((n,), cls)


class Subject(NamedTuple):
    """What a study is given: a trained model, its data, the evaluation classifier, its chains or walks
    (steps -> [n, *shape] in the data's own range), how it restores at a noise level, and the folder
    with further data sets.
    """

    fitted: "Fitted"
    data: Dataset
    evaluator: "Evaluator"
    frames: Mapping[int, Tensor]
    restoration_at: Callable[[float], Restoration]
    root: Path | None = None

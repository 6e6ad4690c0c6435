r"""What all classifiers share: the tasks, the measurements, and what is out of distribution.

Tasks are pairs of classes, and parity. Out-of-distribution pictures are told from test pictures by
:math:`E(x) = -\log\sum_y e^{-E(x, y)}`, and by one minus the largest probability.

References: LeCun et al. (2006), A Tutorial on Energy-Based Learning, section 2; Hendrycks & Gimpel
(2017), A Baseline for Detecting Misclassified and Out-of-Distribution Examples (the largest
probability); Liu et al. (2020), Energy-based Out-of-distribution Detection, arXiv 2010.03759
(the energy of a classifier as a score).
"""

import abc
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from gradlogp import data as readers
from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness.recipe import DataSpec, Target, specify
from gradlogp.harness.record import Cost, Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure, calibration, detection

PAIRS = ("3v5", "4v9", "1v7", "7v9")
OTHERS = {
    "mnist": ("fashion_mnist", "kmnist")
}  # published sets of other pictures, for each data set
Logits = Callable[[Tensor], Tensor]  # x [n, *shape] in the data's own range -> [n, 2]
Score = Callable[[Tensor], Tensor]  # logits [n, 2] -> [n], high = out of distribution


@final
@dataclass(frozen=True)
class Examples:
    """x [n, *shape] in the data's own range and y [n], the two classes as 0 and 1."""

    x: Tensor
    y: Tensor


@final
@dataclass(frozen=True)
class Task:
    """Examples to learn from and to choose on, and the data set that they are taken from."""

    name: str
    target: Target
    spec: DataSpec
    train: Examples
    validation: Examples


def examples(split: Split, task: str) -> Examples:
    """The examples of a task: "3v5" has the classes 3 and 5, "parity" all of them, even and odd."""
    assert split.labels is not None
    if task == "parity":
        return Examples(split.scaled(), split.labels % 2)
    pair = re.fullmatch(r"(\d+)v(\d+)", task)
    first, second = (int(c) for c in pair.groups()) if pair else (-1, -1)
    if first == second or not all((split.labels == c).any() for c in (first, second)):
        raise UserError(
            "a task is parity or a pair of two classes that have examples, such as 3v5, got"
            f" {task!r}."
        )
    keep = ((split.labels == first) | (split.labels == second)).nonzero()[:, 0]
    return Examples(split.scaled(keep), (split.labels[keep] == second).long())


def tasks_of(data: Dataset, names: tuple[str, ...]) -> list[Task]:
    """The tasks of these names. Raises UserError where the data have no labels."""
    if data.train.labels is None:
        raise UserError(
            f"a classifier needs classes, but {data.name} has no labels; take mnist or digits."
        )
    target, spec = Target.of(data), specify(data)
    return [
        Task(name, target, spec, examples(data.train, name), examples(data.validation, name))
        for name in names
    ]


@dataclass(frozen=True)
class Classifier(Trial):
    """What all methods share: fit each task, and measure on the official test part."""

    tasks: tuple[str, ...] = PAIRS
    ood_examples: int = 2000  # pictures of each other kind, for the first task

    has_energy: ClassVar[bool] = True  # whether its logits say more than probabilities

    @abc.abstractmethod
    def fits(self, task: Task, recorder: Recorder, cost: Cost) -> Logits:
        """Fit one task, and return the logits of any pictures."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training() as cost:
            found = {
                task.name: self.fits(task, recorder, cost)
                for task in tasks_of(context.data, self.tasks)
            }
        for name, logits in found.items():
            _measure(recorder, name, logits, examples(context.data.test, name))
        self._out_of_distribution(context, recorder, found[self.tasks[0]])

    def _out_of_distribution(self, context: Context, recorder: Recorder, logits: Logits) -> None:
        """AUROC of telling other pictures from the test pictures of the first task."""
        scores: dict[str, Score] = {"probability": improbability}
        if self.has_energy:
            scores = {"energy": energy} | scores
        inside = logits(examples(context.data.test, self.tasks[0]).x)
        recorder.save({"of": "test"}, energy=energy(inside))
        for name, x in others(context, self.ood_examples, self.seed).items():
            outside = logits(x)
            for by, score in scores.items():
                auroc = detection.auroc(score(inside), score(outside))
                recorder.add(auroc, axes={"against": name, "by": by})
            recorder.save({"of": name}, energy=energy(outside))


def _measure(recorder: Recorder, task: str, logits: Logits, test: Examples) -> None:
    out = logits(test.x)
    metrics = (calibration.accuracy, calibration.nll, calibration.ece, contrast)
    recorder.add(*(metric(out, test.y) for metric in metrics), axes={"task": task})
    recorder.save({"task": task}, right=out.argmax(1) == test.y)


def contrast(logits: Tensor, y: Tensor) -> Measure:
    """How far the wrong energy lies above the right one, over the size of energies: near 0 where a
    loss has let them collapse.
    """
    energies = -logits.double()
    gap = energies.gather(1, 1 - y[:, None])[:, 0] - energies.gather(1, y[:, None])[:, 0]
    says = (
        "mean of E(x, wrong) - E(x, right), over the mean of |E|; 0: all energies alike, 2: one is"
        " minus the other"
    )
    value = float(gap.mean() / energies.abs().mean())
    return Measure("contrast", value, None, len(y), "higher", says)


def energy(logits: Tensor) -> Tensor:
    """E(x) = -log sum_y exp(-E(x, y)), [n]: high where x is out of distribution."""
    return -logits.double().logsumexp(1)


def improbability(logits: Tensor) -> Tensor:
    """1 - max_y p(y | x), [n]"""
    return 1 - logits.double().softmax(1).amax(1)


def others(context: Context, n: int, seed: int) -> Mapping[str, Tensor]:
    """Pictures of other kinds: uniform noise, and published sets where there are some."""
    noise = torch.rand(n, *context.data.shape, generator=seeded(seed, "strange"))
    names = OTHERS.get(context.data.name, ())
    sets = {name: readers.load(name, context.root).test.scaled(slice(0, n)) for name in names}
    return {"noise": noise, **sets}

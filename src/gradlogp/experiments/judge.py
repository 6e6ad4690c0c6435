"""The judge: a classifier that no model saw, whose labels and features are what samples are
measured by.

It is trained first, on the training part alone, and stands beside the runs that it judges. Its
accuracy on the test part and the hash of its weights are part of every protocol: two numbers
compare only where the hash is the same.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import torch
from torch import Generator, Tensor, nn

from gradlogp import tasks
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener
from gradlogp.data import Dataset
from gradlogp.experiments.base import Facts, Recipe, measure, to_model
from gradlogp.experiments.fit import fit
from gradlogp.models import ConvClassifier
from gradlogp.objectives import CrossEntropy, Objective
from gradlogp.training import GuardSettings, Training


@final
@dataclass(frozen=True)
class JudgeRecipe(Recipe):
    dataset: str
    training: Training
    seed: int = 0
    experiment: str = "judge"
    preset: str = "judge"
    conditional: bool = True
    channels: tuple[int, ...] = (24, 48, 64)
    width: int = 64
    guard: GuardSettings = field(default_factory=GuardSettings)

    @property
    def evaluations_per_example(self) -> int:
        return 1

    def model(self, facts: Facts) -> nn.Module:
        return ConvClassifier(facts.shape, facts.classes, self.channels, self.width)

    def objective(
        self, facts: Facts, generator: Generator, device: torch.device | str
    ) -> Objective:
        return CrossEntropy()


@final
@dataclass(frozen=True)
class Judge:
    """`name` says which network this is: its accuracy on the test part and the hash of its weights."""

    model: ConvClassifier
    scale: float
    accuracy: float
    name: str

    def labels(self, x: Tensor) -> Tensor:
        """Pictures [n, *shape] in [0, 1] -> the classes that they look like, [n]."""
        return tasks.labels(self.model, to_model(x))

    def logits(self, x: Tensor) -> Tensor:
        """Pictures [n, *shape] in [0, 1] -> logits [n, classes]."""
        with torch.no_grad():
            return torch.cat([self.model(to_model(part)) for part in x.split(500)])

    def features(self, x: Tensor) -> Tensor:
        """Pictures [n, *shape] in [0, 1] -> features [n, d], of unit root mean square on real
        pictures.
        """
        return tasks.features(self.model, to_model(x)) / self.scale


def judge_beside(run: Path, data: Dataset) -> Path:
    """Where the judge of `run` lives: beside it, one for each data set."""
    return run.parent / f"judge-{data.name.replace(':', '-').replace('/', '-')}"


def judge(data: Dataset, path: Path, listener: Listener | None = None) -> Judge:
    """The judge of `data`, trained into the run folder `path` or read from it."""
    if data.train.labels is None or data.test.labels is None:
        raise UserError(
            f"samples are judged by a classifier, but {data.name} has no labels; put the pictures"
            " of each class into a folder of its own."
        )
    images = 150_000 if len(data.train) > 10_000 else 60 * len(data.train)
    run = fit(
        JudgeRecipe(
            data.name, Training(images, batch=128, learning_rate=3e-3, checkpoint_every=200)
        ),
        data,
        path,
        listener,
    )
    facts = measure(data)
    model = ConvClassifier(facts.shape, facts.classes)
    tensors = run.load("ema")[0]
    model.load_state_dict(tensors)
    model.eval().requires_grad_(False)
    scale = float(tasks.features(model, to_model(data.validation.scaled())).square().mean().sqrt())
    accuracy = float(
        (tasks.labels(model, to_model(data.test.scaled())) == data.test.labels).float().mean()
    )
    digest = hashlib.sha256(
        b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    ).hexdigest()[:8]
    return Judge(
        model, scale, accuracy, f"judge {digest}, a classifier of test accuracy {accuracy:.3f}"
    )

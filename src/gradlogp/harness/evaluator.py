"""The evaluation classifier: a network that no model saw, whose labels and features are what
samples are measured by.

It is trained first, on the training part alone, and stands beside the runs that it measures. Its
accuracy on the test part and the hash of its weights are part of every protocol: two numbers
compare only where the hash is the same.

Of examples without classes it tells in which of four ways each is shown (`turns`).

Natural pictures take a residual network, shown each one flipped and shifted, under a rate that
rises over a fifth of the updates and falls to nothing; all others a small convolutional one.

Reference: He et al. (2016), arXiv 1512.03385, section 4.2 (CIFAR-10).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Generator, Tensor, nn

from gradlogp import tasks
from gradlogp.core.files import there
from gradlogp.core.progress import Listener
from gradlogp.data import Dataset
from gradlogp.harness.estimate import seconds_of_training
from gradlogp.harness.fit import Fitted, fit
from gradlogp.harness.kinds import Kind
from gradlogp.harness.kinds.picture import natural
from gradlogp.harness.provenance import default_device
from gradlogp.harness.recipe import DataSpec, Recipe, specify
from gradlogp.harness.turns import classless, turned
from gradlogp.metrics.base import scarce, too_few
from gradlogp.models.energy import JointEnergy
from gradlogp.objectives import FLIPS_AND_SHIFTS, Augmented, CrossEntropy, Objective
from gradlogp.training import GuardSettings, Training

SURE = 0.9  # accuracy from which what a classifier says is not rough
MANY = 10_000  # training examples from which a budget no longer follows their number
PASSES = 60  # through fewer than those
OF_KIND = {"volume": 20}  # passes that are enough for other kinds than pictures


@final
@dataclass(frozen=True)
class EvaluatorRecipe(Recipe):
    """The evaluation classifier of the data's kind."""

    dataset: str
    training: Training
    seed: int = 0
    experiment: str = "evaluator"
    preset: str = "evaluator"
    conditional: bool = True
    guard: GuardSettings = field(default_factory=GuardSettings)

    @property
    def evaluations_per_example(self) -> int:
        return 1

    def model(self, spec: DataSpec) -> nn.Module:
        return spec.coordinates.network(spec.shape, spec.classes)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        if not photographs(spec):
            return CrossEntropy()
        return Augmented(CrossEntropy(), FLIPS_AND_SHIFTS)


@final
@dataclass(frozen=True)
class Evaluator:
    """`name` says which network this is: its accuracy on the test part and the hash of its weights."""

    model: Any
    kind: Kind
    scale: float
    accuracy: float
    name: str

    def labels(self, x: Tensor) -> Tensor:
        """Examples [n, *shape] in their own range -> the classes that they look like, [n]."""
        return tasks.labels(self.model, self.kind.to_model(x))

    def logits(self, x: Tensor) -> Tensor:
        """Examples [n, *shape] in their own range -> logits [n, classes]."""
        with torch.no_grad():
            return torch.cat([self.model(self.kind.to_model(part)) for part in x.split(500)])

    def features(self, x: Tensor) -> Tensor:
        """Examples [n, *shape] -> features [n, d], of unit root mean square on real examples."""
        return tasks.features(self.model, self.kind.to_model(x)) / self.scale


def doubts(evaluator: Evaluator, data: Dataset) -> list[str]:
    """What makes the measures of samples of `data` rough: few test examples for the features, a
    classifier that is wrong of many.
    """
    features = evaluator.features(data.test.scaled(slice(0, 1))).shape[1]
    lines, n = [], len(data.test)
    if too_few(n, features):
        lines.append(f"Frechet distances: {scarce(n, features, 'features')}.")
    if evaluator.accuracy < SURE:
        lines.append(
            f"measures by class and features: the {evaluator.name} is right of fewer than"
            f" {SURE:.0%} of the test examples, so they are rough."
        )
    return lines


def evaluator_beside(run: Path, data: Dataset) -> Path:
    """Where the evaluation classifier of `run` lives: beside it, one for each data set."""
    return run.parent / f"evaluator-{data.name.replace(':', '-').replace('/', '-')}"


def evaluator_of(data: Dataset, path: Path, listener: Listener | None = None) -> Evaluator:
    """The evaluation classifier of `data`, trained into the run folder `path` or read from it; of
    data without classes it tells apart the ways in which they are shown.
    """
    by_class = not classless(data)
    data = data if by_class else turned(data)
    spec = specify(data)
    recipe = EvaluatorRecipe(data.name, budget(spec, len(data.train)))
    if listener and not there(path / "config.json"):
        listener.say(_beforehand(recipe, data, path))
    run = fit(recipe, data, path, listener)
    tensors = run.load("ema")[0]
    model: Any = spec.coordinates.network(spec.shape, spec.classes)
    model.load_state_dict(tensors)
    model.eval().requires_grad_(False)
    return _calibrated(model, spec.coordinates, data, tensors, by_class)


def _beforehand(recipe: EvaluatorRecipe, data: Dataset, path: Path) -> str:
    seconds = max(1.0, seconds_of_training(recipe, data, default_device()))
    return (
        f"an evaluation classifier of {data.name} is trained first, once, and kept in {path}: about"
        f" {seconds:.0f} seconds of a machine that does nothing else"
    )


def own_logits(fitted: Fitted) -> Callable[[Tensor], Tensor] | None:
    """The logits of a joint energy, examples [n, *shape] in their own range -> [n, classes]; None
    for a model that says nothing of classes.
    """
    model, kind = fitted.model, fitted.spec.coordinates
    if not (fitted.recipe.conditional and isinstance(model, JointEnergy)):
        return None
    return lambda x: model.logits(kind.to_model(x.float()).to(fitted.device)).cpu()


def photographs(spec: DataSpec) -> bool:
    return spec.kind == "picture" and natural(spec.shape)


def budget(spec: DataSpec, examples: int) -> Training:
    """150,000 pictures; twice as many natural ones, flipped and shifted, over one cycle of the
    rate.
    """
    many = 300_000 if photographs(spec) else 150_000
    images = many if examples > MANY else OF_KIND.get(spec.kind, PASSES) * examples
    training = Training(images, batch=128, learning_rate=3e-3, checkpoint_every=200)
    if not photographs(spec):
        return training
    return replace(training, warmup=training.steps // 5, final_lr=0.0)


def _calibrated(
    model: Any, kind: Kind, data: Dataset, tensors: Mapping[str, Tensor], by_class: bool
) -> Evaluator:
    validation, test = (kind.to_model(part.scaled()) for part in (data.validation, data.test))
    scale = float(tasks.features(model, validation).square().mean().sqrt())
    assert data.test.labels is not None
    right = tasks.labels(model, test).eq(data.test.labels)
    accuracy = float(right.float().mean())
    weights = b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
    digest = hashlib.sha256(weights).hexdigest()[:8]
    what = "evaluation classifier" if by_class else "classifier of ways to show an example"
    name = f"{what} {digest} of test accuracy {accuracy:.3f}"
    return Evaluator(model, kind, scale, accuracy, name)

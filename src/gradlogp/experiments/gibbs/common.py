r"""What all models here share: how they learn, whether they stay finite, and what a walk makes of
noise and of test pictures.

A seed has diverged where the guard would have gone back to a checkpoint: a gradient that is not
finite, energies beyond a limit, or chains that end far above the data for long. The free-energy gap
:math:`\bar F_{held\ out} - \bar F_{training}` needs no partition function, and grows when a machine
learns its examples by heart (Hinton 2010, section 6). Walks are measured from noise, which they
should refine, and from test pictures, which a good model leaves as they are.

References: Hinton (2010), A Practical Guide to Training Restricted Boltzmann Machines; Nijkamp et
al. (2020), arXiv 1903.12370 (walks far longer than those of the training).
"""

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from gradlogp.core.errors import UserError
from gradlogp.core.random import from_seed, seeded
from gradlogp.experiments.recipes.chains import energy_gap
from gradlogp.harness.evaluator import Evaluator
from gradlogp.harness.kinds import Kind
from gradlogp.harness.recipe import DataSpec, specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial, trained
from gradlogp.metrics import Measure, frechet
from gradlogp.objectives import Objective
from gradlogp.training import Diverged, Guard, GuardSettings, Training

SHOWN = 10  # chains in a strip
MEASURED = 20_000  # training examples that entries are standardised by


@dataclass(frozen=True)
class ByChains(Trial):
    """A model that learns by chains of `steps` steps, on so many `images`.

    stops: the numbers of steps after which chains are measured, `samples` of them and as many test
    pictures. weighed: test pictures whose free energy and likelihood are measured.
    """

    steps: int = 10
    images: int = 48_000
    batch: int = 64
    learning_rate: float = 3e-3
    samples: int = 500
    stops: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 50, 100, 200)
    weighed: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples > self.weighed or not self.stops:
            raise UserError(
                "walks begin at pictures that are weighed, so samples is at most weighed, got"
                f" {self.samples} and {self.weighed}, and stops needs a number."
            )

    @abc.abstractmethod
    def build(self, spec: DataSpec) -> nn.Module:
        """The model, its weights from torch's global generator."""

    @abc.abstractmethod
    def objective(self, model: Any, x: Tensor, generator: Generator) -> Objective:
        """What it learns by, from the training examples x [n, *shape] in model coordinates."""

    @abc.abstractmethod
    def guard(self, spec: DataSpec) -> GuardSettings:
        """What counts as diverged."""

    @property
    @abc.abstractmethod
    def evaluations(self) -> int:
        """Of the model for each training example: the chain's steps, and those of the loss."""

    @abc.abstractmethod
    def measure(self, model: Any, x: Tensor, context: Context, recorder: Recorder) -> None:
        """What is measured of the model that was learned from x."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        spec = specify(context.data)
        x = spec.coordinates.to_model(context.data.train.scaled())
        with recorder.training() as cost:
            model = from_seed(self.seed, lambda: self.build(spec))
            cost.add(model, self.images, self.evaluations)
            learned = self._learn(model, x, spec, recorder)
        recorder.add(diverged(learned is None))
        if learned is not None:
            recorder.add(weight_norm(learned))
            self.measure(learned, x, context, recorder)

    def _learn(self, model: nn.Module, x: Tensor, spec: DataSpec, recorder: Recorder) -> Any:
        """The averaged weights; None where training diverged."""
        objective = self.objective(model, x, seeded(self.seed, "chains"))
        training = Training(self.images, batch=self.batch, learning_rate=self.learning_rate)
        guard = Guard(self.guard(spec))
        try:
            return trained(recorder, "network", model, objective, x, None, training, guard)
        except Diverged as error:
            recorder.run.log(f"diverged: {error}")
            return None


def diverged(yes: bool) -> Measure:
    protocol = (
        "1 where the guard stopped the training: a gradient that is not finite, energies beyond its"
        " limit, or chains that end far above the data for long; else 0"
    )
    return Measure("diverged", float(yes), None, 1, "lower", protocol)


def weight_norm(model: nn.Module) -> Measure:
    squares = [float(p.detach().double().square().sum()) for p in model.parameters() if p.ndim > 1]
    protocol = (
        "Frobenius norm of all weight matrices and kernels, averaged weights, biases left out"
    )
    return Measure("weight_norm", math.sqrt(sum(squares)), None, 1, "none", protocol)


def measure_walks(
    recorder: Recorder,
    walks: Mapping[str, Mapping[int, Tensor]],
    context: Context,
    kind: Kind,
    says: str,
) -> None:
    """The Frechet distance of chains after each number of steps, `walks` by where they began and by
    steps, each [n, *shape] in model coordinates; strips of a few; and, without axes, the distance
    where those from noise end.
    """
    for start, frames in walks.items():
        pictures = {steps: kind.from_model(x) for steps, x in frames.items()}
        last = _measure_walk(recorder, pictures, start, context)
        if start == "noise":
            recorder.add(last)
        shown = torch.stack([x[:SHOWN] for x in pictures.values()])
        recorder.save({"start": start}, strip=shown, steps=torch.tensor(list(pictures)))
        caption = f"{SHOWN} chains from {start}, a row each, after {listed(pictures)} steps {says}."
        rows = shown.transpose(0, 1).flatten(0, 1)
        kind.preview(recorder.figure(f"from-{start}", caption), rows, columns=len(pictures))


def _measure_walk(
    recorder: Recorder, frames: Mapping[int, Tensor], start: str, context: Context
) -> Measure:
    """A row for each number of steps; returns the last."""
    evaluator = context.evaluator
    assert evaluator is not None, "samples are measured"
    real = evaluator.features(held_out(context, len(next(iter(frames.values())))))
    for steps, x in frames.items():
        found = distance(real, x, evaluator)
        recorder.add(found, axes={"start": start, "steps": steps}, evaluations=steps)
    return found


def distance(real: Tensor, x: Tensor, evaluator: Evaluator) -> Measure:
    return frechet.fd(real, evaluator.features(x), evaluator.name)


def held_out(context: Context, n: int) -> Tensor:
    """Test pictures to measure by, from the end: walks begin at those at the front."""
    test = context.data.test
    return test.scaled(slice(len(test) - n, len(test)))


def free_energies(model: Any, z: Tensor) -> Tensor:
    """Of z [n, *shape], in parts, [n]."""
    with torch.no_grad():
        return torch.cat([model(part) for part in z.split(500)]).double()


def generalisation(model: Any, test: Tensor, train: Tensor) -> Measure:
    """The free-energy gap between test and training examples."""
    return energy_gap(free_energies(model, test), free_energies(model, train))


def listed(numbers: Mapping[int, Any] | Sequence[int]) -> str:
    return ", ".join(map(str, numbers))

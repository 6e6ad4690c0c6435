"""Any network, any data: a recipe whose model is a function of yours, by the path it is imported
by.

    fit("my_nets:build", data, DenoisingScoreMatching(LogNormal()), "runs/mine")

`build(spec)` is given the `DataSpec` (shape, std, classes) and returns a model with `field(cond)`:
a `ScoreModel`, an `EnergyModel`, a `NoisyEnergyModel`. The run folder holds the path, not the code,
so whoever loads it needs the same module; and from the Hub it is loaded only where that module has
been imported already, for to import is to run what a stranger has named.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Union, final

from torch import Generator, Tensor, device as Device, nn

from gradlogp import tasks
from gradlogp.core.errors import UserError, at_least
from gradlogp.core.fields import Field
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.progress import Listener
from gradlogp.core.random import Randomness, normal_
from gradlogp.data import Dataset
from gradlogp.harness.fit import fit as fit_recipe
from gradlogp.harness.recipe import DataSpec, Evaluation, Generative, Restoration, specify
from gradlogp.objectives import Objective
from gradlogp.runs import Run
from gradlogp.samplers import (
    LADDER_SAMPLERS,
    STEP_SAMPLERS,
    ConsistentAnnealedLangevin,
    Langevin,
)
from gradlogp.training import GuardSettings, Training

if TYPE_CHECKING:
    AnySampler = Any
else:
    AnySampler = Union[tuple({**LADDER_SAMPLERS, **STEP_SAMPLERS}.values())]  # noqa: UP007

Build = Callable[[DataSpec], nn.Module]


@final
@dataclass(frozen=True)
class Own(Generative):
    """The settings of a run of `fit`: build and objective say what was learned and how; steps are
    those of a sampler that has no ladder.
    """

    experiment: str
    dataset: str
    preset: str
    training: Training
    build: str
    learns: str
    seed: int = 0
    conditional: bool = False
    sampler: AnySampler = field(default_factory=lambda: default_sampler(True))
    steps: int = 100
    guard: GuardSettings = field(default_factory=GuardSettings)
    evaluation: Evaluation = field(default_factory=Evaluation)
    sampler_field: ClassVar[str] = "sampler"

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed, steps=self.steps)

    @property
    def evaluations_per_example(self) -> int:
        return 1

    def model(self, spec: DataSpec) -> nn.Module:
        return built(imported(self.build), spec, self.build)

    def build_objective(
        self, spec: DataSpec, generator: Generator, device: Device | str
    ) -> Objective:
        given = getattr(self, "_objective", None)
        if given is None:
            raise UserError(
                f"this run learns by {self.learns}, which its folder does not hold; pass it to"
                " gradlogp.fit again."
            )
        return given

    def learning_by(self, objective: Objective) -> "Own":
        """The same settings with the objective itself, which is no setting."""
        object.__setattr__(self, "_objective", objective)
        return self

    def sampling(
        self, model: Any, spec: DataSpec, device: Device | str = "cpu"
    ) -> tasks.Sampling[Any]:
        ladder = getattr(self.sampler, "ladder", None)

        def prior(x: Tensor, generator: Randomness) -> Tensor:
            if ladder is None:
                return spec.coordinates.noise(x, generator)
            return normal_(x, generator).mul_(ladder[0])

        return tasks.Sampling(
            model.field,
            self.sampler,
            prior,
            self.steps if ladder is None else self.sampler.steps,
            spec.shape,
            spec.coordinates.from_model,
            device,
        )

    def restoration(
        self, model: Any, spec: DataSpec, validation: Tensor, sigma: float, seed: int
    ) -> Restoration:
        kind, at = spec.coordinates, spec.coordinates.gain * sigma
        if isinstance(model.field(), Field):
            return super().restoration(model, spec, validation, sigma, seed)

        def restore(noisy: Tensor) -> Tensor:
            y = kind.to_model(noisy).to(next(model.parameters()).device)
            return kind.from_model(tasks.tweedie(model.field(), y, at)).cpu()

        return Restoration(restore, "posterior mean in one step (Tweedie)", 1)

    def title(self) -> str:
        return f"{self.build.partition(':')[2]}, a model of one's own"

    def about(self) -> str:
        return f"The model is made by `{self.build}` and learns by `{self.learns}`."


def imported(path: str) -> Build:
    """The function at "module:function". Raises UserError, one line, where it cannot be imported."""
    module, colon, name = path.partition(":")
    if not colon or not name.isidentifier():
        raise UserError(f"a model is named as module:function, got {path!r}.")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the model {path!r} cannot be imported ({error}); put its module where Python finds it,"
            " as in PYTHONPATH=. gradlogp ..."
        ) from error
    return found


def built(build: Build, spec: DataSpec, path: str) -> nn.Module:
    """The model; UserError where it is none."""
    model = build(spec)
    if not isinstance(model, nn.Module) or not hasattr(model, "field"):
        raise UserError(
            f"{path} gave {type(model).__name__}, which is no torch.nn.Module with field(cond); derive"
            " it from ScoreModel, EnergyModel or NoisyEnergyModel of gradlogp.models."
        )
    return model


def path_of(build: str | Build) -> str:
    """The path that a function is imported by. Raises UserError where there is none."""
    if isinstance(build, str):
        return build
    module, name = getattr(build, "__module__", "__main__"), getattr(build, "__qualname__", "")
    if module == "__main__" or not name.isidentifier():
        raise UserError(
            f"a run must find its model again by import, but {name or type(build).__name__} of"
            f" {module} cannot be; write def build(spec) in a module and pass 'module:build'."
        )
    return f"{module}:{name}"


def fit(
    model: str | Build,
    data: Dataset,
    objective: Objective,
    out: str | Path,
    *,
    images: int | None = None,
    training: Training | None = None,
    sampler: Any = None,
    conditional: bool = False,
    seed: int = 0,
    listener: Listener | None = None,
    device: str | None = None,
) -> Run:
    """Train any network on any data into the run folder `out`; the same call goes on where it
    stopped.

    model: "module:build" or such a function, DataSpec -> model with `field(cond)`. images: examples
    shown in all, by default thirty times the data; training: all settings of the loop instead.
    sampler: how to draw from it, by default annealed Langevin for a model with noise levels,
    Langevin for an energy or score without. Guard, checkpoints and resume are those of every run,
    and sample, evaluate and report work on the folder.
    """
    path = path_of(model)
    levels = not isinstance(_field(path, specify(data)), Field)
    settings = training or Training(images or 30 * len(data.train), ema=0.99)
    recipe = Own(
        experiment="own",
        dataset=data.name,
        preset="quick",
        training=settings,
        build=path,
        learns=re.sub(r" at 0x[0-9a-f]+", "", repr(objective)),
        seed=seed,
        conditional=conditional,
        sampler=sampler or default_sampler(levels),
        evaluation=Evaluation(sigmas=(0.1, 0.3) if levels else ()),
    )
    return fit_recipe(recipe.learning_by(objective), data, Path(out), listener, device)


def default_sampler(levels: bool) -> Any:
    """Annealed Langevin for a model with noise levels; else Langevin dynamics, with a step that
    suits entries of size one.
    """
    ladder = VarianceExploding(0.05, 10.0)
    return ConsistentAnnealedLangevin(ladder, 60) if levels else Langevin(0.01)


def _field(path: str, spec: DataSpec) -> Any:
    model: Any = built(imported(path), spec, path)
    return model.field()

"""Fit: from a recipe and a data set to a run folder, and from a run folder back to a model that
draws.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gradlogp import tasks
from gradlogp.core.batch import Batch
from gradlogp.core.errors import UserError
from gradlogp.core.kernel import NotFinite
from gradlogp.core.progress import Listener, Silent
from gradlogp.core.random import from_seed, seed_for, seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness.located import HUB, located
from gradlogp.harness.provenance import about, default_device, describe, in_its_words
from gradlogp.harness.recipe import DataSpec, Generative, Recipe, classes_asked, specify
from gradlogp.harness.settings import from_dict, from_stored, override
from gradlogp.runs import Run, blamed
from gradlogp.runs.files import plain, unplain
from gradlogp.tasks import film, generate, milestones
from gradlogp.training import (
    ALONE,
    Guard,
    Learner,
    Processes,
    accompany,
    diagnosed,
    displacement_in_words,
    doubts,
    examine,
    not_finite,
    shuffled,
    train,
    unhealthy,
)
from gradlogp.training.health import DATA, SAMPLES
from gradlogp.training.processes import check

PROGRESS = 8  # previews kept on the way
BATCH = 100  # chains at a time


def build(
    recipe: Recipe,
    spec: DataSpec,
    device: str,
    split: Split | None = None,
    processes: Processes = ALONE,
) -> Learner:
    """A learner at step 0, decided by the recipe's seed and, where something is fitted in closed
    form first, by the training part `split` (without one it is left unfitted); the global random
    state is left as it was.

    Raises UserError for what cannot be split over `processes`.
    """
    began = time.perf_counter()
    first = seeded(recipe.seed, "weights").initial_seed()
    model = from_seed(first, lambda: recipe.model(spec).to(device))
    generator = seeded(recipe.seed, "noise", device=device)
    objective = recipe.build_objective(spec, generator, device)
    if split is not None:
        recipe.prepare(
            model,
            objective,
            lambda: _whole(split, recipe, spec, device),
            seeded(recipe.seed, "closed form", device=device),
        )
    guard = Guard(recipe.guard, spec.coordinates.span, max_displacement=recipe.max_displacement)
    check(objective, model, recipe.training.batch, processes)
    learner = Learner(model, objective, recipe.training, generator, guard, processes=processes)
    learner.seconds = time.perf_counter() - began
    return learner


def _whole(split: Split, recipe: Recipe, spec: DataSpec, device: str) -> Batch:
    """All of `split` in model coordinates, with what the model is told."""
    x = spec.coordinates.to_model(split.scaled()).to(device)
    told = split.labels if recipe.conditional else None
    return Batch(x, None if told is None else told.to(device))


def batches(split: Split, recipe: Recipe, spec: DataSpec, device: str) -> Callable[[int], Batch]:
    """step -> its batch, in model coordinates."""
    order = shuffled(len(split), recipe.training.batch, recipe.seed)
    told = split.labels if recipe.conditional else None

    def batch(step: int) -> Batch:
        i = order(step)
        cond = None if told is None else told[i].to(device)
        return Batch(spec.coordinates.to_model(split.scaled(i)).to(device), cond)

    return batch


def fit(
    recipe: Recipe,
    data: Dataset,
    path: str | Path,
    listener: Listener | None = None,
    device: str | None = None,
    fallback: bool = False,
    processes: Processes = ALONE,
) -> Run:
    """Train `recipe` into the run folder `path`, or go on where it stopped; a finished run is
    returned as it is. Of many `processes` this is rank 0; the others call `follow` with the same
    words.
    """
    listener = listener or Silent()
    path, device = Path(path), device or default_device()
    spec = accepted(recipe, data)
    config = in_its_words(path, describe(recipe, data, spec), recipe)
    _other_length(path, config, recipe, listener)
    run = Run.create(path, config, about(recipe, device))
    with run, diagnosed(run):
        if processes.agree(run.status()["state"] != "training"):
            run.verify()
            return run
        learner = build(recipe, spec, device, data.train, processes)
        worries = _worries(recipe, learner, spec, data.train)
        _say(worries, run, listener, again=bool(run.checkpoints))
        watch, at = _progress(recipe, learner, spec, run, device)
        source = batches(data.train, recipe, spec, device)
        train(learner, source, run, listener, watch, at, fallback)
        found = _health(recipe, learner, spec, data.train, worries, device)
        run.mark("trained", **_cost(recipe, learner, len(data.train)), **found)
        _say([said] if (said := unhealthy(run.status())) else [], run, listener)
    return run


def _other_length(path: Path, config: dict[str, Any], recipe: Recipe, listener: Listener) -> None:
    """Make the run at `path` as long as `recipe` says, where that is all that is new; its learning
    rate follows the cosine of the new length from where it stands. Raises UserError where the run
    has gone further already.
    """
    if not (path / "config.json").is_file():
        return
    run = Run.open(path)
    there, here = run.config, unplain(plain(config))
    if there == here or _of_length(there, 0) != _of_length(here, 0):
        return
    found = run.latest()
    step, steps = found[0] if found else 0, recipe.training.steps
    if step >= steps:
        raise UserError(
            f"{path} has learned from {step * recipe.training.batch:,} images already, and"
            f" training.images={recipe.training.images} asks for no more; set a larger number."
        )
    before = there["recipe"]["training"]["images"]
    text = (
        f"from step {step:,} on it learns from {recipe.training.images:,} images, not {before:,}."
    )
    with run:
        run.reconfigure(config)
        run.log(text)
    listener.say(text)


def _of_length(config: Mapping[str, Any], images: int) -> dict[str, Any]:
    """The config with another number of images to learn from."""
    recipe = config.get("recipe", {})
    training = {**recipe.get("training", {}), "images": images}
    return {**config, "recipe": {**recipe, "training": training}}


def follow(recipe: Recipe, data: Dataset, processes: Processes, device: str | None = None) -> None:
    """Train beside the process of rank 0, which is in `fit`; nothing is written here."""
    device = device or default_device()
    if processes.agree(False):  # finished already
        return
    spec = accepted(recipe, data)
    learner = build(recipe, spec, device, data.train, processes)
    accompany(learner, batches(data.train, recipe, spec, device), _watched(recipe))


def accepted(recipe: Recipe, data: Dataset) -> DataSpec:
    """The specification of `data`. Raises UserError where `recipe` cannot learn from them."""
    _check_classes(recipe, data)
    spec = specify(data)
    recipe.accept(spec, lambda: spec.coordinates.to_model(data.train.scaled()))
    return spec


def _check_classes(recipe: Recipe, data: Dataset) -> None:
    if recipe.conditional and data.train.labels is None:
        raise UserError(
            f"{recipe.experiment} needs classes, but {data.name} has no labels; put the examples of"
            " each class into a folder of its own, or take an unconditional experiment."
        )


def _worries(recipe: Recipe, learner: Learner, spec: DataSpec, split: Split) -> list[str]:
    """What makes learning impossible, before it is tried."""
    span = learner.guard.data_range
    found = doubts(learner.objective, spec.coordinates.to_model(split.scaled(slice(0, DATA))))
    if recipe.max_displacement < 0.01 * span:
        found.append(displacement_in_words(recipe.max_displacement, span))
    return found


def _say(worries: Sequence[str], run: Run, listener: Listener, again: bool = False) -> None:
    """To the person, and into the log; a run that goes on has it there."""
    for worry in worries:
        text = f"guard: {worry}."
        listener.say(text)
        if not again:
            run.log(text)


def _health(
    recipe: Recipe,
    learner: Learner,
    spec: DataSpec,
    split: Split,
    worries: Sequence[str],
    device: str,
) -> dict[str, Any]:
    """The health of a few samples, for the status; nothing of a recipe that draws none. Those of
    an energy are drawn in as many steps as in training and in as many as a sample takes.
    """
    if not isinstance(recipe, Generative):
        return {}
    how = recipe.sampling(learner.averaged, spec, device)
    cond = classes_asked(spec, SAMPLES) if recipe.conditional else None
    to_model = spec.coordinates.to_model

    def draw(steps: int) -> Tensor:
        return to_model(generate(how, SAMPLES, seed_for("health", recipe.seed), cond, steps=steps))

    draws = [partial(draw, steps) for steps in sorted({how.steps, *recipe.trained_steps})]
    real = to_model(split.scaled(slice(0, DATA)))
    return {"samples": examine(draws, real, worries).as_dict()}


def _cost(recipe: Recipe, learner: Learner, examples: int) -> dict[str, Any]:
    images = recipe.training.steps * min(recipe.training.batch, examples)
    return {
        "seconds": learner.seconds,
        "images": images,
        "evaluations": images * recipe.evaluations_per_example,
        "parameters": sum(p.numel() for p in learner.model.parameters()),
    }


def snapshots(recipe: Generative) -> list[int]:
    """The steps after which averaged weights are kept to choose among; none where the last are
    taken.
    """
    n = recipe.evaluation.snapshots
    return [] if n == 1 else [max(1, recipe.training.steps * (i + 1) // n) for i in range(n)]


def snapshot(step: int) -> str:
    return f"ema-{step:08d}"


def _progress(
    recipe: Recipe, learner: Learner, spec: DataSpec, run: Run, device: str
) -> tuple[Callable[[int], None] | None, frozenset[int]]:
    """What is kept on the way, and after which steps: previews of samples, and snapshots."""
    if not isinstance(recipe, Generative):
        return None, frozenset()
    kept, previewed = frozenset(snapshots(recipe)), shown(recipe)

    def watch(step: int) -> None:
        if step in previewed:
            try:
                _preview(recipe, learner, spec, run.picture(f"progress-{step:08d}"), device)
            except NotFinite:
                run.log(f"guard, step {step}: no preview: {not_finite().verdict}.")
        if step in kept:
            run.weights(learner.averaged.state_dict(), snapshot(step))

    return watch, _watched(recipe)


def shown(recipe: Generative) -> frozenset[int]:
    """The steps after which a preview is drawn."""
    return frozenset(milestones(recipe.training.steps, PROGRESS)) - {0}


def _watched(recipe: Recipe) -> frozenset[int]:
    """The steps after which something is kept."""
    if not isinstance(recipe, Generative):
        return frozenset()
    return shown(recipe) | frozenset(snapshots(recipe))


def _preview(recipe: Generative, learner: Learner, spec: DataSpec, path: Path, device: str) -> None:
    """A column of samples drawn with the averaged weights, from the same noise at every step."""
    sampling = recipe.sampling(learner.averaged, spec, device)
    cond = classes_asked(spec, PROGRESS) if recipe.conditional else None
    x = generate(sampling, PROGRESS, recipe.seed, cond)
    spec.coordinates.preview(path, x, columns=1)


@dataclass(frozen=True)
class Fitted:
    """A trained model out of its run folder, with the averaged weights."""

    run: Run
    recipe: Generative
    spec: DataSpec
    model: nn.Module
    device: str = "cpu"

    def sampling(self) -> tasks.Sampling[Any]:
        return self.recipe.sampling(self.model, self.spec, self.device)

    def following(
        self, sampler: str | None = None, steps: int | None = None, changes: Sequence[str] = ()
    ) -> "Fitted":
        """The same model under another sampler of the table, with as many steps (of a score: noise
        levels) and further settings of the sampler changed. Raises UserError for what does not fit.
        """
        if sampler is None and steps is None and not changes:
            return self
        name = self.recipe.sampler_field
        if not name:
            raise UserError(
                f"{self.recipe.experiment} draws in one pass, so there is no sampler to choose and"
                " no number of steps; leave out --sampler, --steps and --set."
            )
        words = [] if sampler is None else [f"{name}.kind={sampler}"]
        recipe = override(self.recipe, words)
        if steps is not None:
            recipe = override(recipe, [f"{recipe.steps_setting()}={steps}"])
        prefixed = (c if c.startswith(f"{name}.") else f"{name}.{c}" for c in changes)
        return replace(self, recipe=override(recipe, list(prefixed)))

    def draw(
        self,
        n: int,
        seed: int = 0,
        cls: int | None = None,
        steps: int | None = None,
        batch: int = 100,
        listener: Listener | None = None,
        start: int = 0,
    ) -> tuple[Tensor, Tensor | None]:
        """Samples `start` to `start` + n - 1 in the data's own range, [n, *shape], and the classes
        that were asked for, if the model is conditional.
        """
        self._check(cls, steps)
        cond = classes_asked(self.spec, n, cls, start) if self.recipe.conditional else None
        return generate(self.sampling(), n, seed, cond, batch, steps, listener, start), cond

    def _check(self, cls: int | None, steps: int | None) -> None:
        name = self.recipe.experiment
        if cls is not None and not self.recipe.conditional:
            raise UserError(
                f"{name} is not conditional, so no class can be asked of it; train ncsn_class or"
                " ebm_class."
            )
        if cls is not None and not 0 <= cls < self.spec.classes:
            raise UserError(f"the classes are 0 to {self.spec.classes - 1}, got {cls}.")
        if steps is not None and not self.recipe.takes_steps:
            raise UserError(
                f"{name} takes as many steps as its noise levels ask for, {self.sampling().steps};"
                " leave out --steps."
            )

    def frames(
        self,
        start: Tensor | None,
        n: int,
        seed: int,
        at: Sequence[int],
        listener: Listener,
        labels: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """Number of steps -> chains [n, *shape] after them, in the data's own range; from noise, or
        from examples `start`. A conditional model's have the classes `labels` [n], or each in turn.
        """
        how = self.sampling()
        asked = classes_asked(self.spec, n) if labels is None else labels
        cond = asked if self.recipe.conditional else None
        parts = []
        listener.begin("chains", n)
        for first in range(0, n, BATCH):
            some, count = slice(first, first + BATCH), min(BATCH, n - first)
            begin = None if start is None else self.spec.coordinates.to_model(start[some])
            told = None if cond is None else cond[some]
            parts.append(film(how, begin, count, seed, at, told, first))
            listener.advance(count)
        listener.end()
        return dict(zip(at, torch.cat(parts, 1), strict=True))


def load(path: str | Path, device: str | None = None) -> Fitted:
    """The model of the run folder `path`, of `zoo:NAME` or of `hf:USER/REPOSITORY`; of a run that
    is still training, its newest checkpoint.

    Raises UserError where the folder holds no model that can be drawn from.
    """
    device = device or default_device()
    run = Run.open(located(path))
    recipe = recipe_of(run)
    spec = spec_of(run)
    _check_imports(str(path), recipe)
    tensors, _ = run.load("ema")
    with blamed(run.path / "config.json", "describes no model that this version can build"):
        model = recipe.model(spec)
    with blamed(run.path / "ema.safetensors", "holds another model than config.json describes"):
        model.load_state_dict(tensors)
    return Fitted(run, recipe, spec, model.to(device).eval().requires_grad_(False), device)


def _check_imports(path: str, recipe: Generative) -> None:
    """Raises UserError where a run of the Hub names code of somebody's that is not imported here."""
    module = getattr(recipe, "build", "").partition(":")[0]
    if path.startswith(HUB) and module and module not in sys.modules:
        raise UserError(
            f"{path} names {module}, which has not been imported; import it first if you trust it."
        )


def recipe_of(run: Run) -> Generative:
    """The recipe that the run folder was made with."""
    with blamed(run.path / "config.json", "holds settings that go together in no recipe"):
        recipe = from_stored(run.config.get("recipe"))
    if not isinstance(recipe, Generative):
        raise UserError(
            f"{run.path} holds {type(recipe).__name__}, which is measured beside other methods but"
            " cannot be drawn from; take a run of a generative recipe."
        )
    return recipe


def spec_of(run: Run) -> DataSpec:
    """The specification of the data that the run was trained on; format 1, which
    knew pictures alone, calls it facts.
    """
    stored = run.config.get("spec")
    with blamed(run.path / "config.json", "does not describe its data"):
        if stored is None:
            stored = {**run.config["facts"], "kind": "picture"}
        return from_dict(DataSpec, stored, "spec.")

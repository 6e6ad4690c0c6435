"""Fit: from a recipe and a data set to a run folder, and from a run folder back to a model that
draws.
"""

import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
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
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.data.picture import save_grid
from gradlogp.experiments.base import Facts, Generative, Recipe, asked, measure, to_model
from gradlogp.experiments.energy import EnergyRecipe
from gradlogp.experiments.latent import GANRecipe, VAERecipe
from gradlogp.experiments.score import ScoreRecipe
from gradlogp.experiments.settings import from_dict, to_dict
from gradlogp.runs import Run
from gradlogp.tasks import generate, milestones
from gradlogp.training import (
    Guard,
    Learner,
    diagnosed,
    doubts,
    examine,
    not_finite,
    reach_in_words,
    shuffled,
    train,
    unhealthy,
)
from gradlogp.training.health import DATA as HEALTH_DATA, SAMPLES as HEALTH_SAMPLES

RECIPES: dict[str, type[Any]] = {
    r.__name__: r for r in (EnergyRecipe, ScoreRecipe, VAERecipe, GANRecipe)
}
PROGRESS_PICTURES = 8


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(recipe: Recipe, data: Dataset, facts: Facts) -> dict[str, Any]:
    """What decides the numbers: with this, config.json holds everything needed to run it again."""
    origin = {"name": data.name, "classes": list(data.classes), "checksums": dict(data.checksums)}
    return {"recipe": to_dict(recipe), "facts": to_dict(facts), "data": origin}


def surroundings(device: str) -> dict[str, Any]:
    """What may differ when a run goes on elsewhere."""
    name = (
        torch.cuda.get_device_name()
        if device.startswith("cuda")
        else platform.processor() or platform.machine()
    )
    return {
        "device": device,
        "commit": commit(),
        "processor": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def commit() -> str | None:
    """The commit of the source, with + where it has been changed since; None outside a checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    try:
        git(
            "ls-files", "--error-unmatch", Path(__file__).name
        )  # else the checkout is somebody else's, with us installed in it
        return git("describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def build(recipe: Recipe, facts: Facts, device: str) -> Learner:
    """A learner at step 0, decided by the recipe's seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeded(recipe.seed, "weights").initial_seed())
        model = recipe.model(facts).to(device)
    generator = seeded(recipe.seed, "noise", device=device)
    objective = recipe.objective(facts, generator, device)
    guard = Guard(recipe.guard, data_range=2.0, reach=recipe.reach)
    return Learner(model, objective, recipe.training, generator, guard)


def batches(split: Split, recipe: Recipe, device: str) -> Callable[[int], Batch]:
    order = shuffled(len(split), recipe.training.batch, recipe.seed)

    def batch(step: int) -> Batch:
        i = order(step)
        cond = (
            split.labels[i].to(device) if recipe.conditional and split.labels is not None else None
        )
        return Batch(to_model(split.images(i)).to(device), cond)

    return batch


def fit(
    recipe: Recipe,
    data: Dataset,
    path: Path,
    listener: Listener | None = None,
    device: str | None = None,
    fallback: bool = False,
) -> Run:
    """Train `recipe` into the run folder `path`, or go on where it stopped; a finished run is
    returned as it is.
    """
    listener = listener or Silent()
    device = device or default_device()
    if recipe.conditional and data.train.labels is None:
        raise UserError(
            f"{recipe.experiment} needs classes, but {data.name} has no labels; put the pictures of"
            " each class into a folder of its own, or take an unconditional experiment."
        )
    facts = measure(data)
    run = Run.create(path, describe(recipe, data, facts), surroundings(device))
    with run, diagnosed(run):
        if run.status()["state"] != "training":
            return run
        learner = build(recipe, facts, device)
        real = data.train.images(slice(0, HEALTH_DATA))
        worries = _worries(recipe, learner, real)
        _warn(worries, run, listener)
        look, at = (
            _look(recipe, learner, facts, run, device)
            if isinstance(recipe, Generative)
            else (None, frozenset[int]())
        )
        train(learner, batches(data.train, recipe, device), run, listener, look, at, fallback)
        images = recipe.training.steps * min(recipe.training.batch, len(data.train))
        found = _health(recipe, learner, facts, real, worries, device)
        run.mark(
            "trained",
            seconds=learner.seconds,
            images=images,
            evaluations=images * recipe.evaluations_per_example,
            parameters=sum(p.numel() for p in learner.model.parameters()),
            **found,
        )
        if said := unhealthy(run.status()):
            run.log(f"guard: {said}")
            listener.say(f"guard: {said}")
    return run


def _worries(recipe: Recipe, learner: Learner, real: Tensor) -> list[str]:
    """Settings with which nothing can be learned."""
    found = doubts(learner.objective, to_model(real))
    if recipe.reach < 0.01 * learner.guard.data_range:
        found.append(reach_in_words(recipe.reach, learner.guard.data_range))
    return found


def _warn(worries: list[str], run: Run, listener: Listener) -> None:
    for worry in worries:
        listener.say(f"guard: {worry}.")
        if not run.checkpoints:  # a run that goes on has said so
            run.log(f"guard: {worry}.")


def _health(
    recipe: Recipe, learner: Learner, facts: Facts, real: Tensor, worries: list[str], device: str
) -> dict[str, Any]:
    """The health of a few samples, for the status; nothing of a recipe that draws none."""
    if not isinstance(recipe, Generative):
        return {}
    how = recipe.generator(learner.ema.module, facts, device)
    cond = asked(facts, HEALTH_SAMPLES) if recipe.conditional else None
    lengths = {how.steps, getattr(recipe, "chain_steps", how.steps)}
    draws = [
        partial(generate, how, HEALTH_SAMPLES, recipe.seed + 6, cond, steps=steps)
        for steps in sorted(lengths)
    ]
    return {"samples": examine(draws, real, worries).as_dict()}


def snapshots(recipe: Generative) -> list[int]:
    """The steps after which averaged weights are kept to choose among; none where the last are
    taken.
    """
    n = recipe.evaluation.snapshots
    return [] if n == 1 else [max(1, recipe.training.steps * (i + 1) // n) for i in range(n)]


def snapshot(step: int) -> str:
    return f"ema-{step:08d}"


def _look(
    recipe: Generative, learner: Learner, facts: Facts, run: Run, device: str
) -> tuple[Callable[[int], None], frozenset[int]]:
    """What is kept on the way, and after which steps: pictures of the progress, and snapshots."""
    picture = _progress_picture(recipe, learner, facts, run, device)
    kept = frozenset(snapshots(recipe))
    pictured = frozenset(milestones(recipe.training.steps, PROGRESS_PICTURES)) - {0}

    def look(step: int) -> None:
        if step in pictured:
            picture(step)
        if step in kept:
            run.weights(learner.ema.module.state_dict(), snapshot(step))

    return look, pictured | kept


def _progress_picture(
    recipe: Generative, learner: Learner, facts: Facts, run: Run, device: str
) -> Callable[[int], None]:
    """A column of eight samples drawn with the averaged weights, from the same noise at every step."""

    def picture(step: int) -> None:
        how = recipe.generator(learner.ema.module, facts, device)
        try:
            x = generate(how, 8, recipe.seed, asked(facts, 8) if recipe.conditional else None)
        except NotFinite:
            run.log(f"guard, step {step}: no picture of the progress: {not_finite().verdict}.")
            return
        save_grid(run.picture(f"progress-{step:08d}"), x, columns=1)

    return picture


@dataclass(frozen=True)
class Fitted:
    """A trained model out of its run folder, with the averaged weights."""

    run: Run
    recipe: Generative
    facts: Facts
    model: nn.Module
    device: str = "cpu"

    def draw(
        self,
        n: int,
        seed: int = 0,
        cls: int | None = None,
        steps: int | None = None,
        batch: int = 100,
        listener: Listener | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """`n` samples in [0, 1], [n, *shape], and the classes that were asked for, if the model is
        conditional.
        """
        if cls is not None and not self.recipe.conditional:
            raise UserError(
                f"{self.recipe.experiment} is not conditional, so no class can be asked of it; "
                "train ncsn_class or ebm_class."
            )
        if cls is not None and not 0 <= cls < self.facts.classes:
            raise UserError(f"the classes are 0 to {self.facts.classes - 1}, got {cls}.")
        cond = asked(self.facts, n, cls) if self.recipe.conditional else None
        how = self.how()
        if steps is not None and not isinstance(self.recipe, EnergyRecipe):
            raise UserError(
                f"{self.recipe.experiment} takes as many steps as its noise levels ask for,"
                f" {how.steps}; leave out --steps."
            )
        return generate(how, n, seed, cond, batch, steps, listener), cond

    def how(self) -> tasks.Generator[Any]:
        return self.recipe.generator(self.model, self.facts, self.device)


def load(path: Path, device: str | None = None) -> Fitted:
    """The model of the run folder `path`; of a run that is still training, its newest checkpoint."""
    device = device or default_device()
    run = Run.open(path)
    recipe = recipe_of(run)
    facts = from_dict(Facts, run.config["facts"], "facts.")
    model = recipe.model(facts)
    model.load_state_dict(run.load("ema")[0])
    return Fitted(run, recipe, facts, model.to(device).eval().requires_grad_(False), device)


def recipe_of(run: Run) -> Generative:
    settings = run.config.get("recipe", {})
    if settings.get("kind") not in RECIPES:
        raise UserError(
            f"{run.path} holds no recipe that this version knows ({settings.get('kind')!r}); "
            f"expected one of {', '.join(RECIPES)}."
        )
    return from_dict(RECIPES[settings["kind"]], settings, "")

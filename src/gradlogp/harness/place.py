"""What is asked before a recipe is trained into a folder: can it learn from these data, is the folder
free, or that of the same run, or of the same with another length?
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener
from gradlogp.data import Dataset
from gradlogp.harness.provenance import describe, in_its_words
from gradlogp.harness.recipe import DataSpec, Recipe, specify
from gradlogp.runs import Run
from gradlogp.runs.files import plain, unplain


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


def check_place(recipe: Recipe, data: Dataset, path: Path) -> None:
    """Raises UserError where `fit` would refuse the folder `path`; nothing is said or written."""
    config = in_its_words(path, describe(recipe, data, accepted(recipe, data)), recipe)
    if _passed(path, config, recipe) is None:
        Run.check(path, config)


def lengthened(path: Path, config: dict[str, Any], recipe: Recipe, listener: Listener) -> None:
    """Make the run at `path` as long as `recipe` says, where that is all that is new; its learning
    rate follows the cosine of the new length from where it stands.
    """
    step = _passed(path, config, recipe)
    if step is None:
        return
    run = Run.open(path)
    before = run.config["recipe"]["training"]["images"]
    text = (
        f"from step {step:,} on it learns from {recipe.training.images:,} images, not {before:,}."
    )
    with run:
        run.reconfigure(config)
        run.log(text)
    listener.say(text)


def _passed(path: Path, config: dict[str, Any], recipe: Recipe) -> int | None:
    """The step that the run at `path` has come to, where its length is all that is new; else None.
    Raises UserError where it has gone further already.
    """
    if not (path / "config.json").is_file():
        return None
    run = Run.open(path)
    there, here = run.config, unplain(plain(config))
    if there == here or _of_length(there, 0) != _of_length(here, 0):
        return None
    found = run.latest()
    step, steps = found[0] if found else 0, recipe.training.steps
    if step >= steps:
        raise UserError(
            f"{path} has learned from {step * recipe.training.batch:,} images already, and"
            f" training.images={recipe.training.images} asks for no more; set a larger number."
        )
    return step


def _of_length(config: Mapping[str, Any], images: int) -> dict[str, Any]:
    """The config with another number of images to learn from."""
    recipe = config.get("recipe", {})
    training = {**recipe.get("training", {}), "images": images}
    return {**config, "recipe": {**recipe, "training": training}}

"""The command line that reproduces a run, from its config: its experiment and whatever was changed
in it.
"""

import shlex
from collections.abc import Sequence
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.experiments import (
    COMPARISONS,
    EXPERIMENTS,
    PRESETS,
    applicable,
    contender_of,
    leaves,
    override,
)
from gradlogp.reports.read import Page, Shown

MISSING = object()
SAID_BY_FLAGS = {"experiment", "dataset", "preset", "seed"}


def changes(run: Shown, budget: Sequence[str] = ()) -> list[str]:
    """What `--set` must say: every setting that is not the preset's with the `budget` of a
    comparison.
    """
    recipe = run.recipe
    if recipe.get("experiment") not in EXPERIMENTS or recipe.get("preset") not in PRESETS:
        return []
    try:
        here = leaves(contender_of(run.run))
    except UserError:  # settings of another version
        return []
    preset = EXPERIMENTS[recipe["experiment"]](recipe["dataset"], recipe["preset"], recipe["seed"])
    there = leaves(override(preset, applicable(budget, recipe["experiment"])))
    return [
        f"{key}={_text(value)}"
        for key, value in here.items()
        if key not in SAID_BY_FLAGS and value != there.get(key, MISSING)
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def train(run: Shown) -> str:
    """The commands for one run: train, then evaluate."""
    words = ["--seed", str(run.recipe.get("seed", 0)), "--out", run.run.path.resolve().name]
    line = _line(
        "train", run.name, run.recipe.get("dataset"), run.recipe.get("preset"), words, changes(run)
    )
    return f"{line}\n{shlex.join(['gradlogp', 'evaluate', run.run.path.resolve().name])}"


def whole(page: Page) -> str:
    """The command that makes all that the page shows: `compare` for a comparison, `train` for a
    run.
    """
    if not page.note:
        return train(page.first)
    known = COMPARISONS.get(str(page.note.get("comparison")))
    budget = (
        known.changes(str(page.note.get("dataset")), str(page.note.get("preset"))) if known else ()
    )
    said = {m.name: changes(m.first, budget) for m in page.methods}
    shared = [c for c in next(iter(said.values())) if all(c in mine for mine in said.values())]
    own = [f"{name}:{c}" for name, mine in said.items() for c in mine if c not in shared]
    seeds = page.note.get("seeds") or [0]
    words = ["--seed", str(min(seeds)), *(["--seeds", str(len(seeds))] if len(seeds) > 1 else [])]
    return _line(
        "compare",
        page.note.get("comparison"),
        page.note.get("dataset"),
        page.note.get("preset"),
        words,
        [*shared, *own],
    )


def _line(
    verb: str, name: Any, dataset: Any, preset: Any, words: Sequence[str], sets: Sequence[str]
) -> str:
    parts = [
        "gradlogp",
        verb,
        str(name),
        "--dataset",
        str(dataset),
        "--preset",
        str(preset),
        *words,
    ]
    return shlex.join([*parts, *(["--set", *sets] if sets else [])])

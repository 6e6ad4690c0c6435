"""The command line that reproduces a run, from its config: its experiment and whatever was changed
in it.
"""

import shlex
from collections.abc import Sequence
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.experiments import COMPARISONS, RECIPES
from gradlogp.harness.compare import Maker, applicable
from gradlogp.harness.recipe import Target
from gradlogp.harness.settings import from_stored, leaves, override
from gradlogp.reports.read import Page
from gradlogp.reports.shown import Shown

MISSING = object()
SAID_BY_FLAGS = {"experiment", "dataset", "preset", "seed"}


def changes(run: Shown, make: Maker | None, presets: Sequence[str] = ()) -> list[str]:
    """What `--set` must say: every setting that `make` does not give with the `presets` of a
    comparison.
    """
    if make is None:
        return []
    try:
        here = leaves(from_stored(run.recipe))
        made = make(target(run), run.recipe["preset"], run.recipe["seed"])
        there = leaves(override(made, presets))
    except (UserError, KeyError):  # settings of another version
        return []
    return [
        f"{key}={_text(value)}"
        for key, value in here.items()
        if key not in SAID_BY_FLAGS and value != there.get(key, MISSING)
    ]


def target(run: Shown) -> Target:
    """The data of a run, as its settings saw them."""
    shape = tuple(run.spec.get("shape") or (1, 28, 28))
    examples = sum(run.spec.get("per_class") or ()) or 60_000
    name = str((run.run.config.get("data") or {}).get("name", run.recipe.get("dataset")))
    return Target(name, str(run.spec.get("kind", "picture")), shape, examples)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def train(run: Shown) -> str:
    """The commands for one run: train, then evaluate."""
    words = ["--seed", str(run.recipe.get("seed", 0)), "--out", run.run.path.resolve().name]
    sets = changes(run, RECIPES.get(run.name))
    line = _line(
        "train", run.name, run.recipe.get("dataset"), run.recipe.get("preset"), words, sets
    )
    return f"{line}\n{shlex.join(['gradlogp', 'evaluate', run.run.path.resolve().name])}"


def whole(page: Page) -> str:
    """The command that makes all that the page shows: `compare` for a comparison, `train` for a
    run.
    """
    if not page.note:
        return train(page.first)
    said = _changes(page)
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


def _changes(page: Page) -> dict[str, list[str]]:
    """Method -> what its settings were changed to; nothing where the comparison is not known here."""
    known = COMPARISONS.get(str(page.note.get("comparison")))
    if known is None:
        return {m.name: [] for m in page.methods}
    presets = known.changes(target(page.first), str(page.note.get("preset")))
    return {
        m.name: changes(
            m.first,
            known.methods.get(m.name),
            applicable(presets, m.name, known.methods),
        )
        for m in page.methods
    }


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

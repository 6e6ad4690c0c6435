"""Compare: a method and its rivals, trained and measured in one run, under one protocol.

A comparison is a folder of run folders, one for each method and seed, beside the judge and the two reference rows. What is finished
is not trained again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener, Silent
from gradlogp.data import Dataset
from gradlogp.experiments.base import Generative
from gradlogp.experiments.energy import ebm, ebm_class, ebm_no_buffer
from gradlogp.experiments.evaluate import evaluate
from gradlogp.experiments.fit import fit, load
from gradlogp.experiments.judge import Judge, judge, judge_beside
from gradlogp.experiments.reference import references
from gradlogp.experiments.score import ncsn, ncsn_class, ncsn_single
from gradlogp.experiments.settings import override
from gradlogp.experiments.workers import Part, side_by_side
from gradlogp.runs import Run, read_json, write_json

Experiment = Callable[[str, str, int], Generative]  # (dataset, preset, seed) -> recipe

EXPERIMENTS: dict[str, Experiment] = {
    "ebm": ebm,
    "ebm_no_buffer": ebm_no_buffer,
    "ebm_class": ebm_class,
    "ncsn": ncsn,
    "ncsn_single": ncsn_single,
    "ncsn_class": ncsn_class,
}


@dataclass(frozen=True)
class Comparison:
    """The method first, then its rivals; `says` is the question that the comparison answers."""

    methods: tuple[str, ...]
    says: str


COMPARISONS = {
    "ebm": Comparison(("ebm", "ebm_no_buffer"), "What does the replay buffer buy, at equal network evaluations?"),
    "ncsn": Comparison(("ncsn", "ncsn_single"), "Why many noise levels?"),
    "ncsn_class": Comparison(("ncsn_class", "ncsn"), "Does the network draw the class that was asked for?"),
    "demo": Comparison(("ebm", "ebm_no_buffer", "ncsn", "ncsn_class"),
                       "Energy-based and score-based models learn to draw digits, side by side."),
}


def compare(name: str, data: Dataset, preset: str, out: Path, seeds: Sequence[int] = (0,), changes: Sequence[str] = (),
            listener: Listener | None = None, fallback: bool = False, workers: int = 1) -> list[dict[str, Any]]:
    """Run the comparison `name` into the folder `out`, `workers` parts at a time; returns the rows of its results.json.

    More than one worker means other processes: a script then needs the usual `if __name__ == "__main__"`.
    """
    listener, comparison = listener or Silent(), COMPARISONS[name]
    out.mkdir(parents=True, exist_ok=True)
    _note(out, name, data, preset, seeds, changes)
    parts = [(method, seed) for seed in seeds for method in comparison.methods]
    paths = {(method, seed): out / (method if len(seeds) == 1 else f"{method}-seed{seed}") for method, seed in parts}
    listener.say(f"judge: a classifier that no model sees, trained on {data.name}")
    referee = judge(data, judge_beside(out / "part", data), listener)
    recipes = {(method, seed): override(EXPERIMENTS[method](data.name, preset, seed), applicable(changes, method))
               for method, seed in parts}
    work = [Part(path.name, _one, (recipes[key], data, path, referee, fallback)) for key, path in paths.items()]
    side_by_side(work, workers, listener)
    evaluation = recipes[comparison.methods[0], seeds[0]].evaluation
    rows = [{"method": label, **r} for label, rs in references(data, referee, evaluation, out / "samples").items() for r in rs]
    rows += [{"method": method, **r} for (method, _), path in paths.items() for r in Run.open(path).results()]
    write_json(out / "results.json", rows)
    return rows


def _one(recipe: Generative, data: Dataset, path: Path, referee: Judge, fallback: bool, listener: Listener) -> None:
    """Train and evaluate one method, or whatever of that is left to do."""
    listener.say((EXPERIMENTS[recipe.experiment].__doc__ or "").strip())
    run = fit(recipe, data, path, listener, fallback=fallback)
    if run.status()["state"] != "evaluated":
        evaluate(load(path), data, referee, listener)
    run.close()


def applicable(changes: Sequence[str], method: str) -> list[str]:
    """The overrides of one method: "ncsn:training.batch=32" is for ncsn alone, without a name for all."""
    named = [c.partition(":") for c in changes]
    for head, colon, _ in named:
        if colon and "=" not in head and head not in EXPERIMENTS:
            raise UserError(f"--set names the experiment {head!r}, which does not exist; there are {', '.join(EXPERIMENTS)}.")
    return [rest if colon and "=" not in head else head + colon + rest for head, colon, rest in named
            if not colon or "=" in head or head == method]


def _note(out: Path, name: str, data: Dataset, preset: str, seeds: Sequence[int], changes: Sequence[str]) -> None:
    """compare.json says what the folder compares; another comparison may not write into it."""
    note = {"comparison": name, "question": COMPARISONS[name].says, "methods": list(COMPARISONS[name].methods),
            "dataset": data.name, "preset": preset, "seeds": list(seeds), "changes": list(changes)}
    path = out / "compare.json"
    strangers = [item.name for item in out.iterdir() if not item.name.startswith(".")]
    if strangers and not path.exists():
        raise UserError(f"{out} holds other things ({strangers[0]}) and is no comparison's folder; choose another --out.")
    if path.exists() and (old := {"changes": [], **read_json(path)}) != note:
        changed = " ".join(old["changes"]) or "nothing"
        raise UserError(f"{out} holds the comparison {old['comparison']} of {old['dataset']}, preset {old['preset']}, seeds "
                        f"{old['seeds']}, {changed} changed; give another --out, or repeat that command to go on with it.")
    write_json(path, note)

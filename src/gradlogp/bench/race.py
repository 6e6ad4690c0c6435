"""The race: how near to real pictures each generative recipe draws, against its seconds of
training.

Every method trains for the same seconds on one thread, with the settings of its preset `quick` and
as many pictures as that takes, and leaves its averaged weights at even shares of the way; fresh
samples of each are measured by the same evaluation classifier. The clock holds everything that is
done before a sample can be drawn: what is fitted in closed form as well. A curve is one run, whose
learning rate falls towards its end: what a shorter run would have reached lies below it. The
mixture of principal components that some recipes begin at runs on its own as well: it is what a few
seconds of linear algebra buy.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from gradlogp import data as shelf
from gradlogp.bench.ablation import Variant
from gradlogp.bench.page import one_thread, table
from gradlogp.data import Dataset, Split
from gradlogp.experiments.recipes import RECIPES
from gradlogp.experiments.recipes.mixture import drawn, fitted
from gradlogp.experiments.recipes.proposal import Proposal
from gradlogp.harness import Evaluator, Fitted, Target, evaluator_of, figures, override, specify
from gradlogp.harness.fit import batches, build, fit, load, snapshot, snapshots
from gradlogp.metrics import frechet, prdc

METHODS = ("ebm", "ncsn", "wgan_gp", "gan", "vae")
SECONDS, SAMPLES, SNAPSHOTS, PILOT = 60.0, 1000, 6, 20
GOALS = (2.0, 1.5, 1.0)
MIXTURE = "mixture alone"


def rows(
    seeds: int = 1,
    seconds: float = SECONDS,
    dataset: str = "mnist",
    methods: Sequence[str] = METHODS,
) -> list[dict[str, Any]]:
    """For every method, seed and snapshot: seconds of training, evaluations a sample, and what
    fresh samples are like.
    """
    data = shelf.load(dataset)
    with one_thread(), TemporaryDirectory() as folder:
        evaluator = evaluator_of(data, Path(folder) / "evaluator")
        return closed_form(seeds, data, evaluator) + [
            row
            for method in methods
            for seed in range(seeds)
            for row in run_of(
                Variant(method, experiment=method),
                recipe_of(Variant(method, experiment=method), seed, seconds, data),
                data,
                evaluator,
                Path(folder) / f"{method}-{seed}",
            )
        ]


def closed_form(seeds: int, data: Dataset, evaluator: Evaluator) -> list[dict[str, Any]]:
    """The mixture alone: one point for each seed."""
    return [_mixture(seed, data, evaluator) for seed in range(seeds)]


def _mixture(seed: int, data: Dataset, evaluator: Evaluator) -> dict[str, Any]:
    began = time.perf_counter()
    mixture = fitted(Proposal(400).of(Target.of(data)), data, seed)
    seconds = time.perf_counter() - began
    x = drawn(mixture, data, min(SAMPLES, len(data.test)), seed)
    found = {"seed": seed, "seconds": seconds, "evaluations": 1}
    return {"method": MIXTURE, **found, **sample_metrics(x, data.test, evaluator)}


def recipe_of(method: Variant, seed: int, seconds: float, data: Dataset) -> Any:
    """The recipe with as many pictures as it learns from in `seconds` here and now."""
    recipe = changed(method, seed, data)
    return within(recipe, seconds, seconds_of(recipe, data))


def changed(method: Variant, seed: int, data: Dataset) -> Any:
    """The recipe with its changes made."""
    whole: Any = RECIPES[method.experiment](Target.of(data), "quick", seed)
    return override(whole, method.changes)


def within(recipe: Any, seconds: float, pace: Mapping[str, float]) -> Any:
    """The recipe with the pictures that it learns from in `seconds` at the pace of `seconds_of`."""
    updates = max(SNAPSHOTS, int((seconds - pace["before"]) / pace["update"]))
    return replace(
        recipe,
        training=replace(recipe.training, images=updates * recipe.training.batch),
        evaluation=replace(recipe.evaluation, snapshots=SNAPSHOTS),
    )


def seconds_of(recipe: Any, data: Dataset) -> dict[str, float]:
    """What comes before the first update, and the mean update, in seconds, of a whole run of a few
    updates: what the loss does at first, and later, has its share of them.
    """
    spec, batch = specify(data), recipe.training.batch
    short = replace(recipe, training=replace(recipe.training, images=PILOT * batch))
    source = batches(data.train, short, spec, "cpu")
    build(short, spec, "cpu").update(source(0))  # what is slow once
    learner = build(short, spec, "cpu", data.train)
    began = time.perf_counter()
    for step in range(PILOT):
        learner.update(source(step))
    spent = time.perf_counter() - began
    return {"before": learner.seconds, "update": spent / PILOT}


def run_of(
    method: Variant, recipe: Any, data: Dataset, evaluator: Evaluator, path: Path
) -> list[dict[str, Any]]:
    """Train into the run folder `path`, and measure every snapshot."""
    run = fit(recipe, data, path)
    clock = {int(line["step"]): float(line["seconds"]) for line in run.metrics()}
    return [
        {
            "method": method.name,
            "seed": recipe.seed,
            "seconds": clock[min(clock, key=lambda at: abs(at - step))],
            **looks(at_snapshot(load(path, "cpu"), step), data, evaluator),
        }
        for step in snapshots(recipe)
    ]


def at_snapshot(fitted: Fitted, step: int) -> Fitted:
    fitted.model.load_state_dict(fitted.run.load(snapshot(step))[0])
    return fitted


def looks(fitted: Fitted, data: Dataset, evaluator: Evaluator) -> dict[str, float]:
    """Fresh samples against as many test pictures."""
    x, _ = fitted.draw(min(SAMPLES, len(data.test)), fitted.recipe.seed + 1)
    how = fitted.sampling()
    return {**sample_metrics(x, data.test, evaluator), "evaluations": how.cost * how.steps}


def sample_metrics(x: Tensor, part: Split, evaluator: Evaluator) -> dict[str, float]:
    """Samples x [n, *shape] in the data's own range, against the first n examples of `part`."""
    real, features = evaluator.features(part.scaled(slice(0, len(x)))), evaluator.features(x)
    return {
        "fd": float(frechet.fd(real, features, evaluator.name)),
        "precision": float(prdc.precision(real, features)),
        "coverage": float(prdc.coverage(real, features)),
    }


def reached(curve: Sequence[Mapping[str, Any]], goal: float) -> float | None:
    """The seconds of the first snapshot whose Frechet distance is `goal` or less; None for never."""
    return next((row["seconds"] for row in curve if row["fd"] <= goal), None)


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[Mapping[str, Any]]]]:
    """method -> the runs of its seeds, each in the order of time."""
    found: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        found.setdefault(row["method"], {}).setdefault(row["seed"], []).append(row)
    return {method: list(runs.values()) for method, runs in found.items()}


PAGE = """# The race: how near to real pictures, after how many seconds

Every method trains for {seconds:.0f} seconds on one thread with the settings of its preset `quick`; {samples} fresh samples of
its averaged weights at each sixth of the way are judged against {samples} test pictures by one evaluation classifier. Seconds
hold what is fitted in closed form before the first update. Medians over {seeds} seed(s); *never* where a seed did not get there.

{table}

![Frechet distance against seconds of training](images/race.png)
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    found = curves(rows)
    heads = [
        "method",
        *(f"seconds to FD {goal:g}" for goal in GOALS),
        "FD at the end",
        "precision",
        "coverage",
        "evaluations a sample",
    ]
    return PAGE.format(
        seconds=max(row["seconds"] for row in rows),
        samples=SAMPLES,
        seeds=max(len(runs) for runs in found.values()),
        table=table(heads, [_line(method, runs) for method, runs in found.items()]),
    )


def _line(method: str, runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    last = [curve[-1] for curve in runs]
    return [
        method if method == MIXTURE else f"`{method}`",
        *(_median_time([reached(curve, goal) for curve in runs]) for goal in GOALS),
        *(
            f"{statistics.median(row[key] for row in last):.2f}"
            for key in ("fd", "precision", "coverage")
        ),
        f"{last[0]['evaluations']}",
    ]


def _median_time(times: Sequence[float | None]) -> str:
    there = [t for t in times if t is not None]
    return f"{statistics.median(there):.0f}" if len(there) == len(times) else "never"


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Frechet distance against seconds, means over the seeds of each method."""
    series = {
        method: (_mean(runs, "seconds"), _mean(runs, "fd")) for method, runs in curves(rows).items()
    }
    with figures.sheet(path, width=6.4, height=4.2) as (axis,):
        figures.lines(
            axis, series, "seconds of training", "Frechet distance", log="xy", markers=True
        )


def _mean(runs: Sequence[Sequence[Mapping[str, Any]]], key: str) -> list[float]:
    """Of each look, over the runs."""
    return [statistics.fmean(row[key] for row in looks) for looks in zip(*runs, strict=True)]

"""Run folders as the experiments leave them, made in a blink: no training, pictures of noise."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradlogp.data.film import save_film
from gradlogp.experiments import RECIPES
from gradlogp.harness import Target, to_dict
from gradlogp.runs import Run, write_json, write_results

SIGMAS = (0.1, 0.3)
METRICS = {
    "fd": ("lower", 10.0),
    "precision": ("higher", 0.9),
    "recall": ("higher", 0.8),
    "coverage": ("higher", 0.7),
    "memorisation": ("higher", 1.1),
}
REFERENCES = {
    "real training pictures": 0.1,
    "Gaussian of the pixels": 5.0,
}  # method -> times the Frechet distance below


def picture(path: Path, columns: int, rows: int) -> None:
    x = (
        np.random.RandomState(0).randint(0, 255, (rows * 18 - 2, columns * 18 - 2), dtype=np.uint8)
        // 128
        * 255
    )
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(x).save(path)


def film(path: Path, side: int = 48, frames: int = 3) -> None:
    path.parent.mkdir(exist_ok=True)
    shown = [Image.new("L", (side, side), 80 * i) for i in range(frames)]
    save_film(path, shown)


def row(metric: str, value: float, better: str, **more: Any) -> dict[str, Any]:
    return {
        "metric": metric,
        "value": value,
        "stderr": abs(value) / 100,
        "n": 360,
        "better": better,
        "seed": 1,
        "reference": None,
        "protocol": f"how {metric} was measured",
        "trivial": None,
        **more,
    }


def rows(times: float = 1.0, classes: bool = False, **changes: float) -> list[dict[str, Any]]:
    values = {
        m: value * (times if better == "lower" else 1.0) for m, (better, value) in METRICS.items()
    } | changes
    found = [
        row(m, value, METRICS[m][0], seconds=0.01, evaluations=300) for m, value in values.items()
    ]
    found += [row("agreement", 0.96, "higher", reference=0.99)] if classes else []
    for s in SIGMAS:
        at = {"noise": s}
        found += [row("psnr", 20 - 10 * s + times, "higher", noisy=20 - 20 * s, axes=at)]
        found += [row("ssim", 0.9, "higher", noisy=0.5, axes=at)]
    return found


def run(
    path: Path,
    experiment: str,
    times: float = 1.0,
    state: str = "evaluated",
    seed: int = 0,
    dataset: str = "digits",
    guard: bool = False,
    images: int | None = None,
    **changes: float,
) -> Run:
    """One run folder, as far as `state`."""
    target = Target(dataset, "picture", (1, 8, 8), 1250)
    recipe = RECIPES[experiment](target, "quick", seed)
    if images:
        recipe = replace(recipe, training=replace(recipe.training, images=images))
    config = {
        "recipe": to_dict(recipe),
        "spec": {"shape": [1, 8, 8], "per_class": [125] * 10, "std": 0.7},
        "data": {"name": dataset, "checksums": {"digits.csv.gz": "0f" * 32}},
    }
    with Run.create(
        path,
        config,
        {
            "torch": "2.13.0",
            "python": "3.11.7",
            "device": "cpu",
            "date": "2030-01-02",
            "title": recipe.title(),
            "story": recipe.about(),
        },
    ) as made:
        made.mark("training")
        _train(made, "ebm" in experiment, guard)
        for step in (20, 60):
            picture(path / "samples" / f"progress-{step:08d}.png", 1, 8)
        if state != "training":
            made.mark("trained", seconds=75.0, images=8000, evaluations=176_000, parameters=72_769)
        if state == "evaluated":
            _evaluate(made, recipe, rows(times, recipe.conditional, **changes))
    return made


def _train(made: Run, energy: bool, guard: bool) -> None:
    dice = random.Random(0)
    for step in range(20, 901, 20):
        numbers = {"loss": dice.gauss(0, 0.01), "grad_norm": 1 / step}
        chains = ("energy_data", "energy_chains", "gap", "displacement", "energy_scale")
        numbers |= (
            {k: dice.gauss(0, 0.1) for k in chains} if energy else {"loss_per_dim": 10 / step}
        )
        made.record(step, numbers)
    made.log("begun")
    if guard:
        made.log(
            "guard, step 7: chains move 0.001 of the data's range from start to end: they cannot"
            " reach the data."
        )


def _evaluate(made: Run, recipe: Any, results: list[dict[str, Any]]) -> None:
    samples = made.path / "samples"
    picture(samples / "final.png", 10, 10)
    if recipe.conditional:
        picture(samples / "classes.png", 10, 10)
    for s in SIGMAS:
        picture(samples / f"denoise-{s}.png", 10, 3)
    films = (
        {"annealing": ["noise", "20", "denoised"]}
        if "ncsn" in recipe.experiment
        else {"chain-noise": ["0", "12", "300"], "chain-data": ["0", "12", "300"]}
    )
    for name in films:
        picture(samples / f"{name}.png", 3, 10)
    write_json(samples / "films.json", films)
    film(samples / "moving.gif")
    made.write_results(results)
    made.mark("evaluated")


def comparison(
    folder: Path, seeds: tuple[int, ...] = (0,), dataset: str = "digits", **methods: dict[str, Any]
) -> Path:
    """A comparison's folder; methods: experiment -> what `run` takes."""
    methods = methods or {
        "ebm": {"guard": True, "images": 8000},
        "ncsn_class": {"times": 0.5, "images": 8000},
        "ebm_no_buffer": {"times": 4.0, "precision": 0.97, "images": 8000},
    }
    folder.mkdir()
    note = {
        "comparison": "demo",
        "question": "Who draws best?",
        "methods": list(methods),
        "dataset": dataset,
        "preset": "quick",
        "seeds": list(seeds),
    }
    write_json(folder / "compare.json", note)
    drawn = [
        (label, r)
        for label, times in REFERENCES.items()
        for r in rows(times)
        if r["metric"] in METRICS
    ]
    found = [{"method": label, **r} for label, r in drawn]
    for method, settings in methods.items():
        for seed in seeds:
            path = folder / (method if len(seeds) == 1 else f"{method}-seed{seed}")
            made = run(path, method, seed=seed, dataset=dataset, **settings)
            found += [{"method": method, **r} for r in made.results()]
    if all(settings.get("state", "evaluated") == "evaluated" for settings in methods.values()):
        write_results(folder, found)
    return folder

"""The choice of noise, measured on a data set: the largest distance in it, how far neighbouring
levels overlap, what is lost at each level and how long the score is there, and what one level loses.

The equations of loss and length are those of `experiments.recipes.by_level`.

Reference: Song & Ermon (2020), Improved Techniques for Training Score-Based Generative Models,
arXiv 2006.09011, techniques 1 and 2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from gradlogp import data as shelf
from gradlogp.bench.page import one_thread, table
from gradlogp.core.annealing import geometric_ratio, max_distance, shell_overlap
from gradlogp.core.fields import NoisyField
from gradlogp.core.random import normal_, seeded
from gradlogp.data import Dataset
from gradlogp.experiments.recipes.by_level import at_level, eigenvalues, linear_loss
from gradlogp.experiments.recipes.score import ScoreRecipe, ncsn_from_noise
from gradlogp.harness import Evaluator, Fitted, Target, evaluator_of, figures, specify
from gradlogp.harness.fit import fit, load
from gradlogp.metrics import frechet
from gradlogp.objectives import SingleLevel

IMAGES = 16_000  # shown to each network in training
EXAMPLES = 500  # of the test part, for losses and for samples
FAR = 4000  # training examples among which distances are taken
LEVELS = 10  # at which losses are measured
SINGLE = (0.1, 0.6, 3.0)  # levels of the networks that know one alone, in model coordinates
LADDERS = (10, 20, 40, 80, 160, 320)
ALL = "every level"


def rows(
    dataset: str = "digits", images: int = IMAGES, examples: int = EXAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """What the set is like, ladders in its dimension, losses by network and level, and samples."""
    data = shelf.load(dataset)
    base = base_recipe(data, images, seed)
    recipes = {ALL: base} | {
        f"{sigma:g} alone": replace(base, levels=SingleLevel(sigma)) for sigma in SINGLE
    }
    with one_thread(), TemporaryDirectory() as folder:
        evaluator = evaluator_of(data, Path(folder) / "evaluator")
        fitted = {
            name: _fitted(recipe, data, Path(folder) / f"{i}")
            for i, (name, recipe) in enumerate(recipes.items())
        }
        x, noise = _examples(data, examples, seed)
        fields = {name: each.sampling().field(None) for name, each in fitted.items()}
        return [
            about(data) | {"images": images, "seed": seed},
            *ladders(data, base.sampler.process.sigma_min),
            *losses(fields, x, noise, levels_of(base), eigenvalues(data)),
            *(samples(name, each, data, evaluator, examples) for name, each in fitted.items()),
        ]


def base_recipe(data: Dataset, images: int, seed: int) -> ScoreRecipe:
    """The noise-conditional network that begins at noise, shown so many pictures."""
    recipe = ncsn_from_noise(Target.of(data), "quick", seed)
    return replace(recipe, training=replace(recipe.training, images=images))


def _fitted(recipe: ScoreRecipe, data: Dataset, path: Path) -> Fitted:
    fit(recipe, data, path).close()
    return load(path, "cpu")


def _examples(data: Dataset, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Test examples in model coordinates, and as many draws of noise: the same for all networks."""
    x = specify(data).coordinates.to_model(data.test.scaled(slice(0, min(n, len(data.test)))))
    return x, normal_(torch.empty_like(x), seeded(seed, "noise scales"))


def train_part(data: Dataset, n: int = FAR) -> Tensor:
    return specify(data).coordinates.to_model(data.train.scaled(slice(0, n)))


def about(data: Dataset) -> dict[str, Any]:
    """The set in model coordinates: its dimension, its deviation, its largest and its median
    distance.
    """
    x = train_part(data)
    return {
        "kind": "set",
        "dataset": data.name,
        "dim": math.prod(data.shape),
        "examples": len(x),
        "std": float(x.std()),
        "largest": max_distance(x),
        "median": float(torch.pdist(x.flatten(1)[:1000]).median()),
    }


def ladders(data: Dataset, low: float) -> list[dict[str, Any]]:
    """The overlap of neighbours in ladders of so many levels, between the level `low` and the
    largest distance; the one that is `asked` for is that of technique 2.
    """
    dim = math.prod(data.shape)
    span = math.log(max_distance(train_part(data)) / low)
    asked = 1 + math.ceil(span / math.log(geometric_ratio(dim)))
    return [_ladder(levels, span, dim, levels == asked) for levels in sorted({*LADDERS, asked})]


def _ladder(levels: int, span: float, dim: int, asked: bool) -> dict[str, Any]:
    ratio = math.exp(span / (levels - 1))
    said = {"kind": "ladder", "levels": levels, "ratio": ratio, "asked": asked}
    return {**said, "overlap": shell_overlap(ratio, dim)}


def levels_of(recipe: ScoreRecipe) -> list[float]:
    """Levels at equal ratios, from the coarsest of the recipe's ladder to its finest."""
    return [float(sigma) for sigma in recipe.sampler.process.ladder(LEVELS)]


def losses(
    fields: Mapping[str, NoisyField],
    x: Tensor,
    noise: Tensor,
    levels: Sequence[float],
    spectrum: Tensor,
) -> list[dict[str, Any]]:
    """For every level and network; `lost` is the loss above that of the network of all levels, on
    the same examples.
    """
    found = []
    for sigma in sorted({*levels, *SINGLE}):
        measured = {name: at_level(field, x, sigma, noise) for name, field in fields.items()}
        for name, (loss, length) in measured.items():
            lost = loss - measured[ALL].loss
            row: dict[str, Any] = {
                "network": name,
                "sigma": sigma,
                "linear": linear_loss(spectrum, sigma),
            }
            row |= _mean("loss", loss) | _mean("length", length) | _mean("lost", lost)
            row |= {"expected": 1 - 2 * row["loss"], "expected_stderr": 2 * row["loss_stderr"]}
            found.append({"kind": "loss", **row})
    return found


def _mean(name: str, each: Tensor) -> dict[str, float]:
    each = each.double()
    return {name: float(each.mean()), f"{name}_stderr": float(each.std() / len(each) ** 0.5)}


def samples(
    name: str, fitted: Fitted, data: Dataset, evaluator: Evaluator, n: int
) -> dict[str, Any]:
    """The Frechet distance of n samples by annealed Langevin, down all levels of the recipe."""
    n = min(n, len(data.test))
    x, _ = fitted.draw(n, fitted.recipe.seed + 1)
    real = evaluator.features(data.test.scaled(slice(0, n)))
    fd = frechet.fd(real, evaluator.features(x), evaluator.name)
    how = fitted.sampling()
    said = {"fd": fd.value, "fd_stderr": fd.stderr, "evaluations": how.cost * how.steps, "n": n}
    return {"kind": "samples", "network": name, **said}


PAGE = """# The choice of noise on {dataset}

{dim} dimensions, standard deviation {std:.2f} in model coordinates (pictures on [-1, 1]). Four networks of one shape saw
{images:,} pictures each: one at every level, three at one level alone; seed {seed}.

![Loss and length of the score by level, and the overlap of neighbouring levels](images/noise-scales.png)

## The coarsest level: the largest distance

Among {examples:,} training examples the largest distance is **{largest:.1f}** and the median {median:.1f}: technique 1 would
begin there, so that a chain can go from any example to any other.

## How many levels: the overlap of neighbours

Between {low:.2g} and the largest distance; technique 2 asks for an overlap of one half, which takes **{asked}** levels.

{ladders}

## Loss and length of the score by level

Loss per dimension with the weight sigma^2, on test examples under the same noise. *Linear* is the best linear score, by the
covariance alone. The last two columns agree for an exact score: sigma^2 |s|^2 / D, and 1 - 2 x loss.

{losses}

## What one level alone loses

The loss above that of the network of every level, on the same examples under the same noise; in the last columns the Fréchet
distance of samples by annealed Langevin, and its evaluations.

{single}
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    found = by_kind(rows)
    levels = [row for row in found["loss"] if row["network"] == ALL]
    asked = next(row["levels"] for row in found["ladder"] if row["asked"])
    heads = ["sigma", "loss", "linear", "length", "1 - 2 x loss"]
    return PAGE.format(
        **found["set"][0],
        low=min(row["sigma"] for row in levels),
        asked=asked,
        ladders=table(["levels", "ratio", "overlap"], [_steps(row) for row in found["ladder"]]),
        losses=table(heads, [_level(row) for row in levels]),
        single=_single(found),
    )


def _steps(row: Mapping[str, Any]) -> list[Any]:
    return [row["levels"], f"{row['ratio']:.3f}", f"{row['overlap']:.3f}"]


def _level(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{row['sigma']:.3g}",
        f"{row['loss']:.4f} ± {row['loss_stderr']:.4f}",
        f"{row['linear']:.4f}",
        f"{row['length']:.4f} ± {row['length_stderr']:.4f}",
        f"{row['expected']:.4f}",
    ]


def _single(found: Mapping[str, list[dict[str, Any]]]) -> str:
    lines = []
    for drawn in found["samples"]:
        lost = {r["sigma"]: r for r in found["loss"] if r["network"] == drawn["network"]}
        cells = [f"{lost[s]['lost']:+.4f} ± {lost[s]['lost_stderr']:.4f}" for s in SINGLE]
        fd = f"{drawn['fd']:.2f} ± {drawn['fd_stderr']:.2f}"
        lines.append([drawn["network"], *cells, fd, drawn["evaluations"]])
    heads = ["network", *(f"lost at {s:g}" for s in SINGLE), "Fréchet distance", "evaluations"]
    return table(heads, lines)


def by_kind(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["kind"], []).append(row)
    return found


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Three panels: the loss by level of each network, the length of the score, the overlap."""
    found = by_kind(rows)
    with figures.sheet(path, columns=3, height=3.6) as (left, middle, right):
        names = [r["network"] for r in found["samples"]]
        for name, colour in zip(names, ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), strict=True):
            some = [r for r in found["loss"] if r["network"] == name]
            x, y = ([r[key] for r in some] for key in ("sigma", "loss"))
            left.plot(x, y, color=colour, marker="o", markersize=3, label=name)
        every = [r for r in found["loss"] if r["network"] == ALL]
        sigmas = [r["sigma"] for r in every]
        left.plot(sigmas, [r["linear"] for r in every], "--", color="#777777", label="linear")
        left.set(xscale="log", yscale="log", xlabel="noise level", ylabel="loss per dimension")
        left.legend(frameon=False, fontsize=7)
        middle.plot(sigmas, [r["length"] for r in every], "o", color="#0072B2", label="measured")
        middle.plot(sigmas, [r["expected"] for r in every], color="#0072B2", label="1 - 2 x loss")
        middle.axhline(1, color="#777777", linewidth=0.8)
        middle.set(xscale="log", xlabel="noise level", ylabel="score squared over D / sigma²")
        middle.legend(frameon=False, fontsize=7)
        steps = [[r[key] for r in found["ladder"]] for key in ("levels", "overlap")]
        right.plot(*steps, color="#0072B2", marker="o", markersize=4)
        right.axhline(0.5, color="#777777", linewidth=0.8)
        right.set(xscale="log", xlabel="levels", ylabel="overlap of neighbours")

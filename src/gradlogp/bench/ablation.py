r"""What each setting of contrastive divergence with a replay buffer is worth: one at a time is
changed in the recipe `ebm`.

All runs spend the same network evaluations, :math:`B\,(K + 2)` an update with batches of B and
chains of K steps: longer chains see fewer pictures. Fresh samples from noise are measured after many
steps, and after the K of training, where a short-run model is at its best. A run that the guard
gives up has no samples, and is counted.

References: Du & Mordatch (2019), arXiv 1903.08689 (buffer, restarts, regulariser); Nijkamp et al.
(2019), arXiv 1904.09770 (chains without a buffer: right at K steps, and nowhere else).
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from torch import Tensor

from gradlogp import data as shelf
from gradlogp.bench.page import one_thread, table
from gradlogp.core.progress import Silent
from gradlogp.core.random import seed_for
from gradlogp.data import Dataset
from gradlogp.experiments.recipes import RECIPES, EnergyRecipe
from gradlogp.harness import Evaluator, Fitted, Target, evaluator_of, override, specify
from gradlogp.harness.fit import batches, build
from gradlogp.harness.provenance import describe
from gradlogp.metrics import classes, frechet, prdc
from gradlogp.runs import Run
from gradlogp.training import Diverged, Learner, train

IMAGES, SAMPLES = 12_000, 360
DIGITS = Target("digits", "picture", (1, 8, 8), 1257)


class Variant(NamedTuple):
    """A row of the table: its name, the settings that are changed, and the experiment in which they
    are.
    """

    name: str
    changes: tuple[str, ...] = ()
    experiment: str = "ebm"


VARIANTS = (
    Variant("the recipe"),
    Variant("no buffer", experiment="ebm_no_buffer"),
    Variant("buffer of 256", ("buffer.capacity=256",)),
    Variant("buffer of 8,192", ("buffer.capacity=8192",)),
    Variant("no restarts", ("buffer.restart_prob=0",)),
    Variant("all restarted", ("buffer.restart_prob=1",)),
    Variant("K = 10", ("chain_steps=10",)),
    Variant("K = 60", ("chain_steps=60",)),
    Variant("no clip of the score", ("chain.grad_clip=none",)),
    Variant("energies not regularised", ("energy_l2=0",)),
    Variant("chains that cannot move", ("chain.step_size=0.01",)),
    Variant("learning rate / 10", ("training.learning_rate=1e-3",)),
    Variant("learning rate x 5", ("training.learning_rate=5e-2",)),
    Variant("the same, and no roll-back", ("training.learning_rate=5e-2", "guard.max_rollbacks=0")),
)


def recipe_of(variant: Variant, seed: int, images: int = IMAGES) -> EnergyRecipe:
    """The recipe with its changes; `images` are those of the unchanged one, whose evaluations all
    spend.
    """
    whole: Any = RECIPES[variant.experiment](DIGITS, "quick", seed)
    changed = override(whole, variant.changes)
    fair = images * whole.evaluations_per_example // changed.evaluations_per_example
    return override(changed, [f"training.images={fair}"])


def rows(
    seeds: int = 3, variants: Sequence[Variant] = VARIANTS, images: int = IMAGES
) -> list[dict[str, Any]]:
    """For every variant and seed what its samples are like and what the guard did; and the same of
    real pictures.
    """
    digits = shelf.load("digits")
    with one_thread(), TemporaryDirectory() as folder:
        evaluator = evaluator_of(digits, Path(folder) / "evaluator")
        real = {
            "name": "real training pictures",
            **looks(digits.train.scaled(slice(0, SAMPLES)), digits, evaluator),
        }
        return [real] + [
            _row(variant, seed, images, digits, evaluator, Path(folder) / f"{seed}-{i}")
            for seed in range(seeds)
            for i, variant in enumerate(variants)
        ]


def _row(
    variant: Variant, seed: int, images: int, digits: Dataset, evaluator: Evaluator, path: Path
) -> dict[str, Any]:
    return {
        "name": variant.name,
        "seed": seed,
        **outcome(recipe_of(variant, seed, images), digits, evaluator, path),
    }


def outcome(
    recipe: EnergyRecipe, data: Dataset, evaluator: Evaluator, path: Path
) -> dict[str, Any]:
    """Train into the run folder `path`, and measure fresh samples after many steps and after K."""
    spec, k = specify(data), recipe.chain_steps
    learner = build(recipe, spec, "cpu", data.train)
    with Run.create(path, describe(recipe, data, spec)) as run:
        diverged = _diverged(learner, recipe, data, run)
        found = {
            **_spent(recipe),
            "diverged": diverged,
            "rollbacks": learner.guard.rollbacks - diverged,
            "skipped": learner.guard.skipped,
            "warned": len(learner.guard.warned),
        }
        if diverged:
            return found
        fitted = Fitted(run, recipe, spec, learner.ema.module.eval().requires_grad_(False))
        frames = fitted.frames(
            None,
            SAMPLES,
            seed_for("samples", recipe.seed),
            sorted({k, recipe.generate_steps}),
            Silent(),
        )
        short = looks(frames[k], data, evaluator)["fd"]
        return {**found, **looks(frames[recipe.generate_steps], data, evaluator), "fd_short": short}


def _spent(recipe: EnergyRecipe) -> dict[str, float]:
    images = recipe.training.steps * recipe.training.batch
    return {
        "chain_steps": recipe.chain_steps,
        "learning_rate": recipe.training.learning_rate,
        "updates": recipe.training.steps,
        "evaluations": images * recipe.evaluations_per_example,
    }


def _diverged(learner: Learner, recipe: EnergyRecipe, data: Dataset, run: Run) -> bool:
    """Whether the guard gave the training up."""
    try:
        train(learner, batches(data.train, recipe, specify(data), "cpu"), run)
    except Diverged:
        return True
    return False


def looks(x: Tensor, data: Dataset, evaluator: Evaluator) -> dict[str, float]:
    """Frechet distance, coverage and the share of the rarest class, of pictures x [n, *shape] in
    [0, 1].
    """
    real = evaluator.features(data.test.scaled(slice(0, len(x))))
    features = evaluator.features(x)
    shares = classes.class_shares(evaluator.labels(x), len(data.classes))
    return {
        "fd": float(frechet.fd(real, features, evaluator.name)),
        "coverage": float(prdc.coverage(real, features)),
        "rarest": float(shares.min()),
    }


PAGE = """# What stabilises an energy-based model, setting by setting

One setting of the recipe `ebm` is changed at a time, on the 8x8 digits with {seeds} seeds each, at equal network evaluations
({evaluations:,} a run within 1 %; the recipe makes {updates} updates of 64 pictures with chains of K = 20 steps, a buffer of 2,048
chains of which 5 % start anew at each draw, the score clipped at .03, energies regularised by .1, a learning rate of {rate:g}).
{samples} fresh samples from noise are judged after 300 steps, and after the K of training, against {samples} test digits; real
training digits have FD {fd:.2f}, coverage {coverage:.2f}, rarest class {rarest:.1%}. Means over the seeds, +- their standard
deviation. A run that the guard gave up has no samples and counts as diverged.

{table}

[Stabilise an energy-based model](stabilise-an-ebm.md) says what each setting is for; `gradlogp/bench/ablation.py` holds them all.
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    real, runs = rows[0], rows[1:]
    names = list(dict.fromkeys(row["name"] for row in runs))
    heads = [
        "change",
        "updates",
        "FD after 300 steps",
        "FD after K steps",
        "coverage",
        "rarest class",
        "diverged",
        "roll-backs",
    ]
    cells = [_line([row for row in runs if row["name"] == name]) for name in names]
    first, seeds = runs[0], len({row["seed"] for row in runs})
    return PAGE.format(
        **real,
        seeds=seeds,
        evaluations=first["evaluations"],
        updates=first["updates"],
        rate=first["learning_rate"],
        samples=SAMPLES,
        table=table(heads, cells),
    )


def _line(runs: Sequence[dict[str, Any]]) -> list[str]:
    lost, back = (sum(row[key] for row in runs) for key in ("diverged", "rollbacks"))
    looks = [
        _mean(runs, "fd", ".2f"),
        _mean(runs, "fd_short", ".2f"),
        _mean(runs, "coverage", ".2f"),
        _mean(runs, "rarest", ".1%"),
    ]
    return [runs[0]["name"], f"{runs[0]['updates']:,}", *looks, f"{lost} of {len(runs)}", f"{back}"]


def _mean(runs: Sequence[dict[str, Any]], key: str, digits: str) -> str:
    found = [row[key] for row in runs if key in row]
    plus_minus = f" +- {statistics.stdev(found):{digits}}" if len(found) > 1 else ""
    return f"{statistics.mean(found):{digits}}{plus_minus}" if found else "none left"

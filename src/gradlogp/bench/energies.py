"""How an energy is trained, at equal seconds: the race of `bench race` among losses and starts.

Every variant is an energy of the same convolutions (that of `ebm`; told the noise level, where
its loss needs one), trained for the same seconds, and sampled by its own chains in about 60
evaluations. Learning rates are those of the recipes `ebm` and `ncsn`.

References: those of `gradlogp.objectives`.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gradlogp import data as shelf
from gradlogp.bench import race
from gradlogp.bench.ablation import Variant
from gradlogp.bench.page import one_thread, table
from gradlogp.bench.race import SAMPLES, SECONDS
from gradlogp.core.kernel import NotFinite
from gradlogp.data import Dataset
from gradlogp.harness import Evaluator, evaluator_of
from gradlogp.training import Diverged

LOST = (Diverged, NotFinite)  # given up by the guard, or no samples that are numbers
FROM_NOISE = "proposal.components=0"
DENOISING = ("sigma=0.4", "width=0.8", "base=5.0")
AT_LEVELS = ("net.kind=energy", "net.patch=4")

VARIANTS = (
    Variant("contrastive divergence"),
    Variant("contrastive divergence from noise", (FROM_NOISE,)),
    Variant(
        "denoising, then contrastive divergence",
        ("objective.warm_up=0.5", *(f"objective.start.{word}" for word in DENOISING)),
    ),
    Variant(
        "multi-scale denoising",
        (
            "objective.kind=denoising_score_matching",
            *(f"objective.{word}" for word in DENOISING),
            "training.beta1=0.9",
        ),
    ),
    Variant(
        "recovery likelihood",
        (
            *AT_LEVELS,
            "objective.kind=recovery_likelihood",
            "sampler.kind=recovery_langevin",
            "sampler.levels=8",
        ),
        "ncsn",
    ),
    Variant(
        "dual score matching",
        (*AT_LEVELS, "objective.kind=dual_score_matching", "sampler.levels=60"),
        "ncsn",
    ),
    Variant(
        "energy matching",
        (
            "objective.kind=energy_matching",
            FROM_NOISE,
            "chain.clamp=none",
            "chain.grad_clip=none",
            "chain.step_size=0.05",
            "training.beta1=0.9",
        ),
    ),
    Variant(
        "equilibrium matching",
        (
            "objective.kind=equilibrium_matching",
            FROM_NOISE,
            "chain.kind=descent",
            "chain.step_size=0.012",
            "chain.momentum=0.35",
            "training.beta1=0.9",
        ),
    ),
)


def rows(
    seeds: int = 1,
    seconds: float = SECONDS,
    dataset: str = "mnist",
    variants: Sequence[Variant] = VARIANTS,
) -> list[dict[str, Any]]:
    """For every variant, seed and snapshot what `race.rows` holds, the learning rate, and where
    its chains begin; one row with `diverged` for a run that was lost.
    """
    data = shelf.load(dataset)
    with one_thread(), TemporaryDirectory() as folder:
        evaluator = evaluator_of(data, Path(folder) / "evaluator")
        begun = {"begins": "mixture", "rate": None, "diverged": False}
        control = [row | begun for row in race.closed_form(seeds, data, evaluator)]
        return control + [
            row
            for i, variant in enumerate(variants)
            for row in _rows(variant, seeds, seconds, data, evaluator, Path(folder) / str(i))
        ]


def _rows(
    variant: Variant,
    seeds: int,
    seconds: float,
    data: Dataset,
    evaluator: Evaluator,
    folder: Path,
) -> list[dict[str, Any]]:
    """The runs of a variant."""
    pace = race.seconds_of(race.changed(variant, 0, data), data)
    found = []
    for seed in range(seeds):
        recipe = race.within(race.changed(variant, seed, data), seconds, pace)
        about = {"begins": begins(recipe), "rate": recipe.training.learning_rate}
        try:
            run = race.run_of(variant, recipe, data, evaluator, folder / f"seed-{seed}")
        except LOST:
            lost = {"method": variant.name, "seed": seed, "diverged": True}
            found.append(lost | about)
            continue
        found += [row | about | {"diverged": False} for row in run]
    return found


def begins(recipe: Any) -> str:
    """Where its samples begin."""
    return "mixture" if recipe.proposal.components else "noise"


PAGE = """# How an energy is trained, at equal seconds

Every variant is an energy of the convolutions of the recipe `ebm` (told the noise level, where its loss needs one), trains for
{seconds:.0f} seconds on one thread, and draws by its own chains. {samples} fresh samples of its averaged weights at each sixth of
the way are judged against {samples} test pictures by one evaluation classifier. Learning rates are those of the recipes `ebm` and
`ncsn`, and none was tuned. Chains, and samples, begin at draws
of a mixture that is fitted in closed form, or at noise: the mixture alone is the control of those that begin there. Means over
{seeds} seed(s), +- their standard deviation.

{curves}

Frechet distance after each sixth of the seconds; the mixture alone has the one point.

{ends}

![Frechet distance against seconds of training](images/energies.png)

`gradlogp/bench/energies.py` holds the settings of each; [the race](race.md) has the other generative methods.
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    of = {name: [row for row in rows if row["method"] == name] for name in names}
    sixths = [f"{i + 1}/{race.SNAPSHOTS}" for i in range(race.SNAPSHOTS)]
    ends = [
        "trained by",
        "learning rate",
        "best FD",
        "FD at the end",
        "precision",
        "coverage",
        "evaluations a sample",
        "diverged",
    ]
    return PAGE.format(
        seconds=max(row.get("seconds", 0) for row in rows),
        samples=SAMPLES,
        seeds=len({row["seed"] for row in rows}),
        curves=table(["trained by", "begins at", *sixths], [_curve(of[name]) for name in names]),
        ends=table(ends, [_end(of[name]) for name in names]),
    )


def _curve(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The mean of each snapshot over the seeds."""
    runs = _runs(rows)
    looks = [
        _mean([row["fd"] for row in look], plus_minus=False) for look in zip(*runs, strict=True)
    ]
    empty = [""] * (race.SNAPSHOTS - len(looks))
    return [rows[0]["method"], f"{rows[0]['begins']}", *looks, *empty]


def _end(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The best and the last snapshot of each run, means over the seeds."""
    runs = _runs(rows)
    rate = rows[0]["rate"]
    best = [min(row["fd"] for row in run) for run in runs]
    last = [run[-1] for run in runs]
    reached = [_mean([row[key] for row in last]) for key in ("fd", "precision", "coverage")]
    evaluations = str(last[0]["evaluations"]) if last else ""
    lost = sum(row["diverged"] for row in rows)
    seeds = len({row["seed"] for row in rows})
    told_rate = "none" if rate is None else f"{rate:g}"
    return [rows[0]["method"], told_rate, _mean(best), *reached, evaluations, f"{lost} of {seeds}"]


def _runs(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Those that did not diverge, of one method."""
    return next(iter(race.curves([row for row in rows if not row["diverged"]]).values()), [])


def _mean(found: Sequence[float], plus_minus: bool = True) -> str:
    if not found:
        return "none left"
    beside = f" +- {statistics.stdev(found):.2f}" if plus_minus and len(found) > 1 else ""
    return f"{statistics.mean(found):.2f}{beside}"


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Frechet distance against seconds, means over the seeds of each variant."""
    race.figure([row for row in rows if not row["diverged"]], path)

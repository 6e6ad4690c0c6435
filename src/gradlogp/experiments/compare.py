"""Compare: a method and its rivals, trained and measured in one run, under one protocol.

A comparison is a folder of run folders, one for each contender and seed; where samples are judged,
beside the judge and the two reference rows. What is finished is not trained again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener, Silent
from gradlogp.data import Dataset
from gradlogp.experiments import (
    anomaly,
    anomaly_energy,
    anomaly_score,
    chains,
    denoise,
    ebm_classify,
    ebm_generate,
    langevin_study,
    score_1d,
)
from gradlogp.experiments.base import Generative
from gradlogp.experiments.energy import ebm, ebm_class, ebm_long_chains, ebm_no_buffer
from gradlogp.experiments.evaluate import Rows, evaluate
from gradlogp.experiments.fit import fit, load
from gradlogp.experiments.judge import Judge, judge, judge_beside
from gradlogp.experiments.latent import gan, vae, wgan_gp
from gradlogp.experiments.reference import references
from gradlogp.experiments.score import ncsn, ncsn_class, ncsn_single
from gradlogp.experiments.settings import from_dict, override
from gradlogp.experiments.table import Table
from gradlogp.experiments.trial import Context, Trial
from gradlogp.experiments.workers import Part, side_by_side
from gradlogp.runs import Run, read_checked, write_json, write_results

Contender = Generative | Trial
Experiment = Callable[[str, str, int], Contender]  # (dataset, preset, seed) -> settings

EXPERIMENTS: dict[str, Experiment] = {
    "ebm": ebm,
    "ebm_no_buffer": ebm_no_buffer,
    "ebm_long_chains": ebm_long_chains,
    "ebm_class": ebm_class,
    "ncsn": ncsn,
    "ncsn_single": ncsn_single,
    "ncsn_class": ncsn_class,
    "vae": vae,
    "gan": gan,
    "wgan_gp": wgan_gp,
    **anomaly.BASELINES,
    **anomaly_energy.TRIALS,
    **anomaly_score.TRIALS,
    **score_1d.TRIALS,
    **denoise.TRIALS,
    **ebm_classify.TRIALS,
    **langevin_study.TRIALS,
}


@dataclass(frozen=True)
class Comparison:
    """The method first, then its rivals; `says` is the question that the comparison answers.

    `dataset` is the one taken where none is named; `judged` is whether samples are drawn and
    judged; `headline` are the metrics of the first table, which is sorted by the first of them, and
    `tables` are those below it; `summary` (folder, contender -> run folders) adds rows and figures
    once all are done, such as paired tests; `budget` (preset -> changes, as for --set) fits the
    contenders' settings to this comparison.
    """

    methods: tuple[str, ...]
    says: str
    dataset: str = "digits"
    judged: bool = True
    headline: tuple[str, ...] = ("fd", "precision", "recall", "coverage", "agreement")
    summary: Callable[[Path, Mapping[str, Sequence[Path]]], Rows] | None = field(
        default=None, compare=False
    )
    budget: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def changes(self, dataset: str, preset: str) -> tuple[str, ...]:
        """What the budget changes; the small digits need none."""
        return () if dataset == "digits" else self.budget.get(preset, ())

    tables: tuple[Table, ...] = ()


COMPARISONS = {
    "ebm": Comparison(
        ("ebm", "ebm_no_buffer"),
        "What does the replay buffer buy, at equal network evaluations?",
        summary=ebm_generate.summary,
        budget=ebm_generate.buffer_budget(112_000),
        tables=chains.TABLES,
    ),
    "ebm_chains": Comparison(
        ("ebm", "ebm_no_buffer", "ebm_long_chains"),
        "Is a buffer worth more than chains five times as long?",
        summary=ebm_generate.summary,
        budget=ebm_generate.buffer_budget(56_000),
        tables=chains.TABLES,
    ),
    "ncsn": Comparison(("ncsn", "ncsn_single"), "Why many noise levels?"),
    "ncsn_class": Comparison(
        ("ncsn_class", "ncsn"), "Does the network draw the class that was asked for?"
    ),
    "score_1d": Comparison(
        tuple(score_1d.TRIALS),
        "Which score matching finds the score, and how fast?",
        "laws",
        False,
        ("rmse gaussian", "rmse mixture", "slope_error gaussian", "relative mixture"),
        score_1d.summary,
        tables=score_1d.TABLES,
    ),
    "langevin_study": Comparison(
        tuple(langevin_study.TRIALS),
        "What do the ladder, the steps and the last denoising step buy?",
        headline=langevin_study.HEADLINE,
        summary=langevin_study.summary,
        tables=langevin_study.TABLES,
    ),
    "ebm_classify": Comparison(
        tuple(ebm_classify.TRIALS),
        "What makes an energy a good classifier, and does it know strangers?",
        "mnist",
        False,
        ebm_classify.HEADLINE,
        ebm_classify.summary,
        tables=ebm_classify.TABLES,
    ),
    "ebm_denoise": Comparison(
        denoise.EBM_DENOISE,
        "Can an energy restore what noise has hidden?",
        "mnist",
        False,
        denoise.HEADLINE,
        denoise.summary,
        tables=denoise.TABLES,
    ),
    "dsm": Comparison(
        denoise.DSM,
        "Is denoising score matching a denoising autoencoder, and what is one posterior sample"
        " worth?",
        "mnist",
        False,
        denoise.HEADLINE,
        denoise.summary,
        tables=denoise.TABLES,
    ),
    "ebm_generate": Comparison(
        ebm_generate.METHODS,
        "Who draws best: energies, a VAE, GANs?",
        "mnist",
        headline=ebm_generate.HEADLINE,
        summary=ebm_generate.summary,
        budget=ebm_generate.BUDGET,
        tables=chains.TABLES,
    ),
    "ebm_anomaly": Comparison(
        anomaly_energy.METHODS,
        "Does an energy know what it has never seen?",
        "mnist",
        False,
        anomaly.HEADLINE,
        anomaly.summary,
        tables=anomaly.TABLES,
    ),
    "score_anomaly": Comparison(
        anomaly_score.METHODS,
        "Does a score field know what it has never seen?",
        "mnist",
        False,
        anomaly.HEADLINE,
        anomaly.summary,
        tables=anomaly.TABLES,
    ),
    "demo": Comparison(
        ("ebm", "ebm_no_buffer", "ncsn", "ncsn_class"),
        "Energy-based and score-based models learn to draw digits, side by side.",
        tables=chains.TABLES,
    ),
}


def compare(
    name: str,
    data: Dataset,
    preset: str,
    out: Path,
    seeds: Sequence[int] = (0,),
    changes: Sequence[str] = (),
    listener: Listener | None = None,
    fallback: bool = False,
    workers: int = 1,
    root: Path | None = None,
) -> Rows:
    """Run the comparison `name` into the folder `out`, `workers` parts at a time; returns the rows
    of its results.json.

    `root` is the folder that holds further data sets. More than one worker means other processes: a
    script then needs the usual `if __name__ == "__main__"`.
    """
    listener, comparison = listener or Silent(), COMPARISONS[name]
    out.mkdir(parents=True, exist_ok=True)
    _note(out, name, data, preset, seeds, changes)
    parts = [(method, seed) for seed in seeds for method in comparison.methods]
    paths = {
        (method, seed): out / (method if len(seeds) == 1 else f"{method}-seed{seed}")
        for method, seed in parts
    }
    every = [*comparison.changes(data.name, preset), *changes]
    contenders = {
        (method, seed): override(
            EXPERIMENTS[method](data.name, preset, seed), applicable(every, method)
        )
        for method, seed in parts
    }
    context = Context(data, root, _judge(data, out, listener) if comparison.judged else None)
    work = [
        Part(path.name, _one, (contenders[key], context, path, fallback))
        for key, path in paths.items()
    ]
    side_by_side(work, workers, listener)
    rows = _references(context, contenders.values(), out)
    rows += [
        {"method": method, **r}
        for (method, _), path in paths.items()
        for r in Run.open(path).results()
    ]
    if comparison.summary is not None:
        runs = {
            m: [path for (method, _), path in paths.items() if method == m]
            for m in comparison.methods
        }
        rows += comparison.summary(out, runs)
    write_results(out, rows)
    return rows


def _judge(data: Dataset, out: Path, listener: Listener) -> Judge:
    listener.say(f"judge: a classifier that no model sees, trained on {data.name}")
    return judge(data, judge_beside(out / "part", data), listener)


def _references(context: Context, contenders: Iterable[Contender], out: Path) -> Rows:
    """Rows of real pictures and of a Gaussian, where samples are judged."""
    recipe = next((c for c in contenders if isinstance(c, Generative)), None)
    if context.judge is None or recipe is None:
        return []
    found = references(context.data, context.judge, recipe.evaluation, out / "samples")
    return [{"method": label, **r} for label, rows in found.items() for r in rows]


def _one(
    contender: Contender, context: Context, path: Path, fallback: bool, listener: Listener
) -> None:
    """Train and evaluate one contender, or whatever of that is left to do."""
    listener.say((EXPERIMENTS[contender.experiment].__doc__ or "").strip())
    if isinstance(contender, Trial):
        return contender.into(path, context, listener).close()
    run = fit(contender, context.data, path, listener, fallback=fallback)
    if run.status()["state"] != "evaluated":
        evaluate(load(path), context.data, context.judge, listener, context.root)
    run.close()


def contender_of(run: Run) -> Contender:
    """The settings that a run folder was made with. Raises UserError where this version does not
    know them.
    """
    settings = run.config.get("recipe", {})
    if settings.get("experiment") not in EXPERIMENTS:
        raise UserError(
            f"{run.path} holds no experiment that this version knows"
            f" ({settings.get('experiment')!r})."
        )
    kind = type(
        EXPERIMENTS[settings["experiment"]](
            settings["dataset"], settings["preset"], settings["seed"]
        )
    )
    return from_dict(kind, settings, "")


def applicable(changes: Sequence[str], method: str) -> list[str]:
    """The overrides of one method: "ncsn:training.batch=32" is for ncsn alone, without a name for
    all.
    """
    named = [c.partition(":") for c in changes]
    for head, colon, _ in named:
        if colon and "=" not in head and head not in EXPERIMENTS:
            raise UserError(
                f"--set names the experiment {head!r}, which does not exist; there are"
                f" {', '.join(EXPERIMENTS)}."
            )
    return [
        rest if colon and "=" not in head else head + colon + rest
        for head, colon, rest in named
        if not colon or "=" in head or head == method
    ]


def _note(
    out: Path, name: str, data: Dataset, preset: str, seeds: Sequence[int], changes: Sequence[str]
) -> None:
    """compare.json says what the folder compares; another comparison may not write into it."""
    note: dict[str, Any] = {
        "comparison": name,
        "question": COMPARISONS[name].says,
        "methods": list(COMPARISONS[name].methods),
        "dataset": data.name,
        "preset": preset,
        "seeds": list(seeds),
        "changes": list(changes),
    }
    words = {
        "headline": list(COMPARISONS[name].headline),
        "tables": [asdict(table) for table in COMPARISONS[name].tables],
        "about": {m: (EXPERIMENTS[m].__doc__ or "").strip() for m in COMPARISONS[name].methods},
    }
    path = out / "compare.json"
    strangers = [item.name for item in out.iterdir() if not item.name.startswith(".")]
    if strangers and not path.exists():
        raise UserError(
            f"{out} holds other things ({strangers[0]}) and is no comparison's folder; choose"
            " another --out."
        )
    old = {"changes": [], **read_checked(out, path.name)} if path.exists() else note
    if any(old.get(key) != said for key, said in note.items()):
        changed = " ".join(old["changes"]) or "nothing"
        raise UserError(
            f"{out} holds the comparison {old['comparison']} of {old['dataset']}, preset"
            f" {old['preset']}, seeds {old['seeds']}, {changed} changed; give another --out, or"
            " repeat that command to go on with it."
        )
    write_json(path, note | words)

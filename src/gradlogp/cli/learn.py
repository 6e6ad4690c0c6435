"""The verbs that train: train, compare, demo. Everything is checked first, in all recipes, then the
experiments do the work.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlogp import reports
from gradlogp.cli import show
from gradlogp.cli.arguments import Compare, Demo, Train
from gradlogp.cli.checks import (
    dataset_exists,
    device_exists,
    known,
    place,
    read,
    stopping,
    writable,
)
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.data import Dataset
from gradlogp.experiments import (
    COMPARISONS,
    EXPERIMENTS,
    Contender,
    Generative,
    Trial,
    applicable,
    compare as run_comparison,
    fit,
    leaves,
    override,
    to_dict,
)
from gradlogp.reports.read import page as read_page
from gradlogp.runs import Run, read_checked
from gradlogp.runs.files import plain, unplain

SAID = ("experiment", "dataset", "preset", "seed")  # settings that have words or flags of their own


def train(args: Train, terminal: Terminal) -> None:
    known(args.experiment, EXPERIMENTS, "experiment")
    dataset_exists(args.dataset)
    device_exists(args.device)
    recipe = changed(args.experiment, args, args.overrides)
    if isinstance(recipe, Trial):
        where = next((name for name, c in COMPARISONS.items() if args.experiment in c.methods), "")
        raise UserError(
            f"{args.experiment} is measured beside its rivals, not trained alone; run `gradlogp"
            f" compare {where}`."
        )
    if args.out:
        writable(args.out)
    if args.dry_run:
        return resolved({args.experiment: recipe}, terminal)
    data = read(args.dataset, args.data, terminal)
    out = place(args.out, args.experiment, lambda path: _began(path, recipe, data))
    terminal.say(
        f"{args.experiment} learns {data.name} ({len(data.train):,} pictures) in"
        f" {recipe.training.steps:,} steps: {out}"
    )
    with stopping(out):
        run = fit(recipe, data, out, terminal, args.device, args.last_whole)
    report, status = reports.write(out), run.status()
    terminal.say(
        f"trained in {status['seconds']:,.0f} s: {status['parameters']:,} parameters,"
        f" {status['images']:,} pictures, {status['evaluations']:,} network evaluations"
    )
    terminal.say(f"report: {report}")
    folder = ("--data", args.data) if args.data else ()
    terminal.say(
        f"next:   {command('sample', out, '--n', 100)}\n        {command('evaluate', out, *folder)}"
    )
    terminal.result({"run": out, "report": report, **status})


def _began(path: Path, recipe: Generative, data: Dataset) -> bool:
    """Whether `path` is an unfinished run of this recipe on these data."""
    try:
        run, settings = Run.open(path), unplain(plain(to_dict(recipe)))
        same = run.config.get("recipe") == settings and run.config.get("data", {}).get(
            "checksums"
        ) == dict(data.checksums)
        return same and run.status()["state"] == "training"
    except UserError:
        return False


def compare(args: Compare, terminal: Terminal) -> None:
    known(args.comparison, COMPARISONS, "comparison")
    comparison = COMPARISONS[args.comparison]
    args = args.model_copy(update={"dataset": args.dataset or comparison.dataset})
    dataset_exists(str(args.dataset))
    recipes = {method: _of(method, args) for method in comparison.methods}
    if args.out:
        writable(args.out)
    if args.dry_run:
        return resolved(recipes, terminal)
    data = read(str(args.dataset), args.data, terminal)
    seeds = range(args.seed, args.seed + args.seeds)
    note = {
        "comparison": args.comparison,
        "dataset": data.name,
        "preset": args.preset,
        "seeds": list(seeds),
        "changes": args.overrides,
    }
    out = place(args.out, f"compare-{args.comparison}", lambda path: _compares(path, note))
    terminal.say(f"{comparison.says} {', '.join(recipes)} learn {data.name}: {out}")
    with stopping(out):
        rows = run_comparison(
            args.comparison,
            data,
            args.preset,
            out,
            seeds,
            args.overrides,
            terminal,
            args.last_whole,
            workers(args),
            args.data,
        )
    report, page = reports.write(out), read_page(out)
    for table in (
        show.comparison(page, rows) if page.draws else show.ranking(page, comparison.headline)
    ):
        terminal.show(table)
    first = next((row for row in rows if row["metric"] == comparison.headline[0]), None)
    terminal.say(f"{first['metric']}: {first['protocol']}" if first else "")
    terminal.say(f"report: {report}\ntables: {report.with_name('results')}.csv, .md, .tex")
    training = {
        m.name: {key: m.fact(key) for key in ("seconds", "images", "evaluations", "parameters")}
        for m in page.methods
    }
    terminal.result({"comparison": out, "report": report, "rows": rows, "training": training})


def workers(args: Compare) -> int:
    """--workers, else a process for each core; one where there is a GPU to share."""
    import torch

    return args.workers or (1 if torch.cuda.is_available() else torch.get_num_threads())


def changed(experiment: str, args: Train | Compare, changes: Sequence[str]) -> Contender:
    """The experiment's settings with the changes of --set."""
    for key in (change.partition("=")[0] for change in changes):
        if key in SAID:
            raise UserError(f"{key} is said by the command itself, not by --set.")
    return override(
        EXPERIMENTS[experiment](args.dataset or "digits", args.preset, args.seed), changes
    )


def _of(method: str, args: Compare) -> Contender:
    try:
        budget = COMPARISONS[args.comparison].changes(args.dataset or "digits", args.preset)
        return changed(method, args, applicable([*budget, *args.overrides], method))
    except UserError as error:
        raise UserError(
            f"{method}: {error} (--set METHOD:section.key=value changes one method alone.)"
        ) from error


def _compares(path: Path, note: Mapping[str, Any]) -> bool:
    """Whether `path` is this comparison, begun and not finished."""
    if not (path / "compare.json").is_file() or (path / "results.json").exists():
        return False
    return note.items() <= read_checked(path, "compare.json").items()


DEMO = """\
Four models learn to draw handwritten digits, from 1,257 real pictures of 8x8 pixels:
  ebm            an energy, low where digits are; its chains go on from a buffer of earlier ones
  ebm_no_buffer  the same energy, but every chain begins at noise: what does the buffer buy?
  ncsn           a score, the direction to likelier pictures, learned at many noise levels at once
  ncsn_class     the same, told which digit to draw
A classifier that none of them sees judges what they draw. It takes minutes; Ctrl-C stops it, the same command goes on.
"""

READING = """
How to read the tables: FD is the distance of what was drawn from real pictures, as the classifier sees them. No model can do
better than the real training pictures, and one that does worse than a Gaussian of the pixels has learned next to nothing."""


def demo(args: Demo, terminal: Terminal) -> None:
    writable(args.out)
    terminal.say(DEMO)
    compare(
        Compare(
            comparison="demo", dataset="digits", out=args.out, seed=args.seed, as_json=args.as_json
        ),
        terminal,
    )
    terminal.say(READING)
    terminal.say(f"next:   {command('sample', args.out / 'ncsn_class', '--class', 3, '--n', 50)}")


def resolved(recipes: Mapping[str, Contender], terminal: Terminal) -> None:
    """What --dry-run prints: every setting that --set can change, and what they come to."""
    result = {}
    for method, recipe in recipes.items():
        settings, sums = leaves(recipe), {}
        if isinstance(recipe, Generative):
            images = recipe.training.steps * recipe.training.batch
            sums = {
                "steps": recipe.training.steps,
                "images": images,
                "evaluations": images * recipe.evaluations_per_example,
            }
        terminal.say(
            "\n".join(
                [
                    f"# {method}",
                    *(f"{key} = {value!r}" for key, value in settings.items()),
                    *(f"# {key}: {value:,}" for key, value in sums.items()),
                ]
            )
        )
        result[method] = {"settings": to_dict(settings), **sums}
    terminal.result(result)


def command(verb: str, *words: object) -> str:
    return shlex.join(["gradlogp", verb, *map(str, words)])

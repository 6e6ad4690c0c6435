"""The verbs that train: train, compare, demo. Everything is checked first, in all recipes, then the
experiments do the work.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlogp import reports
from gradlogp.bridges.track import following
from gradlogp.cli import show
from gradlogp.cli.arguments import Compare, Demo, Train
from gradlogp.cli.checks import (
    dataset_exists,
    device_exists,
    known,
    noted,
    place,
    stopping,
    writable,
)
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.data import Dataset
from gradlogp.experiments import COMPARISONS, RECIPES
from gradlogp.harness import (
    Entry,
    Generative,
    Target,
    described,
    fit,
    leaves,
    override,
    prepare,
    run_comparison,
    to_dict,
)
from gradlogp.harness.record import Rows
from gradlogp.reports.numbers import key_of
from gradlogp.reports.read import page as read_page
from gradlogp.runs import Run, read_checked
from gradlogp.runs.files import plain, unplain
from gradlogp.training import Diverged
from gradlogp.training.health import Useless, unhealthy

FLAGS = (
    "experiment",
    "dataset",
    "preset",
    "seed",
)  # settings that have words or flags of their own


def train(args: Train, terminal: Terminal) -> None:
    _is_recipe(args.experiment)
    dataset_exists(args.dataset)
    device_exists(args.device)
    _check_flags(args.overrides)
    if args.out:
        writable(args.out)
    data = noted(args.dataset, args.data, terminal)
    target = Target.of(data)
    recipe = override(RECIPES[args.experiment](target, args.preset, args.seed), args.overrides)
    if args.dry_run:
        return resolved({args.experiment: recipe}, target, terminal)
    out = place(args.out, args.experiment, lambda path: _began(path, recipe, data))
    terminal.say(
        f"{args.experiment} learns {data.name} ({len(data.train):,} {data.kind}s) in"
        f" {recipe.training.steps:,} steps: {out}"
    )
    with stopping(out), following(terminal, args.track, out) as listener:
        try:
            run = fit(recipe, data, out, listener, args.device, args.last_whole)
        except Diverged:
            reports.write(out)
            raise
    _trained(run, out, args, terminal)


def _is_recipe(name: str) -> None:
    """Raises UserError, with the nearest right name, where nothing of that name can be trained alone."""
    where = next((c for c, comparison in COMPARISONS.items() if name in comparison.methods), None)
    if name not in RECIPES and where is not None:
        raise UserError(
            f"{name} is measured beside its rivals, not trained alone; run `gradlogp compare"
            f" {where}`."
        )
    known(name, RECIPES, "experiment")


def _trained(run: Run, out: Path, args: Train, terminal: Terminal) -> None:
    report = reports.write(out)
    status = run.status()
    terminal.say(
        f"trained in {status['seconds']:,.0f} s: {status['parameters']:,} parameters,"
        f" {status['images']:,} examples, {status['evaluations']:,} network evaluations"
    )
    terminal.say(f"report: {report}")
    folder = ("--data", args.data) if args.data else ()
    terminal.say(
        f"next:   {command('sample', out, '--n', 100)}\n        {command('evaluate', out, *folder)}"
    )
    terminal.result({"run": out, "report": report, **status})
    if said := unhealthy(status):
        raise Useless(f"{said}. The run is kept: {out}.")


def _began(path: Path, recipe: Generative, data: Dataset) -> bool:
    """Whether `path` is an unfinished run of this recipe on these data."""
    try:
        run = Run.open(path)
        settings = unplain(plain(to_dict(recipe)))
        checksums = run.config.get("data", {}).get("checksums")
        same = run.config.get("recipe") == settings and checksums == dict(data.checksums)
        return same and run.status()["state"] == "training"
    except UserError:
        return False


def compare(args: Compare, terminal: Terminal) -> None:
    known(args.comparison, COMPARISONS, "comparison")
    comparison = COMPARISONS[args.comparison]
    dataset = args.dataset or comparison.dataset
    dataset_exists(dataset)
    _check_flags(args.overrides)
    if args.out:
        writable(args.out)
    data = noted(dataset, args.data, terminal)
    target = Target.of(data)
    seeds = range(args.seed, args.seed + args.seeds)

    def entries(out: Path) -> list[Entry]:
        return prepare(comparison, target, args.preset, out, seeds, args.overrides)

    planned = entries(Path())
    if args.dry_run:
        first = {e.method: e.settings for e in planned if e.seed == args.seed}
        return resolved(first, target, terminal)
    note = described(args.comparison, comparison, data, planned, args.overrides)
    out = place(args.out, f"compare-{args.comparison}", lambda path: _compares(path, note))
    terminal.say(f"{comparison.question} {', '.join(comparison.methods)} learn {data.name}: {out}")
    with stopping(out), following(terminal, args.track, out) as listener:
        rows = run_comparison(
            args.comparison,
            comparison,
            data,
            entries(out),
            out,
            args.overrides,
            listener,
            args.last_whole,
            workers(args),
            args.data,
        )
    _compared(out, rows, terminal)


def _compared(out: Path, rows: Rows, terminal: Terminal) -> None:
    report, page = reports.write(out), read_page(out)
    for table in show.comparison(page) if page.draws else show.ranking(page):
        terminal.show(table)
    key = page.headline[0] if page.headline else None
    first = next((row for row in rows if key_of(row) == key), None)
    terminal.say(f"{first['metric']}: {first['protocol']}" if first else "")
    terminal.say(f"report: {report}\ntables: {report.with_name('results')}.csv, .md, .tex")
    costs = ("seconds", "images", "evaluations", "parameters")
    training = {m.name: {key: m.fact(key) for key in costs} for m in page.methods}
    terminal.result({"comparison": out, "report": report, "rows": rows, "training": training})


def workers(args: Compare) -> int:
    """--workers, else a process for each core; one where there is a GPU to share."""
    import torch

    return args.workers or (1 if torch.cuda.is_available() else torch.get_num_threads())


def _check_flags(changes: Sequence[str]) -> None:
    for key in (change.partition("=")[0] for change in changes):
        if key in FLAGS:
            raise UserError(f"{key} is said by the command itself, not by --set.")


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


def resolved(methods: Mapping[str, Any], target: Target, terminal: Terminal) -> None:
    """What --dry-run prints: every setting that --set can change, and what they come to."""
    result = {}
    for method, settings in methods.items():
        values, sums = leaves(settings), {}
        if isinstance(settings, Generative):
            images = settings.training.steps * min(settings.training.batch, target.examples)
            sums = {
                "steps": settings.training.steps,
                "images": images,
                "evaluations": images * settings.evaluations_per_example,
            }
        lines = [f"# {method}", *(f"{key} = {value!r}" for key, value in values.items())]
        terminal.say("\n".join([*lines, *(f"# {key}: {value:,}" for key, value in sums.items())]))
        result[method] = {"settings": to_dict(values), **sums}
    terminal.result(result)


def command(verb: str, *words: object) -> str:
    return shlex.join(["gradlogp", verb, *map(str, words)])

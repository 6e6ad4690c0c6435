"""The verbs that use what there is: sample, likelihood, evaluate, report, data."""

import math
import re
import time
from pathlib import Path

from gradlogp import data, reports
from gradlogp.cli import show
from gradlogp.cli.arguments import Data, Evaluate, Report
from gradlogp.cli.checks import data_of, dataset_exists, writable
from gradlogp.cli.terminal import Download, Terminal
from gradlogp.cli.using import Likelihood, Sample
from gradlogp.core.errors import UserError
from gradlogp.core.words import counted
from gradlogp.data import DATASETS
from gradlogp.data.files import require_memory
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness import Fitted, evaluate as evaluate_run, evaluator_beside, evaluator_of, load
from gradlogp.harness.evaluate import measure_samples
from gradlogp.harness.evaluator import doubts
from gradlogp.harness.likelihood import likelihood as measure_likelihood
from gradlogp.harness.record import row
from gradlogp.harness.shards import gathered

COPIES = 3  # of the samples, until they are written


def sample(args: Sample, terminal: Terminal) -> None:
    settings = [change for group in args.changes for change in group]
    fitted = load(args.run).following(args.sampler, args.steps, settings)
    kind = fitted.spec.coordinates
    start, n = part(args)
    shard = f"-{args.shard.replace('/', 'of')}" if args.shard else ""
    out = (
        args.out
        or fitted.run.path / "samples" / f"samples-seed{args.seed}{shard}{kind.suffixes[0]}"
    )
    each = bool(kind.single) and (out.is_dir() or not out.suffix)
    writable(out, *(() if each else kind.suffixes))
    if each and (out / "config.json").exists():
        raise UserError(f"--out {out}: that is a run folder; choose another, as {out / 'samples'}.")
    require_memory(
        COPIES * 4 * n * math.prod(fitted.spec.shape),
        f"{n:,} samples",
        "draw fewer at a time, with --first or --shard",
    )
    began = time.perf_counter()
    x, labels = fitted.draw(
        n, args.seed, args.cls, batch=args.batch, listener=terminal, start=start
    )
    seconds = time.perf_counter() - began
    steps = fitted.sampling().steps
    if each:
        kind.write_each(out, x, labels, start)
    else:
        kind.write(out, x, labels)
    terminal.say(
        f"{counted(n, 'sample')} of {fitted.recipe.experiment}, {steps} steps each, in {seconds:.1f} s:"
        f" {out}"
    )
    if each and (others := len(list(out.iterdir())) - n):
        terminal.say(f"beside {counted(others, 'other file')} that {out} holds")
    if n > 1 and kind.single and not each and out.suffix == ".png":
        terminal.say(f"a sheet with all of them; --out FOLDER writes a {kind.single} for each")
    terminal.result(
        {"out": out, "n": n, "first": start, "seed": args.seed}
        | {"steps": steps, "seconds": seconds}
    )


def part(args: Sample) -> tuple[int, int]:
    """The number of the first sample, and how many: all, or the shard that was asked for."""
    if args.shard is None:
        return args.first, args.n
    found = re.fullmatch(r"(\d+)/(\d+)", args.shard)
    which, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= which <= of:
        raise UserError(f"--shard expects I/M with 1 <= I <= M, as in 3/8, got {args.shard!r}.")
    count = -(-args.n // args.batch)
    if of > count:
        raise UserError(
            f"--shard {args.shard}: {args.n:,} samples are {count:,} batches of {args.batch:,}, fewer"
            " than shards; take a smaller --batch."
        )
    begin, end = (min(args.n, args.batch * (count * i // of)) for i in (which - 1, which))
    return args.first + begin, end - begin


def likelihood(args: Likelihood, terminal: Terminal) -> None:
    fitted = trained(args.run, "likelihood")
    probes = args.probes if args.divergence == "hutchinson" else None
    fitted.recipe.coarsest_level()  # a generator is refused before any data are read
    dataset = data_of(fitted.run, args.data, terminal)
    rows = measure_likelihood(
        fitted, dataset, args.n, probes, args.levels, seed=args.seed, listener=terminal
    )
    path = reports.write(fitted.run.path)
    terminal.show(show.measures(rows))
    terminal.say(
        "\n".join([*(f"{row['metric']}: {row['protocol']}" for row in rows), f"report: {path}"])
    )
    terminal.result({"run": args.run, "report": path, "rows": rows})


def trained(path: Path, verb: str) -> Fitted:
    """The run at `path`; UserError where its training has not come to its end."""
    fitted = load(path)
    if fitted.run.status()["state"] == "training":
        raise UserError(
            f"{path} is not trained to its end; the command that began it goes on, then {verb}."
        )
    return fitted


def evaluate(args: Evaluate, terminal: Terminal) -> None:
    fitted = trained(args.run, "evaluate")
    files = args.samples or ()
    drawn = gathered(files, fitted.spec) if files else None
    dataset = data_of(fitted.run, args.data, terminal)
    evaluator = evaluator_of(dataset, evaluator_beside(fitted.run.path, dataset), terminal)
    if drawn is None:
        rows = evaluate_run(fitted, dataset, evaluator, terminal)
        path = reports.write(fitted.run.path)
        end = f"report: {path}"
    else:
        x, asked = drawn
        rows = [row(measure) for measure in measure_samples(x, dataset, evaluator, asked)]
        path = None
        end = f"of {counted(len(x), 'sample')} in {counted(len(files), 'file')}"
    terminal.show(show.measures(rows))
    for doubt in doubts(evaluator, dataset):
        terminal.say(doubt)
    terminal.say(f"features and labels by {evaluator.name}\n{end}")
    terminal.result({"run": args.run, "report": path, "rows": rows})


def report(args: Report, terminal: Terminal) -> None:
    path = reports.write(args.folder)
    terminal.say(f"report: {path}")
    results = reports.write_results(args.folder, args.results) if args.results else None
    if results:
        terminal.say(f"results: {results}")
    terminal.result({"report": path, "results": results})


def fetch(args: Data, terminal: Terminal) -> None:
    dataset_exists(args.name)
    progress = Download(terminal)
    try:
        dataset = data.load(args.name, args.data, progress)
    except UserError:
        if not hasattr(DATASETS.get(args.name), "download"):
            raise
        data.download(args.name, args.data, progress)
        dataset = data.load(args.name, args.data)
    terminal.end()
    for note in dataset.notes:
        terminal.say(note)
    counts = {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")}
    shape = "x".join(map(str, dataset.shape))
    terminal.say(
        f"{args.name} {'is downloaded' if progress.file else 'is there'}: examples of {shape}, "
        f"{', '.join(f'{n:,} {name}' for name, n in counts.items())}"
    )
    terminal.say(f"classes: {', '.join(dataset.classes) or 'none'}")
    for file, checksum in dataset.checksums.items():
        terminal.say(f"sha256 {checksum}  {file}")
    terminal.result(
        {
            "name": args.name,
            "shape": dataset.shape,
            "counts": counts,
            "classes": dataset.classes,
            "checksums": dataset.checksums,
            "downloaded": bool(progress.file),
        }
    )

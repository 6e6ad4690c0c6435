"""The verbs that train: train, compare. Everything is checked first, in all recipes, then the
experiments do the work.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlogp import reports
from gradlogp.bridges.track import following
from gradlogp.cli import show
from gradlogp.cli.arguments import VERBS, Compare, Train
from gradlogp.cli.checks import (
    dataset_exists,
    device_exists,
    known,
    noted,
    place,
    stopping,
    writable,
)
from gradlogp.cli.shared import Changing
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener
from gradlogp.core.words import counted
from gradlogp.data import Dataset, load as load_data
from gradlogp.experiments import COMPARISONS, RECIPES
from gradlogp.harness import (
    ENGINES,
    Entry,
    Generative,
    Recipe,
    Target,
    build,
    described,
    done,
    finish,
    fit,
    follow,
    leaves,
    named,
    override,
    part,
    prepare,
    ready,
    require_done,
    run_comparison,
    specify,
    to_dict,
)
from gradlogp.harness.compare import Comparison, check_place as check_comparison, goes_on
from gradlogp.harness.estimate import Estimate, estimated, require_room
from gradlogp.harness.place import check_place
from gradlogp.harness.provenance import default_device
from gradlogp.harness.record import Rows
from gradlogp.reports.numbers import key_of
from gradlogp.reports.read import page as read_page
from gradlogp.runs import Run, read_checked
from gradlogp.runs.files import plain, unplain
from gradlogp.training import Diverged, Processes
from gradlogp.training.health import Useless, unhealthy
from gradlogp.training.processes import Parted, backend, check, joined, launch, own_device

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
    device = own_device(args.device or default_device())
    with joined(device, args.shard) as processes:
        _check_processes(args, device, processes)
        data = _shared(args, processes, terminal)
        target = Target.of(data)
        recipe = override(RECIPES[args.experiment](target, args.preset, args.seed), args.overrides)
        require_room(recipe, data)
        if args.dry_run:
            return resolved({args.experiment: recipe}, data, terminal, args.device)
        if (args.processes or 1) > 1 and processes.alone:
            check_split(recipe, data, Processes(0, args.processes or 1, args.shard))
            return launch(again(args), args.processes or 1, args.max_restarts)
        if processes.main:
            return _train(args, recipe, data, device, processes, terminal)
        _follow(recipe, data, processes, device)


def _check_processes(args: Train, device: str, processes: Processes) -> None:
    """Raises UserError for processes that this machine cannot begin."""
    if not processes.alone:
        return
    world = args.processes or 1
    if world > 1:
        backend(device)
        last = {"RANK": f"{world - 1}", "WORLD_SIZE": f"{world}", "LOCAL_RANK": f"{world - 1}"}
        own_device(device, last)
    elif args.shard:
        raise UserError(
            "--shard cuts the weights over processes; give --processes 2 or more, or begin them by"
            " torchrun or srun."
        )


def _train(
    args: Train,
    recipe: Generative,
    data: Dataset,
    device: str,
    processes: Processes,
    terminal: Terminal,
) -> None:
    out = place(args.out, args.experiment, lambda path: _began(path, recipe, data))
    check_place(recipe, data, out)
    terminal.say(
        f"{args.experiment} learns {data.name} ({len(data.train):,} {data.kind}s) in"
        f" {recipe.training.steps:,} steps: {out}"
    )
    if said := cut_short(recipe, data):
        terminal.say(said)
    with stopping(out), following(terminal, args.track, out) as listener:
        try:
            run = fit(recipe, data, out, listener, device, args.last_whole, processes)
        except Diverged:
            reports.write(out)
            raise
    _trained(run, out, args, terminal)


def _shared(args: Train, processes: Processes, terminal: Terminal) -> Dataset:
    """The data set; rank 0 reads it first, and downloads what is missing, and it alone speaks."""
    if processes.main:
        found = noted(args.dataset, args.data, terminal)
        processes.agree(0)
        return found
    processes.agree(0)
    return load_data(args.dataset, args.data)


def _follow(recipe: Generative, data: Dataset, processes: Processes, device: str) -> None:
    """Train beside rank 0, which says for all how it ends."""
    try:
        follow(recipe, data, processes, device)
    except (Diverged, Parted) as error:
        raise SystemExit(error.code) from error


def check_split(recipe: Generative, data: Dataset, processes: Processes) -> None:
    """Raises UserError where `processes` would not learn what one learns: said once, before they
    are begun.
    """
    learner = build(recipe, specify(data), "cpu")
    batch = min(recipe.training.batch, len(data.train))
    check(learner.objective, learner.model, batch, processes)


def again(args: Changing) -> list[str]:
    """The words that ask for `args`, without the program's name."""
    verb = next(verb for verb, (takes, _) in VERBS.items() if takes is type(args))
    words, changes = ["gradlogp", verb], []
    for name, field in type(args).model_fields.items():
        value = getattr(args, name)
        flag = f"--{name.removeprefix('as_').replace('_', '-')}"
        if field.is_required():
            words.append(str(value))
        elif name == "changes":
            changes = [flag.replace("changes", "set"), *args.overrides] if value else []
        elif value != field.default:
            words.append(flag if value is True else f"{flag}={value}")
    return [*words, *changes]


def _is_recipe(name: str) -> None:
    """Raises UserError, with the nearest right name, where nothing of that name can be trained
    alone.
    """
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
    _check_parts(args)
    if args.out:
        writable(args.out)
    data = noted(dataset, args.data, terminal)
    target = Target.of(data)
    seeds = range(args.seed, args.seed + args.seeds)

    def entries(out: Path) -> list[Entry]:
        return prepare(comparison, target, args.preset, out, seeds, args.overrides)

    planned = entries(Path())
    for entry in planned:
        if isinstance(entry.settings, Recipe):
            require_room(entry.settings, data)
    if args.dry_run:
        first = {e.method: e.settings for e in planned if e.seed == args.seed}
        return resolved(first, data, terminal, seeds=args.seeds)
    note = described(args.comparison, comparison, data, planned, args.overrides)
    out = place(args.out, f"compare-{args.comparison}", lambda path: _compares(path, note))
    check_comparison(out, note)
    terminal.say(f"{comparison.question} {', '.join(comparison.methods)} learn {data.name}: {out}")
    with stopping(out), following(terminal, args.track, out) as listener:
        if args.engine == "local" and not (args.parts or args.part or args.gather):
            shared = (
                args.comparison,
                comparison,
                data,
                entries(out),
                out,
                args.overrides,
                listener,
            )
            rows = run_comparison(*shared, args.last_whole, workers(args), args.data)
            return _compared(out, rows, terminal)
        _in_parts(args, comparison, data, entries(out), out, listener, terminal)


def _in_parts(
    args: Compare,
    comparison: Comparison,
    data: Dataset,
    planned: Sequence[Entry],
    out: Path,
    listener: Listener,
    terminal: Terminal,
) -> None:
    """List the parts, do one of them, have an engine do all, or gather what is done."""
    entry = named(args.part, planned) if args.part else None
    if args.gather:
        require_done(planned, out)
    context = ready(
        args.comparison, comparison, data, planned, out, args.overrides, listener, args.data
    )
    commands = {e.part: part_command(args, out, e) for e in planned}
    if args.parts:
        return _listed(commands, terminal)
    if entry:
        part(entry, comparison.about()[entry.method], context, args.last_whole, listener)
        return terminal.result({"part": entry.part, "run": entry.path})
    if not args.gather:
        left = {e.part: here(commands[e.part]) for e in planned if not done(e)}
        ENGINES[args.engine](left, out / ".engine", listener)
    _compared(out, finish(comparison, context, planned, out), terminal)


def _check_parts(args: Compare) -> None:
    """Raises UserError for flags that do not go together."""
    asked = [name for name in ("parts", "part", "gather") if getattr(args, name)]
    if len(asked) > 1 or (asked and args.engine != "local"):
        raise UserError(
            "expected one of --parts, --part, --gather and --engine: each is a way of its own to do"
            f" the parts; got --{' and --'.join([*asked, 'engine'][:2])}."
        )
    if asked and asked != ["parts"] and args.out is None:
        raise UserError(f"--{asked[0]} needs the comparison's folder: give --out.")


def part_command(args: Compare, out: Path, entry: Entry) -> list[str]:
    """The words that do one part of the comparison that `args` asks for, on any machine."""
    plain = {"parts": False, "engine": "local", "as_json": False}
    return again(args.model_copy(update={"out": out, "part": entry.part, **plain}))


def here(command: Sequence[str]) -> list[str]:
    """The same command by this interpreter, wherever the scripts' folder is."""
    return [sys.executable, "-m", *command]


def _listed(commands: Mapping[str, Sequence[str]], terminal: Terminal) -> None:
    lines = {name: shlex.join(command) for name, command in commands.items()}
    terminal.result({"parts": lines})
    if not terminal.as_json:
        print("\n".join(lines.values()))


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
    return goes_on(read_checked(path, "compare.json"), note)


def resolved(
    methods: Mapping[str, Any],
    data: Dataset,
    terminal: Terminal,
    device: str | None = None,
    seeds: int | None = None,
) -> None:
    """What --dry-run prints: every setting that --set can change, and what they come to: seconds by
    a few steps on the data. `seeds` are those of a comparison, which evaluates as well.
    """
    result: dict[str, Any] = {}
    times = []
    for method, settings in methods.items():
        unused, sums = getattr(settings, "unused", ()), {}
        values = {key: value for key, value in leaves(settings).items() if key not in unused}
        if isinstance(settings, Generative):
            found = estimated(settings, data, device or default_device())
            times.append(found)
            sums = _comes_to(settings, data, found)
        lines = [f"# {method}", *(f"{key} = {value!r}" for key, value in values.items())]
        lines += [f"# {key}: {value:,}" for key, value in sums.items()]
        terminal.say("\n".join(lines))
        if isinstance(settings, Generative) and (said := cut_short(settings, data)):
            terminal.say(f"# {said}")
        result[method] = {"settings": to_dict(values), **sums}
    if times and seeds:
        each = sum(t.training + t.looking + t.evaluation for t in times)
        terminal.say(
            f"# in all, {counted(seeds, 'seed')} of {counted(len(times), 'method')} that"
            f" {'learns' if len(times) == 1 else 'learn'} in steps, and drawing what is measured:"
            f" {times[0].before + seeds * each:,.0f} seconds"
        )
    terminal.result(result)


def _comes_to(recipe: Generative, data: Dataset, found: Estimate) -> dict[str, int]:
    images = recipe.training.steps * min(recipe.training.batch, len(data.train))
    return {
        "steps": recipe.training.steps,
        "images": images,
        "evaluations": images * recipe.evaluations_per_example,
        "parameters": found.parameters,
        "seconds": round(found.before + found.training + found.looking),
        "seconds of training": round(found.training),
        "seconds to draw for an evaluation": round(found.evaluation),
        "megabytes": round(found.megabytes),
    }


def cut_short(recipe: Generative, data: Dataset) -> str:
    """That a batch takes fewer examples than it was set to, so that fewer are seen; or nothing."""
    batch, there, steps = recipe.training.batch, len(data.train), recipe.training.steps
    if batch <= there:
        return ""
    return (
        f"training.batch={batch:,} is cut to the {there:,} {data.kind}s that there are: {steps:,}"
        f" steps see {steps * there:,}, not {recipe.training.images:,}; set a smaller batch."
    )


def command(verb: str, *words: object) -> str:
    return shlex.join(["gradlogp", verb, *map(str, words)])

"""Compare: a method and its rivals, trained and measured in one run, under one protocol.

A comparison is a folder of run folders, one for each method and seed; where samples are drawn,
beside the evaluation classifier and the two reference rows. What is finished is not trained again.

    ready   the note of what is compared, and the evaluation classifier: what all parts share
    part    one method with one seed, trained and measured: in this process or any other
    finish  the rows of all parts, in results.json

`run_comparison` does the three in turn; a scheduler may do the parts in between, each by a command.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener, Silent
from gradlogp.data import Dataset
from gradlogp.harness.evaluate import evaluate
from gradlogp.harness.evaluator import doubts, evaluator_beside, evaluator_of
from gradlogp.harness.fit import fit, load
from gradlogp.harness.launch import Part, side_by_side
from gradlogp.harness.recipe import Generative, Target
from gradlogp.harness.record import Rows
from gradlogp.harness.reference import references
from gradlogp.harness.settings import override
from gradlogp.harness.table import Column, Table
from gradlogp.harness.trial import Context, Trial
from gradlogp.runs import Run, read_checked, write_json, write_results

Method = Generative | Trial
Maker = Callable[[Target, str, int], Any]  # (data, preset, seed) -> the settings of a method
Runs = Mapping[str, Sequence[Path]]  # method -> its run folders, one for each seed


@dataclass(frozen=True)
class Comparison:
    """A question, and the methods that answer it, the first being ours.

    methods: name -> maker, whose docstring says what it is. dataset: the one taken where none is
    named. draws_samples: whether the methods draw samples, which an evaluation classifier measures.
    headline: the columns of the first table, which is sorted by the first of them; `tables` are
    those below it. summary (folder, runs): adds rows and figures once all are done, such as paired
    tests. presets: preset -> changes, as for --set, that fit the methods to this question on
    anything but small pictures; small: on those.
    """

    question: str
    methods: Mapping[str, Maker]
    dataset: str = "digits"
    draws_samples: bool = True
    headline: tuple[Column, ...] = tuple(
        map(Column, ("fd", "precision", "recall", "coverage", "agreement"))
    )
    tables: tuple[Table, ...] = ()
    summary: Callable[[Path, Runs], Rows] | None = field(default=None, compare=False)
    presets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    small: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def changes(self, target: Target, preset: str) -> tuple[str, ...]:
        return (self.small if target.small else self.presets).get(preset, ())

    def about(self) -> dict[str, str]:
        """What each method is, in a sentence."""
        return {name: " ".join((make.__doc__ or "").split()) for name, make in self.methods.items()}


@dataclass(frozen=True)
class Entry:
    """One method of a comparison with one seed: its settings, and the run folder that it fills."""

    method: str
    seed: int
    settings: Method
    path: Path

    @property
    def part(self) -> str:
        return f"{self.method}-seed{self.seed}"


def prepare(
    comparison: Comparison,
    target: Target,
    preset: str,
    out: Path,
    seeds: Sequence[int] = (0,),
    changes: Sequence[str] = (),
) -> list[Entry]:
    """Every run of the comparison, its settings resolved. Raises UserError for a change that a
    method does not take; nothing is written.
    """
    every = [*comparison.changes(target, preset), *changes]
    return [
        Entry(
            method,
            seed,
            resolve(comparison, method, target, preset, seed, every),
            _folder(out, method, seed, seeds),
        )
        for seed in seeds
        for method in comparison.methods
    ]


def _folder(out: Path, method: str, seed: int, seeds: Sequence[int]) -> Path:
    """METHOD for one seed, and for the first of several that have joined it; else METHOD-seedN."""
    alone, among = out / method, out / f"{method}-seed{seed}"
    joined = seed == seeds[0] and not among.exists() and (alone / "config.json").is_file()
    return alone if len(seeds) == 1 or joined else among


def resolve(
    comparison: Comparison,
    method: str,
    target: Target,
    preset: str,
    seed: int,
    changes: Sequence[str],
) -> Method:
    made = comparison.methods[method](target, preset, seed)
    mine = applicable(changes, method, comparison.methods)
    try:
        return override(replace(made, experiment=method), mine)
    except UserError as error:
        hint = "(--set METHOD:section.key=value changes one method alone.)"
        raise UserError(f"{method}: {error} {hint}") from error


def run_comparison(
    name: str,
    comparison: Comparison,
    data: Dataset,
    entries: Sequence[Entry],
    out: Path,
    changes: Sequence[str] = (),
    listener: Listener | None = None,
    fallback: bool = False,
    workers: int = 1,
    root: Path | None = None,
) -> Rows:
    """Do all entries, `workers` at a time; returns the rows of the results.json in `out`.

    `root` is the folder that holds further data sets. More than one worker means other processes: a
    script then needs the usual `if __name__ == "__main__"`.
    """
    listener = listener or Silent()
    context = ready(name, comparison, data, entries, out, changes, listener, root)
    about = comparison.about()
    parts = [Part(e.path.name, part, (e, about[e.method], context, fallback)) for e in entries]
    side_by_side(parts, workers, listener)
    return finish(comparison, context, entries, out)


def ready(
    name: str,
    comparison: Comparison,
    data: Dataset,
    entries: Sequence[Entry],
    out: Path,
    changes: Sequence[str] = (),
    listener: Listener | None = None,
    root: Path | None = None,
) -> Context:
    """What all parts share: the note in `out`, and the evaluation classifier, trained where it is
    not.

    Raises UserError where `out` holds another comparison.
    """
    out.mkdir(parents=True, exist_ok=True)
    _note(out, name, comparison, data, entries, changes)
    evaluator = _evaluator(data, out, listener or Silent()) if comparison.draws_samples else None
    return Context(data, root, evaluator)


def finish(comparison: Comparison, context: Context, entries: Sequence[Entry], out: Path) -> Rows:
    """Write results.json of the parts in `out`; returns its rows. Raises UserError, and writes
    nothing, where a part is not done.
    """
    require_done(entries, out)
    rows = gather(comparison, context, entries, out)
    write_results(out, rows)
    return rows


def done(entry: Entry) -> bool:
    """Whether the run folder of the part is trained and measured."""
    if not (entry.path / "config.json").is_file():
        return False
    return Run.open(entry.path).status()["state"] == "evaluated"


def require_done(entries: Sequence[Entry], out: Path) -> None:
    """Raises UserError, with the names of those that are missing, unless every part is done."""
    if missing := [entry.part for entry in entries if not done(entry)]:
        raise UserError(
            f"{out} lacks {len(missing)} of {len(entries)} parts: {', '.join(missing)}; the command"
            " of each, from --parts, does it or goes on with it."
        )


def named(part: str, entries: Sequence[Entry]) -> Entry:
    """The part METHOD-seedN. Raises UserError, with the names there are, for another."""
    found = {entry.part: entry for entry in entries}
    if part not in found:
        raise UserError(f"there is no part {part!r}; there are {', '.join(found)}.")
    return found[part]


def gather(comparison: Comparison, context: Context, entries: Sequence[Entry], out: Path) -> Rows:
    """The rows of the references, of every run, and of what the comparison says of all together."""
    rows = _references(context, (entry.settings for entry in entries), out)
    for entry in entries:
        rows += [{"method": entry.method, **r} for r in Run.open(entry.path).results()]
    if comparison.summary is not None:
        runs: dict[str, list[Path]] = {method: [] for method in comparison.methods}
        for entry in entries:
            runs[entry.method].append(entry.path)
        rows += comparison.summary(out, runs)
    return rows


def _evaluator(data: Dataset, out: Path, listener: Listener) -> Any:
    listener.say(f"evaluation classifier: no model sees it; trained on {data.name}")
    evaluator = evaluator_of(data, evaluator_beside(out / "part", data), listener)
    for doubt in doubts(evaluator, data):
        listener.say(doubt)
    return evaluator


def _references(context: Context, methods: Iterable[Method], out: Path) -> Rows:
    """Rows of real examples and of a Gaussian, where samples are drawn."""
    recipe = next((m for m in methods if isinstance(m, Generative)), None)
    if context.evaluator is None or recipe is None:
        return []
    found = references(context.data, context.evaluator, recipe.evaluation, out / "samples")
    return [{"method": label, **r} for label, rows in found.items() for r in rows]


def part(entry: Entry, about: str, context: Context, fallback: bool, listener: Listener) -> None:
    """Train and evaluate one entry, or whatever of that is left to do."""
    listener.say(about)
    settings, path = entry.settings, entry.path
    if isinstance(settings, Trial):
        return settings.into(path, context, listener).close()
    run = fit(settings, context.data, path, listener, fallback=fallback)
    if run.status()["state"] != "evaluated":
        assert context.evaluator is not None, "recipes draw samples"
        evaluate(load(path), context.data, context.evaluator, listener, context.root)
    run.close()


def applicable(changes: Sequence[str], method: str, methods: Iterable[str]) -> list[str]:
    """The overrides of one method: "ncsn:training.batch=32" is for ncsn alone, without a name for
    all.
    """
    found = []
    for change in changes:
        head, colon, rest = change.partition(":")
        if not colon or "=" in head:
            found.append(change)
        elif head == method:
            found.append(rest)
        elif head not in set(methods):
            raise UserError(
                f"--set names the method {head!r}, which this comparison does not have; there are"
                f" {', '.join(methods)}."
            )
    return found


def described(
    name: str,
    comparison: Comparison,
    data: Dataset,
    entries: Sequence[Entry],
    changes: Sequence[str],
) -> dict[str, Any]:
    """What decides a comparison's numbers: the same command goes on with it (`goes_on`)."""
    return {
        "comparison": name,
        "question": comparison.question,
        "methods": list(comparison.methods),
        "dataset": data.name,
        "preset": entries[0].settings.preset,
        "seeds": list(dict.fromkeys(entry.seed for entry in entries)),
        "changes": list(changes),
    }


def goes_on(old: Mapping[str, Any], note: Mapping[str, Any]) -> bool:
    """Whether `note` is the comparison `old`, or that with further seeds after its own."""
    before, now = old.get("seeds"), note["seeds"]
    same = all(old.get(key) == said for key, said in note.items() if key != "seeds")
    return same and isinstance(before, list) and now[: len(before)] == before


def _note(
    out: Path,
    name: str,
    comparison: Comparison,
    data: Dataset,
    entries: Sequence[Entry],
    changes: Sequence[str],
) -> None:
    """compare.json says what the folder compares; another comparison may not write into it."""
    note = described(name, comparison, data, entries, changes)
    words = {
        "headline": [asdict(column) for column in comparison.headline],
        "tables": [asdict(table) for table in comparison.tables],
        "about": comparison.about(),
    }
    check_place(out, note)
    write_json(out / "compare.json", note | words)


def check_place(out: Path, note: Mapping[str, Any]) -> None:
    """Raises UserError where the folder `out` holds other things than the comparison `note`."""
    path = out / "compare.json"
    names = (item.name for item in out.iterdir()) if out.is_dir() else ()
    unexpected = [name for name in names if not name.startswith(".") and name != "samples"]
    if unexpected and not path.exists():
        raise UserError(
            f"{out} holds other things ({unexpected[0]}) and is no comparison's folder; choose"
            " another --out."
        )
    old = {"changes": [], **read_checked(out, path.name)} if path.exists() else note
    if not goes_on(old, note):
        changed = " ".join(old["changes"]) or "nothing"
        raise UserError(
            f"{out} holds the comparison {old['comparison']} of {old['dataset']}, preset"
            f" {old['preset']}, seeds {old['seeds']}, {changed} changed; give another --out, or"
            " repeat that command, with these or more --seeds, to go on with it."
        )

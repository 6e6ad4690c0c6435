"""The verb that measures: bench."""

import datetime
import inspect
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gradlogp.bench import BENCHES
from gradlogp.bench.page import made_by, processor
from gradlogp.cli.arguments import Bench
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.core.files import replacing
from gradlogp.reports import benches
from gradlogp.reports.results import SAID, UNSAID, kept

COUNTS = {
    "seconds": "counts evaluations, not seconds",
    "seeds": "has no seeds to repeat",
    "dataset": "measures on no data set that could be chosen",
}


def bench(args: Bench, terminal: Terminal) -> None:
    entry = BENCHES[args.name]
    module = entry.load()
    given = {name: value for name in COUNTS if (value := getattr(args, name)) is not None}
    for name in given.keys() - inspect.signature(module.rows).parameters.keys():
        raise UserError(f"--{name}: the bench {args.name} {COUNTS[name]}; leave it out.")
    if args.write is not None and not args.write.is_dir():
        raise UserError(
            f"--write: there is no folder {args.write}; name the folder that holds the docs."
        )
    began = time.perf_counter()
    rows = module.rows(**given)
    seconds = time.perf_counter() - began
    flags = (f"--{name} {_text(value)}" for name, value in given.items())
    command = " ".join(["gradlogp bench", args.name, *flags, "--write docs"])
    day = args.date or datetime.date.today().isoformat()
    text = f"{module.page(rows).rstrip()}\n\n{made_by(command, day)}\n"
    terminal.say(text)
    if args.write is not None:
        _write(args, entry.page, text)
        if hasattr(module, "figure"):
            module.figure(rows, args.write / "images" / f"{args.name}.png")
        made = benches.Measured(
            args.name, command, _seeds(module.rows, given), day, seconds, processor(), rows
        )
        (args.write / "results").mkdir(exist_ok=True)
        benches.write(made, args.write / "results")
        terminal.say(f"written: {args.write / entry.page}")
    terminal.result(rows)


def _seeds(rows: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """The seeds that `rows` takes where it is given these words: 0 to 19."""
    takes = inspect.signature(rows).parameters
    if "seeds" not in takes:
        return str(takes["seed"].default) if "seed" in takes else "fixed by the bench"
    last = given.get("seeds", takes["seeds"].default) - 1
    return f"0 to {last}" if last else "0"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _write(args: Bench, name: str, text: str) -> None:
    """The page, with what a person wrote on the one before."""
    page = Path(args.write or ".") / name
    said = kept(page)
    with replacing(page) as file:
        file.write((text if said == UNSAID else f"{text}\n{SAID}\n\n{said}\n").encode())

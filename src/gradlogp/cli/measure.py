"""The verb that measures: bench."""

import datetime
import inspect

from gradlogp.bench import BENCHES
from gradlogp.bench.page import made_by
from gradlogp.cli.arguments import Bench
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.core.files import replacing
from gradlogp.reports.results import SAID, UNSAID, kept

COUNTS = {"seconds": "counts evaluations, not seconds", "seeds": "has no seeds to repeat"}


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
    rows = module.rows(**given)
    command = " ".join(
        [
            "gradlogp bench",
            args.name,
            *(f"--{name} {value:g}" for name, value in given.items()),
            "--write docs",
        ]
    )
    text = f"{module.page(rows).rstrip()}\n\n{made_by(command, args.date or datetime.date.today().isoformat())}\n"
    terminal.say(text)
    if args.write is not None:
        said = kept(args.write / entry.page)
        with replacing(args.write / entry.page) as file:
            file.write((text if said == UNSAID else f"{text}\n{SAID}\n\n{said}\n").encode())
        if hasattr(module, "figure"):
            module.figure(rows, args.write / "images" / f"{args.name}.png")
        terminal.say(f"written: {args.write / entry.page}")
    terminal.result(rows)

"""The verb that measures: bench."""

import datetime
import inspect

from gradlogp.bench import BENCHES
from gradlogp.bench.page import made_by
from gradlogp.cli.arguments import Bench
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.runs.files import replacing


def bench(args: Bench, terminal: Terminal) -> None:
    entry = BENCHES[args.name]
    module = entry.load()
    if args.seconds is not None and "seconds" not in inspect.signature(module.rows).parameters:
        raise UserError(f"--seconds: the bench {args.name} counts evaluations, not seconds; leave it out.")
    if args.write is not None and not args.write.is_dir():
        raise UserError(f"--write: there is no folder {args.write}; name the folder that holds the docs.")
    rows = module.rows(**({} if args.seconds is None else {"seconds": args.seconds}))
    command = f"gradlogp bench {args.name}" + (f" --seconds {args.seconds:g}" if args.seconds else "") + " --write docs"
    text = f"{module.page(rows).rstrip()}\n\n{made_by(command, args.date or datetime.date.today().isoformat())}\n"
    terminal.say(text)
    if args.write is not None:
        with replacing(args.write / entry.page) as file:
            file.write(text.encode())
        if hasattr(module, "figure"):
            module.figure(rows, args.write / "images" / f"{args.name}.png")
        terminal.say(f"written: {args.write / entry.page}")
    terminal.result(rows)

"""The verb that hands a run over to another tool: export."""

import tempfile
from pathlib import Path

from gradlogp.bridges import export as bridge
from gradlogp.cli.arguments import Export
from gradlogp.cli.checks import writable
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness.located import HUB, located


def export(args: Export, terminal: Terminal) -> None:
    to = "slim" if args.slim else args.to
    if args.place.startswith(HUB):
        repository = args.place.removeprefix(HUB)
        if to != "hub":
            raise UserError(f"{args.place} is a repository, which takes --to hub, got --to {to}.")
        with tempfile.TemporaryDirectory() as folder:
            bridge.export(args.run, to, Path(folder))
            address = bridge.upload(Path(folder), repository)
        terminal.say(f"uploaded: {address}; load it as {args.place}")
        return terminal.result({"run": args.run, "to": to, "address": address})
    place = Path(args.place) if args.place else located(args.run) / "exports" / to
    writable(place)
    paths = bridge.export(args.run, to, place)
    terminal.say("\n".join(f"{to}: {path}" for path in paths))
    terminal.result({"run": args.run, "to": to, "files": paths})

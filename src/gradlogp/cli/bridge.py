"""The verb that hands a run over to another tool: export."""

import tempfile
from pathlib import Path

from gradlogp.bridges import export as bridge
from gradlogp.bridges.page import to_page
from gradlogp.cli.arguments import Export
from gradlogp.cli.checks import writable
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness import load
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
    if to == "page":
        paths = _page(args, place, terminal)
    else:
        writable(place, word="PLACE")
        paths = bridge.export(args.run, to, place)
    terminal.say("\n".join(f"{to}: {path}" for path in paths))
    terminal.result({"run": args.run, "to": to, "files": paths})


def _page(args: Export, place: Path, terminal: Terminal) -> list[Path]:
    """The page, which opens from its file as well as from a server."""
    writable(place, *([".html"] if place.suffix else []), word="PLACE")
    paths = to_page(load(args.run, "cpu"), place, args.runtime)
    terminal.say("open the file in a browser: it needs no server, and fetches nothing")
    return paths

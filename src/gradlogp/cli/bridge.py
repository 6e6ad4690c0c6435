"""The verb that hands a run over to another tool: export."""

import tempfile
from pathlib import Path

from gradlogp.bridges import export as bridge
from gradlogp.cli.arguments import Export
from gradlogp.cli.checks import writable
from gradlogp.cli.terminal import Terminal
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness.located import located


def export(args: Export, terminal: Terminal) -> None:
    to = "slim" if args.slim else args.to
    run = located(args.run)
    if to == "hub" and _is_repository(args.place):
        with tempfile.TemporaryDirectory() as folder:
            bridge.export(run, to, Path(folder))
            address = bridge.upload(Path(folder), args.place)
        terminal.say(f"uploaded: {address}; load it as hf:{args.place}")
        return terminal.result({"run": args.run, "to": to, "address": address})
    place = Path(args.place) if args.place else run / "exports" / to
    writable(place)
    paths = bridge.export(run, to, place)
    terminal.say("\n".join(f"{to}: {path}" for path in paths))
    terminal.result({"run": args.run, "to": to, "files": paths})


def _is_repository(place: str) -> bool:
    """USER/NAME, where there is no folder USER here: anything else is a path."""
    user, _, name = place.partition("/")
    return (
        bool(user and name)
        and "/" not in name
        and user not in (".", "..")
        and not Path(user).exists()
    )

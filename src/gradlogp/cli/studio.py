"""The verb that opens the studio: app."""

import webbrowser

from gradlogp import reports
from gradlogp.bridges.missing import needed
from gradlogp.cli.arguments import App
from gradlogp.cli.checks import folder_or_none
from gradlogp.cli.terminal import Terminal
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.zoo import MODELS, ZOO

NEEDS = ("fastapi", "uvicorn", "websockets")


def app(args: App, terminal: Terminal) -> None:
    for module in NEEDS:
        needed(module, "app")
    folder_or_none(args.runs, "--runs")
    folder_or_none(args.data or args.runs, "--data")
    from gradlogp.app import Library, Place, serve

    def say(address: str) -> None:
        terminal.say(f"the studio is at {address}\nCtrl-C ends it, and a training it has begun.")
        if args.open:
            webbrowser.open(address)

    shipped = [f"{ZOO}{name}" for name in MODELS]
    library = Library(args.runs, shipped, args.data)
    place = Place(args.host, args.port, args.token)
    serve(library, place, reports.rendered, say)

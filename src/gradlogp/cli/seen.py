"""The verb that shows: a picture or a film of a field, of its chains, or of a run."""

from collections.abc import Callable, Mapping
from pathlib import Path

from gradlogp import show as shown
from gradlogp.cli.arguments import Show
from gradlogp.cli.checks import writable
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.harness.located import is_run

FILMS = (".gif", ".webp", ".png", ".html")
Shown = shown.Picture | shown.Film


def show(args: Show, terminal: Terminal) -> None:
    run = is_run(args.what)
    form = args.form or ("film" if run else "chains")
    if run != (form in ("film", "ladder")):
        raise UserError(
            f"--as {form}: of a run there is a film or a ladder, of a density on the plane a field"
            f" or chains; {args.what} is {'a run' if run else 'no run'}."
        )
    moving = form in ("chains", "film")
    out = args.out or Path(f"{form}.{'gif' if moving else 'png'}")
    writable(out, *(FILMS if moving else (".png",)))
    found = FORMS[form](args)
    found.save(out)
    terminal.say(f"{found.caption}: {out}")
    terminal.result({"out": out, "form": form, "caption": found.caption})


def _chains(args: Show) -> Shown:
    changes = [change for group in args.changes for change in group]
    return shown.chains(args.what, args.sampler, args.n or 150, args.steps, args.seed, changes)


def _film(args: Show) -> Shown:
    return shown.film(args.what, args.n or 25, args.seed, args.cls)


FORMS: Mapping[str, Callable[[Show], Shown]] = {
    "field": lambda args: shown.field(args.what),
    "chains": _chains,
    "film": _film,
    "ladder": lambda args: shown.ladder(args.what, seed=args.seed),
}

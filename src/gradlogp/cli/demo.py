"""The verb that begins: a shipped model's chains in motion, then four models learn before one's
eyes, and a page shows how well.
"""

from pathlib import Path

from gradlogp.cli.arguments import Compare, Demo
from gradlogp.cli.checks import writable
from gradlogp.cli.learn import command, compare
from gradlogp.cli.terminal import Terminal
from gradlogp.data.film import save_film
from gradlogp.reports.moving import OPENING
from gradlogp.reports.read import page
from gradlogp.reports.sentences import sentences
from gradlogp.runs import write_json
from gradlogp.show import Film, film
from gradlogp.show.picture import HELD

SHIPPED = "zoo:mnist-ebm"
SAYS = (
    "Twenty-five chains of an energy of 28x28 digits that comes with gradlogp (zoo:mnist-ebm): they"
    " begin at blurred draws of a mixture, and sixty Langevin steps make digits of them. Now four"
    " models learn from nothing."
)
DEMO = """\
Four models learn to draw handwritten digits, from 1,257 real pictures of 8x8 pixels:
  ebm            an energy, low where digits are; its chains go on from a buffer of earlier ones
  ebm_no_buffer  the same energy, but every chain begins at noise: what does the buffer buy?
  ncsn           a score, the direction to likelier pictures, learned at many noise levels at once
  ncsn_class     the same, told which digit to draw
A classifier that none of them sees judges what they draw. It takes minutes; Ctrl-C stops it, the same command goes on.
"""
READING = """
How to read the tables: FD is the distance of what was drawn from real pictures, as the classifier sees them. No model can do
better than the real training pictures, and one that does worse than a Gaussian of the pixels has learned next to nothing."""


def demo(args: Demo, terminal: Terminal) -> None:
    writable(args.out)
    terminal.say(f"{_opened(args.out)}\n\n{DEMO}")
    asked = Compare(
        comparison="demo", dataset="digits", out=args.out, seed=args.seed, as_json=args.as_json
    )
    compare(asked, terminal)
    said = [line.replace("**", "") for line in sentences(page(args.out))]
    terminal.say("\n".join([READING, *said]))
    terminal.say(f"next:   {command('sample', args.out / 'ncsn_class', '--class', 3, '--n', 50)}")


def _opened(out: Path) -> str:
    """Leave the film that the page opens with in the folder, and say where."""
    path = out / "samples" / f"{OPENING}.gif"
    if not path.exists():
        opening = _opening()
        save_film(path, opening.frames, opening.milliseconds, HELD)
        write_json(path.with_name("films.json"), {OPENING: [SAYS]})
    return f"To begin with, a film: {path}\n{SAYS}"


def _opening() -> Film:
    """Twenty-five chains of the model that comes along."""
    return film(SHIPPED)

"""From words to arguments. What is wrong is said in one line, with the nearest right name."""

import contextlib
import io
import re
import shutil
import textwrap
from collections.abc import Sequence

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, PositionalMetavarFromFieldName

from gradlogp import __doc__ as story, __version__
from gradlogp.cli.arguments import VERBS
from gradlogp.cli.shared import MEANT, Arguments, Refused
from gradlogp.core.errors import nearest, unknown

FIRST, NEXT = "  ", " " * 14  # margins of the list of verbs


def parse(argv: Sequence[str]) -> tuple[str, Arguments]:
    """The verb and its arguments. Raises Refused; SystemExit(0) after printing a help or the
    version.
    """
    verb, *words = argv or [""]
    if verb in ("-h", "--help", "--version"):
        print(f"gradlogp {__version__}" if verb == "--version" else help_text())
        raise SystemExit(0)
    if verb not in VERBS:
        hint = str(unknown(f"there is no verb {verb!r}", verb, VERBS, MEANT)).rstrip(".")
        hint = hint if verb else f"expected a verb. There are {', '.join(VERBS)}"
        raise Refused(f"{hint}: see gradlogp --help.")
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return verb, tyro.cli(
                VERBS[verb][0],
                prog=f"gradlogp {verb}",
                args=words,
                config=(DisallowNone, FlagCreatePairsOff, PositionalMetavarFromFieldName),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise Refused(f"{unboxed(box.getvalue())} See gradlogp {verb} --help.") from None


def unboxed(box: str) -> str:
    """The sentence in tyro's error box (title, rule, sentence, rule, hints), and the nearest flag
    if a hint names one, or the nearest of the words that it expects.
    """
    text = " ".join(re.sub(r"[│╭╮╰╯]", " ", re.sub(r"\x1b\[[\d;]*m", "", box)).split())
    _, sentence, *hints = [*re.split(r" ?[─-]{8,} ?", text), ""]
    sentence = sentence.removeprefix("Error parsing ").replace(" (required)", "").rstrip(".")
    flag = re.search(r"Perhaps you meant: (--[\w-]+)", " ".join(hints))
    near = flag[1] if flag else _nearest_choice(sentence)
    return sentence[:1].lower() + sentence[1:] + (f"; did you mean {near}?" if near else ".")


def _nearest_choice(sentence: str) -> str | None:
    """Of the words that "invalid choice 'x' ... Expected one of (...)" names, the one like x."""
    found = re.search(r"invalid choice '(.*?)' .*Expected one of \((.*)\)", sentence, re.IGNORECASE)
    if not found:
        return None
    near = nearest(found[1], re.findall(r"'(.*?)'", found[2]), MEANT)
    return repr(near) if near else None


def help_text() -> str:
    width = shutil.get_terminal_size().columns
    verbs = "\n".join(
        textwrap.fill(
            f"{name:<12}{sentence(takes)}", width, initial_indent=FIRST, subsequent_indent=NEXT
        )
        for name, (takes, _) in VERBS.items()
    )
    return (
        f"usage: gradlogp VERB ...\n\n{(story or '').splitlines()[0]}\n\n{verbs}\n\n"
        "`gradlogp VERB --help` says what each takes. To begin: gradlogp demo"
    )


def sentence(takes: type[Arguments]) -> str:
    """The first paragraph of a verb's docstring, on one line."""
    return " ".join((takes.__doc__ or "").partition("\n\n")[0].split())

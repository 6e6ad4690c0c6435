"""From what was read to HTML: the template is report.html.jinja, which holds the page's words and
looks.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from gradlogp.core.errors import UserError
from gradlogp.reports import command, plot, words
from gradlogp.reports.export import tables
from gradlogp.reports.layout import grids
from gradlogp.reports.moving import moving, opening
from gradlogp.reports.protocols import protocols
from gradlogp.reports.read import Page, page
from gradlogp.reports.sentences import sentences
from gradlogp.runs import write_text

NAME = "report.html"
# what stays as it is, or a word of pictures
VERBATIM = re.compile(
    r"<(code|pre|style|script|svg)\b.*?</\1>|<[^>]*>"
    rf"|{words.OF_PICTURES}",
    re.DOTALL,
)


def write(folder: Path) -> Path:
    """Write report.html into a run folder or a comparison's folder, and beside it the table as
    results.csv, .md and .tex.

    Returns the page's path.

    Raises UserError where the folder is neither, or cannot be written.
    """
    folder = Path(folder)
    shown = page(folder)
    write_text(folder / NAME, render(shown))
    for suffix, text in tables(shown).items():
        write_text(folder / f"results{suffix}", text)
    return folder / NAME


def rendered(folder: Path) -> str:
    """The page of a folder as HTML, with nothing written."""
    return render(page(folder))


def render(shown: Page) -> str:
    """The page as HTML. All that comes from the folder is text, and escaped as such."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradlogp.reports", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )
    environment.filters |= {
        "number": words.number,
        "count": words.count,
        "duration": words.duration,
        "dotted": dotted,
        "paragraphs": paragraphs,
        "bold": bold,
    }
    template = environment.get_template("report.html.jinja")
    try:
        text = template.render(
            page=shown,
            grids=grids(shown),
            moving=moving,
            opening=opening(shown),
            sentences=sentences(shown),
            protocols=protocols(shown),
            words=words,
            command=command,
            marker=plot.marker,
        )
    except jinja2.UndefinedError as error:
        raise UserError(
            f"{shown.folder}: a config.json there has settings that no page can show ({error}); put"
            " back the one that training wrote."
        ) from error
    return of_kind(text.lstrip(), shown) + "\n"


def of_kind(text: str, shown: Page) -> str:
    """The page in the words of its data: its template speaks of pictures and pixels, which rows and
    waveforms are not. Markup, code, paths and file names are left as they are.
    """
    if "picture" in shown.kind.noun:
        return text
    body = text.index("<body")
    return text[:body] + VERBATIM.sub(lambda found: _renamed(found, shown), text[body:])


def _renamed(found: re.Match[str], shown: Page) -> str:
    word = found["word"]
    return found[0] if word is None else words.renamed(word, shown.kind)


def paragraphs(text: str) -> Markup:
    """Plain paragraphs with **bold** words as HTML, all else escaped."""
    return Markup("\n".join(f"<p>{bold(part)}</p>" for part in text.split("\n\n") if part))


def bold(text: str) -> Markup:
    """A line with **bold** words as HTML, all else escaped."""
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text))))


def dotted(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as pairs of dotted name and value; a group with its `kind` as value."""
    flat: list[tuple[str, Any]] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            kind = [(f"{prefix}{key}", item["kind"])] if "kind" in item else []
            flat += [
                *kind,
                *dotted({k: v for k, v in item.items() if k != "kind"}, f"{prefix}{key}."),
            ]
        else:
            flat.append((f"{prefix}{key}", item))
    return flat

"""A page of results for the docs, from a comparison's folder: docs/results/<comparison>.md, its
rows beside it in <comparison>.json and its pictures in images/.

The table, the command, seeds, commit, machine and seconds are read from the folder. What it shows
is written by a person, under the heading `## What it shows`, and kept when the page is made again.
"""

import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.reports import command, published, words
from gradlogp.reports.export import further, markdown
from gradlogp.reports.protocols import protocols
from gradlogp.reports.read import Page, page
from gradlogp.reports.shown import captions
from gradlogp.runs import inside, write_text

SAID = "## What it shows"
UNSAID = "Not yet written."
UNPUBLISHED = ("modelnet10",)  # data sets whose own examples may not be shown again
EXAMPLES = ("nearest", "recovery", "from-data", "levels")  # figures that show examples of the data
GRIDS = {
    "final": "Fresh samples.",
    "classes": "Fresh samples of {}, a row for each class.",
}
MANY = 2**14  # colours, which only natural pictures have
FEW = 5  # of methods whose pictures of one name all stand on a page
COLOURS = 256  # of a picture's palette; with fewer, thin lines of eight hues take on each other's


def write_results(folder: Path, docs: Path) -> Path:
    """Write DOCS/<page>.md, its rows and its pictures; returns the page's path. UserError where the
    folder is no comparison.
    """
    shown = page(folder)
    if not shown.note:
        raise UserError(
            f"{folder} is a single run; a page of results is made from a comparison's folder."
        )
    name = published.page_name(shown.note)
    path = docs / f"{name}.md"
    pictures = [
        (f"{name}-{owner}{_own_name(file)}.png", file, caption)
        for owner, file, caption in _pictures(shown)
    ]
    (docs / "images").mkdir(parents=True, exist_ok=True)
    for target, file, _ in pictures:
        write_text(docs / "images" / target, compressed(file))
    write_text(
        path, text(shown, [(target, caption) for target, _, caption in pictures], kept(path))
    )
    captions = {target: caption for target, _, caption in pictures}
    published.write(published.published(shown, captions), docs)
    return path


def text(shown: Page, pictures: list[tuple[str, str]], said: str) -> str:
    """The page in Markdown."""
    tables = further(shown)
    parts = [
        f"# {shown.note['question']}",
        f"```\n{command.whole(shown)}\n```",
        _setting(shown),
        markdown(shown).strip(),
        "*Bold: the best of the methods, closed forms among them. The best of the first column comes"
        " first.*",
        f"{SAID}\n\n{said}",
        *(f"![{caption}](images/{target})\n\n*{caption}*" for target, caption in pictures),
        *(["## Tables", *tables] if tables else []),
        "## How it was measured",
        *measured(shown),
    ]
    return "\n\n".join(parts) + "\n"


def _setting(shown: Page) -> str:
    """On what data, when, with which versions, where and for how long."""
    first = shown.first
    data = first.run.config["data"]["name"]
    seeds = ", ".join(map(str, shown.seeds))
    return (
        f"Data set `{data}`, preset `{first.recipe.get('preset')}`, seeds {seeds}; {shown.day},"
        f" {_versions(first.run.about)}; {words.duration(published.seconds(shown.methods))} of learning in all."
    )


def _versions(about: Mapping[str, Any]) -> str:
    """Of this library and of torch, and what they ran on."""
    commit = f", commit {about['commit']}" if about.get("commit") else ""
    device = f"{about.get('device')}, {about.get('threads')} thread(s) a method"
    return f"gradlogp {about.get('gradlogp')}{commit}, torch {about.get('torch')} on {device}"


def measured(shown: Page) -> list[str]:
    name = published.page_name(shown.note)
    lines = [f"- **{label}**: {protocol}." for label, protocol in protocols(shown, shown.headline)]
    return [
        "\n".join(lines),
        (f"Every number, with its standard error and protocol, is in [{name}.json]({name}.json)."),
    ]


def kept(path: Path) -> str:
    """What a person wrote on the page before."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(rf"{SAID}\n\n(.*?)(?=\n\n!\[|\n\n## |\Z)", old, re.S)
    return found[1].strip() if found else UNSAID


def _pictures(shown: Page) -> list[tuple[str, Path, str]]:
    """Whose it is, file and caption: what the comparison drew of all methods, then what each drew
    of itself.

    The caption says whose a method's own picture is, and so does its name where several drew one of
    that name; where more than a few did, only the first one's is here, and `report` shows the
    others'. What shows examples of data that may not be published again is left out.
    """
    own = [p for m in shown.methods for p in _drawn(m.name, m.first.run.path, shown)]
    found = [*_grids(shown), *_drawn("", shown.folder, shown), *_of_few(own)]
    count = Counter(_own_name(file) for _, file, _ in {*own, *found})
    return [_named(*picture, count[_own_name(picture[1])] > 1) for picture in found]


def _of_few(own: list[tuple[str, Path, str]]) -> list[tuple[str, Path, str]]:
    """What methods drew of themselves; of a name that more than FEW drew, the first one's."""
    owners: dict[str, list[str]] = {}
    for owner, file, _ in own:
        owners.setdefault(file.name, []).append(owner)
    return [
        (owner, file, caption)
        for owner, file, caption in own
        if len(owners[file.name]) <= FEW or owner == owners[file.name][0]
    ]


def _drawn(owner: str, folder: Path, shown: Page) -> list[tuple[str, Path, str]]:
    """The figures of a folder that may be published."""
    data = str(shown.first.run.config["data"]["name"])
    return [
        (owner, inside(folder, f"samples/{name}"), caption)
        for name, caption in captions(folder).items()
        if publishable(name, data)
    ]


def _named(owner: str, file: Path, caption: str, among: bool) -> tuple[str, Path, str]:
    """A picture with whose it is: in its name, where it is one `among` others, and in its caption."""
    said = caption if re.search(rf"\b{owner}\b", caption) else f"{owner}: {caption}"
    return (f"{owner}-" if among and owner else ""), file, said


def _own_name(file: Path) -> str:
    """What a picture is called on the page, be it a figure or a grid of samples."""
    return file.stem.removeprefix("figure-")


def _grids(shown: Page) -> list[tuple[str, Path, str]]:
    """The samples of each method that has some, where the comparison drew none of all together."""
    if any("samples" in name for name in captions(shown.folder)):
        return []
    grids = [
        (m.name, inside(m.first.run.path, f"samples/{name}.png"), caption.format(m.name))
        for m in shown.methods
        for name, caption in GRIDS.items()
    ]
    found = [grid for grid in grids if grid[1].is_file()]
    told = {owner for owner, file, _ in found if file.stem == "classes"}
    return [grid for grid in found if grid[1].stem == "classes" or grid[0] not in told]


def publishable(figure: str, data: str) -> bool:
    """Whether the picture figure-NAME.png may be shown, by what it shows of which data set."""
    shows = any(figure.removeprefix("figure-").startswith(name) for name in EXAMPLES)
    return not (shows and re.split("[@:]", data)[0] in UNPUBLISHED)


def compressed(file: Path) -> bytes:
    """A PNG no wider than 1,100 pixels, of charts and grey pictures with a small palette."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(file) as picture:
        picture.thumbnail((1100, 3000))
        kept = picture.convert("RGB")
        if kept.getcolors(MANY):
            # the median cut loses a colour of few pixels
            kept = kept.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
        kept.save(out, format="PNG", optimize=True)
    return out.getvalue()

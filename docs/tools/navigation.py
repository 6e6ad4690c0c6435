"""The navigation of docs/site.yml with its patterns filled in: a new page needs no line there.

A pattern stands for the pages that match it, by name, and that no line of their own places
elsewhere. An entry without pages is left out, so a place may be kept for pages that are to come.
"""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

APART = ("tools", "report")  # under docs/, and no pages of the site

Entry = str | dict[str, Any]


def pages(docs: Path) -> list[str]:
    """Every page under `docs`, by its path from there."""
    found = [path.relative_to(docs) for path in docs.rglob("*.md")]
    return sorted(path.as_posix() for path in found if path.parts[0] not in APART)


def named(entries: Any) -> set[str]:
    """The pages with a line of their own."""
    if isinstance(entries, str):
        return set() if "*" in entries else {entries}
    values = entries.values() if isinstance(entries, dict) else entries
    return {page for entry in values for page in named(entry)}


def filled(entries: list[Entry], available: list[str], placed: set[str]) -> list[Entry]:
    """`entries` with patterns replaced by pages; `placed` grows by what is placed."""
    result: list[Entry] = []
    for entry in entries:
        if isinstance(entry, str):
            result += matching(entry, available, placed)
            continue
        ((title, inside),) = entry.items()
        alone = isinstance(inside, str) and "*" not in inside
        inside = inside if isinstance(inside, list) else [inside]
        if found := filled(inside, available, placed):
            result.append({title: found[0] if alone else found})
    return result


def matching(entry: str, available: list[str], placed: set[str]) -> list[str]:
    if "*" not in entry:
        return [entry] if entry in available else []
    depth = entry.count("/")
    fits = [page for page in available if page.count("/") == depth and fnmatch(page, entry)]
    fits = [page for page in fits if page not in placed]
    placed.update(fits)
    return fits

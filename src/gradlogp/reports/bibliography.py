"""The papers of docs/papers.md as a bibliography: Authors (year), Title, arXiv number -> CSL JSON.

A key is the first author, the year and the first word of the title: song2019generative.
"""

import re
import unicodedata
from typing import Any

ENTRY = re.compile(r"(?P<authors>[A-Z][^|;()]*?) \((?P<year>\d{4})\)(?:, (?P<title>[^|;]+))?")
ARXIV = re.compile(r",? ?arXiv (\d{4}\.\d{4,5}).*$")
SMALL = {"a", "an", "the", "on", "how", "your"}


def entries(page: str) -> dict[str, dict[str, Any]]:
    """Key -> entry, of the first column of every table of the page."""
    cells = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        for match in ENTRY.finditer(cell):
            entry = _entry(match)
            found.setdefault(entry["id"], entry)
    return found


def _entry(match: re.Match[str]) -> dict[str, Any]:
    title = (match["title"] or "").strip()
    number = ARXIV.search(title)
    title = ARXIV.sub("", title).strip(" ,")
    authors = _authors(match["authors"])
    entry: dict[str, Any] = {
        "id": _key(authors[0], match["year"], title),
        "type": "article",
        "author": [{"literal" if name == "others" else "family": name} for name in authors],
        "issued": {"date-parts": [[int(match["year"])]]},
    }
    if title:
        entry["title"] = title
    if number:
        entry |= {
            "archive": "arXiv",
            "number": number[1],
            "URL": f"https://arxiv.org/abs/{number[1]}",
        }
    return entry


def _authors(said: str) -> list[str]:
    names = [n.strip() for n in re.split(r" & |, ", said.replace(" et al.", " & others"))]
    return [n for n in names if n]


def _key(author: str, year: str, title: str) -> str:
    words = re.findall(r"[a-z0-9]+", _plain(title))
    first = next((w for w in words if w not in SMALL), "")
    return f"{''.join(re.findall('[a-z]+', _plain(author)))}{year}{first}"


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()

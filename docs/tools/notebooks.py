"""A notebook as a page: its text, its code, and what the code printed and drew when it was saved.

cells of nbformat 4  ->  Markdown, pictures as data: URLs
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PICTURES = ("image/png", "image/jpeg", "image/gif")


def markdown(notebook: Path) -> str:
    """The page that a notebook makes; it links to the notebook itself."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parts = [part for cell in cells for part in _cell(cell)]
    parts.insert(1, f"[Download this notebook]({notebook.name})")
    return "\n\n".join(parts) + "\n"


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "code" and text.strip():
        yield _fence(text, "python")
    elif cell["cell_type"] == "markdown":
        yield text
    for output in cell.get("outputs", []):
        yield from _output(output)


def _output(output: dict[str, Any]) -> Iterator[str]:
    data = output.get("data", {})
    pictures = [kind for kind in PICTURES if kind in data]
    for kind in pictures[:1]:
        yield f'<img alt="" src="data:{kind};base64,{"".join(data[kind].split())}">'
    text = "".join(output.get("text", data.get("text/plain", [])))
    if text.strip() and not pictures:
        yield _fence(text, "text")


def _fence(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"

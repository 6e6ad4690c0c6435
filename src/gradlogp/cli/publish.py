"""The verb that publishes: paper, the technical report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlogp.bench import BENCHES
from gradlogp.cli.arguments import Paper
from gradlogp.cli.checks import writable
from gradlogp.cli.terminal import Terminal
from gradlogp.reports import paper


def build(args: Paper, terminal: Terminal) -> None:
    writable(args.out)
    docs = args.results.parent
    sources = args.sources or docs / "report"
    made = paper.build(sources, args.results, docs / "papers.md", args.out, draw)
    terminal.say(f"report: {made.html}, {made.pdf}; from {', '.join(made.used)}")
    terminal.result({"html": made.html, "pdf": made.pdf, "used": made.used})


def draw(bench: str, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The figure of a bench, from its rows."""
    BENCHES[bench].load().figure(rows, path)

"""The verbs that publish what was measured: leaderboard and paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlogp.bench import BENCHES
from gradlogp.cli import show
from gradlogp.cli.arguments import Leaderboard, Paper
from gradlogp.cli.checks import writable
from gradlogp.cli.terminal import Terminal
from gradlogp.core.errors import UserError
from gradlogp.reports import leaderboard as board, paper as report, published
from gradlogp.runs import write_text


def leaderboard(args: Leaderboard, terminal: Terminal) -> None:
    if args.out is not None:
        writable(args.out, ".html", ".md")
    results = published.read_all(args.results)
    found = board.boards(results, args.dataset, args.task)
    if not found:
        sets = sorted({str(each.about["dataset"]) for each in results})
        raise UserError(
            f"{args.results} has no results of that task and data set; it has {', '.join(sets)}."
        )
    for each in found:
        for table in show.board(each):
            terminal.show(table)
    if args.out is not None:
        whole = args.dataset is None and args.task is None
        text = board.page(results) if whole else board.markdown(found) + "\n"
        write_text(args.out, board.html(found) if args.out.suffix == ".html" else text)
        terminal.say(f"written: {args.out}")
    terminal.result([as_dict(each) for each in found])


def as_dict(found: board.Board) -> dict[str, Any]:
    """A table as JSON: its title, its protocol, and a list of values for each head."""
    rows = [dict(zip(found.heads, found.values(line), strict=True)) for line in found.ordered]
    return {"title": found.title, "protocol": found.protocol, "rows": rows}


def paper(args: Paper, terminal: Terminal) -> None:
    writable(args.out)
    docs = args.results.parent
    sources = args.sources or docs / "report"
    made = report.build(sources, args.results, docs / "papers.md", args.out, draw)
    terminal.say(f"report: {made.html}, {made.pdf}; from {', '.join(made.used)}")
    terminal.result({"html": made.html, "pdf": made.pdf, "used": made.used})


def draw(bench: str, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The figure of a bench, from its rows."""
    BENCHES[bench].load().figure(rows, path)

"""The house stays readable: no file is longer than an hour's reading, and functions are short."""

import ast
import statistics
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
FILES = sorted(SRC.rglob("*.py"))
LINES = 450  # of a file, at 100 columns
MEDIAN, TENTH, LONGEST = 6, 20, 50  # lines of a function


def functions() -> list[tuple[int, str]]:
    """(lines, file:name) of every function, the shortest first."""
    found = [
        (node.end_lineno - node.lineno + 1, f"{file.relative_to(SRC)}:{node.name}")
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return sorted(found)


def test_a_file_tells_one_story() -> None:
    lengths = {str(file.relative_to(SRC)): len(file.read_text().splitlines()) for file in FILES}
    long = {name: lines for name, lines in lengths.items() if lines > LINES}
    assert not long, f"longer than {LINES} lines: {long}; give the second story of each a file"


def test_functions_are_short() -> None:
    found = functions()
    lengths = [lines for lines, _ in found]
    tenth = lengths[int(0.9 * len(lengths))]
    assert statistics.median(lengths) <= MEDIAN and tenth <= TENTH
    assert found[-1][0] <= LONGEST, (
        f"{found[-1]} lines; cut it where its body has a name for a part"
    )

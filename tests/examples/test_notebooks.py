"""The notebooks run from top to bottom, on a small budget, and each is a lecture: an equation, a
picture, a question, an experiment.

A cell tagged `parameters` holds the budget, as papermill has it; here it is replaced. The cells run
in this process, in one namespace; what a cell ends with must show itself.
"""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))
BUDGETS = {  # what the tests run with
    "1-energies": "chains, steps = 2000, 40",
    "2-replay-buffer": "updates, batch = 10, 32",
    "3-annealed-langevin": "updates, batch, walkers = 20, 64, 200",
    "4-anomalies": "training_steps = 5",
    "5-compose-and-restore": "walkers, steps = 400, 40",
}
REPRS = ("_repr_mimebundle_", "_repr_png_")


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["nbformat"] == 4 and found["metadata"]["kernelspec"]["name"] == "python3"
    return [cell for cell in found["cells"] if cell["cell_type"] == kind]


def shown(source: str, space: dict[str, Any]) -> Any:
    """Run a cell; what its last line is, where that is an expression."""
    tree = ast.parse(source)
    if not isinstance(tree.body[-1], ast.Expr):
        exec(compile(tree, "cell", "exec"), space)
        return None
    last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, "cell", "exec"), space)
    return eval(compile(last, "cell", "eval"), space)


def test_every_notebook_has_a_budget():
    assert [path.stem for path in NOTEBOOKS] == list(BUDGETS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, capsys, monkeypatch):
    monkeypatch.setattr("gradlogp.show.chains.__defaults__", short())
    space: dict[str, Any] = {"__name__": "__main__"}
    pictures = 0
    for cell in cells(path, "code"):
        budget = "parameters" in cell["metadata"].get("tags", ())
        result = shown(BUDGETS[path.stem] if budget else "".join(cell["source"]), space)
        if result is not None:
            assert any(hasattr(result, name) for name in REPRS)
            pictures += 1
    assert pictures >= 1 and capsys.readouterr().out.count("\n") >= 2


def short() -> tuple[Any, ...]:
    """The defaults of `show.chains`, with four frames and ten walkers."""
    from gradlogp import show

    sampler, _, steps, seed, changes, _ = show.chains.__defaults__
    return sampler, 10, steps, seed, changes, 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_lecture(path):
    words = "\n".join("".join(cell["source"]) for cell in cells(path, "markdown"))
    code = ["".join(cell["source"]) for cell in cells(path, "code")]
    assert words.startswith("# ") and words.count("$$") >= 2  # an equation
    assert any(source.startswith("show.") or "\nshow." in source for source in code)  # a picture
    assert "## A question" in words and "?" in words
    assert "## The experiment" in words and sum("print(" in source for source in code) >= 1
    assert (
        sum("parameters" in cell["metadata"].get("tags", ()) for cell in cells(path, "code")) == 1
    )

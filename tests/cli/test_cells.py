"""Empty cells of a table of one's own, filled in by a run of rows."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gradlogp import data
from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.harness import impute, load
from gradlogp.harness.own import fit
from gradlogp.objectives import DenoisingScoreMatching, LogNormal
from gradlogp.training import Training

RHO = 0.8
HEAD = "name,income,age,kind"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that knows the Gaussian of two columns exactly, and a table whose rows lack one each."""
    monkeypatch.chdir(tmp_path)
    z = torch.randn(600, 2, generator=torch.Generator().manual_seed(0)).double()
    z[:, 1] = RHO * z[:, 0] + (1 - RHO**2) ** 0.5 * z[:, 1]
    x = z * torch.tensor([20.0, 1000.0]) + torch.tensor([50.0, 4000.0])
    kinds = ["odd" if i % 7 == 0 else "usual" for i in range(600)]
    rows = [f"n{i:03},{a:.3f},{b:.0f},{kinds[i]}" for i, (a, b) in enumerate(x.tolist())]
    Path("train.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    lines = [row.split(",") for row in rows[:100]]
    for i, line in enumerate(lines):
        line[1 + i % 2] = ""
    Path("new.csv").write_text("\n".join([HEAD, *(",".join(line) for line in lines)]) + "\n")
    loss = DenoisingScoreMatching(LogNormal(-0.5, 1.0), "edm", 1.0)
    rows_of = data.load("csv:train.csv@kind")
    still = Training(64, 64, learning_rate=1e-9)
    fit("tests.harness.own_models:wiener", rows_of, loss, "run", training=still)


def read(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_empty_cells_get_the_conditional_mean_and_no_other_cell_is_touched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = run(capsys, "inpaint", "run", "new.csv", "--out", "deep/filled.csv")
    assert found["cells"] == found["rows"] == 100 and found["columns"] == {"income": 50, "age": 50}
    spec = load("run").spec
    gaps = []
    for i, (old, new) in enumerate(zip(read("new.csv"), read("deep/filled.csv"), strict=True)):
        free, known = (("income", "age"), ("age", "income"))[i % 2]
        assert {**new, free: ""} == old, "all else is as it was, names and labels among it"
        assert free == "income" or new[free].lstrip("-").isdigit(), "whole numbers stay whole"
        z = {
            name: (float(new[name]) - spec.center[j]) / spec.scale[j]
            for j, name in enumerate(("income", "age"))
        }
        gaps.append(z[free] - 0.97 * RHO * z[known])  # where the mean of its chains ends
    stderr = ((1 - RHO**2) / 16) ** 0.5  # of the mean of 16 completions, and less
    gaps_ = torch.tensor(gaps)
    assert abs(float(gaps_.mean())) < 4 * stderr / 10 and float(gaps_.std()) < 1.3 * stderr


def test_what_was_filled_is_said_and_the_same_again(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["inpaint", "run", "new.csv", "--n", "2"]) == 0
    says = (
        "100 empty cells in 100 of 100 rows filled in (50 of income, 50 of age), by the mean of 2"
    )
    assert says in capsys.readouterr().out
    run(capsys, "inpaint", "run", "new.csv", "--n", "2", "--out", "again.csv")
    assert Path("run/samples/inpainted-new.csv").read_bytes() == Path("again.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train.csv", "none of its 600 rows has an empty cell"),
        ("new.csv --hole 3", "--mask and --hole are for pictures"),
        ("new.csv --out new.csv", "choose another name"),
        ("new.csv --out new.png", "ends in .csv or .parquet"),
        ("new.csv --class 1", "no class can be asked"),
        ("other.csv", "no column 'income'"),
        ("lost.csv", "lost.csv"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.csv").write_text("age,kind\n1,usual\n")
    assert main(["inpaint", "run", *words.split()]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_arrays_are_filled_in_by_the_same_mean() -> None:
    fitted = load("run")
    x = torch.tensor([[float("nan"), 4000.0], [50.0, 5000.0], [float("nan")] * 2])
    filled = impute(fitted, x, n=4)
    assert filled.isfinite().all() and torch.equal(filled[~x.isnan()], x[~x.isnan()])
    with pytest.raises(UserError, match=r"expected rows of shape \[n, 2\] of finite numbers"):
        impute(fitted, x[:, :1])


def test_names_with_dots_have_outputs_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("new.csv").read_text()
    for name in ("of.2024.csv", "of.2025.csv"):
        Path(name).write_text(text)
        out = run(capsys, "inpaint", "run", name, "--n", "1")["out"]
        assert Path(out).name == f"inpainted-{name}"

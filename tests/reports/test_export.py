"""The tables beside the page: every row in CSV; methods by metrics in Markdown and LaTeX."""

import csv
import io

from gradlogp.reports.export import tables
from gradlogp.reports.read import page
from gradlogp.runs import read_results, write_results
from tests.reports import fake


def exported(tmp_path):
    return tables(page(fake.comparison(tmp_path / "c", ebm={"times": 1.0}, ncsn={"times": 9.0})))


def test_the_csv_has_every_row(tmp_path):
    rows = list(csv.DictReader(io.StringIO(exported(tmp_path)[".csv"])))
    assert {row["method"] for row in rows} >= {"ebm", "ncsn"}
    assert all(
        row["metric"] and float(row["value"]) >= 0 and row["protocol"]
        for row in rows
        if row["method"] == "ebm"
    )


def test_markdown_marks_the_best_and_every_line_has_its_cells(tmp_path):
    lines = exported(tmp_path)[".md"].splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "**" in next(line for line in lines if line.startswith("| ebm"))


def test_latex_is_escaped_and_balanced(tmp_path):
    text = exported(tmp_path)[".tex"]
    body = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert text.startswith(r"\begin{tabular}{l") and len({line.count("&") for line in body}) == 1
    assert (
        text.count("{") == text.count("}")
        and r"\textbf{" in text
        and "_" not in text.replace(r"\_", "")
    )


HOSTILE = "=cmd|' /C calc'!A0 \\input{/etc/passwd} <script>x</script> [a](b) \x1b[31m"


def test_no_cell_is_a_formula_a_command_or_a_page(tmp_path):
    folder = fake.comparison(tmp_path / "c", ebm={}, ncsn={})
    rows = read_results(folder)
    rows[0] |= {"protocol": HOSTILE, "method": HOSTILE}
    write_results(folder, rows)
    made = tables(page(folder))
    cells = next(csv.DictReader(io.StringIO(made[".csv"])))
    assert cells["protocol"].startswith("'=") and cells["method"].startswith("'=")
    assert r"\input{" not in made[".tex"] and "textbackslash" in made[".tex"]
    assert "<script>" not in made[".md"] and "[a](b)" not in made[".md"]

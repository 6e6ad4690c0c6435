"""Rows beside a page of results: written with it, read back whole, and what the pages of the docs say."""

import math
from pathlib import Path

import pytest

from gradlogp.core.errors import UserError
from gradlogp.reports import published, words, write_results
from gradlogp.reports.export import emboldened, laid, tables
from gradlogp.reports.read import page
from gradlogp.runs import Damaged
from tests.reports import fake

DOCS = Path(__file__).parents[2] / "docs" / "results"
PAGES = [p for p in sorted(DOCS.glob("*.json")) if p.with_suffix(".md").is_file()]


def table(found):
    """The cells of the first table as the page writes them, without the marks of the best."""
    costs = {m["name"]: [m.get(c) for c in published.COSTS] for m in found.methods}
    names = [*(m["name"] for m in found.ordered), *found.numbers.references]
    body = laid(found.numbers, found.columns, names, costs, str)[1:]
    return {words.of_kind(line[0], found.kind): line[1:] for line in body if any(line[1:])}


def cells(text):
    """The same of a page in Markdown."""
    block = text[text.index("| method |") :].split("\n\n")[0].splitlines()[2:]
    split = ([c.strip() for c in line.replace("\\", "").strip("|").split(" |")] for line in block)
    return {line[0]: [c.replace("*", "") for c in line[1:]] for line in split}


def test_the_rows_of_a_folder_are_read_back_as_they_were(tmp_path):
    folder = fake.comparison(tmp_path / "c", seeds=(0, 1), ebm={}, ncsn={"fd": math.inf})
    write_results(folder, tmp_path)
    found = published.read(tmp_path / "demo.json")
    shown = page(folder)
    assert found.source == "folder" and found.about["seeds"] == [0, 1]
    assert [m["name"] for m in found.methods] == ["ebm", "ncsn"]
    assert {key: len(rows) for key, rows in found.numbers.rows.items()} == {
        key: len(rows) for key, rows in shown.numbers.rows.items()
    }
    for (method, key), rows in shown.numbers.rows.items():
        there = found.numbers.cell(method, key)
        assert there is not None and there.rows[0]["protocol"] == rows[0]["protocol"]
        assert there.value == pytest.approx(shown.numbers.cell(method, key).value, rel=1e-6)
    assert laid(
        found.numbers,
        found.columns,
        [m["name"] for m in found.ordered],
        {m["name"]: [m[c] for c in published.COSTS] for m in found.methods},
        emboldened,
    )[:3] == [
        [c.replace("\\", "") for c in line.strip("| ").split(" | ")]
        for i, line in enumerate(tables(shown)[".md"].splitlines()[:4])
        if i != 1
    ]


def test_a_folder_of_results_holds_pages_and_comparisons(tmp_path):
    write_results(fake.comparison(tmp_path / "c", ebm={}, ncsn={}), tmp_path / "docs")
    assert [r.name for r in published.read_all(tmp_path / "docs")] == ["demo"]
    assert [r.source for r in published.read_all(tmp_path)] == ["folder"]
    assert published.read_all(tmp_path / "c")[0].rows
    with pytest.raises(UserError, match="expected results"):
        published.read_all(tmp_path / "c" / "ebm")


def test_what_is_no_file_of_results_is_refused(tmp_path):
    path = write_results(fake.comparison(tmp_path / "c", ebm={}, ncsn={}), tmp_path)
    path = path.with_suffix(".json")
    whole = path.read_text()
    path.write_text(whole.replace('"format": 1', '"format": 9'))
    with pytest.raises(UserError, match="format 9"):
        published.read(path)
    path.write_text(whole.replace('"rows"', '"row"'))
    with pytest.raises(Damaged, match="rows"):
        published.read(path)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_rows_of_the_docs_are_those_of_their_pages(path):
    assert table(published.read(path)) == cells(path.with_suffix(".md").read_text("utf-8"))


@pytest.mark.parametrize(
    ("comparison", "dataset", "name"),
    [
        ("ebm_denoise", "mnist", "ebm_denoise"),
        ("ebm_denoise", "cifar10", "ebm_denoise-cifar10"),
        ("score_generate", "mnist", "score_generate"),
        ("ebm_multimodal", "captioned_digits:mnist", "ebm_multimodal"),
        ("ebm_voxels", "modelnet10@16", "ebm_voxels"),
        ("ebm_voxels", "modelnet10:chair@32", "ebm_voxels-modelnet10-chair-32"),
        ("tables", "csv:mine/rows.csv", "tables-csv-mine-rows-csv"),
    ],
)
def test_a_page_on_other_data_than_its_own_does_not_take_its_place(comparison, dataset, name):
    assert published.page_name({"comparison": comparison, "dataset": dataset}) == name

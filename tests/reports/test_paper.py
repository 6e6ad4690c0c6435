"""The technical report: no number by hand, no claim that the rows do not bear, HTML and PDF that stand alone."""

import importlib.util
import re
from pathlib import Path

import pytest

from gradlogp.bench import BENCHES
from gradlogp.core.errors import UserError
from gradlogp.reports import bibliography, paper, write_results
from gradlogp.reports.sources import Sources, typed
from tests.reports import fake

DOCS = Path(__file__).parents[2] / "docs"
PARTS = sorted((DOCS / "report").glob("*.md"))
PAPERS = bibliography.entries((DOCS / "papers.md").read_text("utf-8"))
needs_tools = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pypandoc", "typst"))),
    reason="needs the extra `paper`: pandoc and Typst",
)


def draw(name, rows, path):
    BENCHES[name].load().figure(rows, path)


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "results"
    write_results(fake.comparison(tmp_path / "c", ebm={}, ncsn={"times": 4.0}), folder)
    return Sources(folder, tmp_path, draw)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.stem)
def test_no_number_of_the_report_is_typed_by_hand(part):
    assert typed(part.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["It reaches 1.06.", "$h = 0.05$ is taken", "ahead by 3 dB", "two hundred steps", "$n=300$"],
)
def test_a_typed_number_is_found(text):
    assert typed(text)


@pytest.mark.parametrize(
    "text",
    [
        '{{ value("ebm", "fd", "ebm", steps=40) }} on CIFAR-10',
        "$x^2 / 2$",
        "[@song2019generative]",
        "`K40`",
    ],
)
def test_placeholders_names_equations_and_citations_are_none(text):
    assert typed(text) == []


def test_every_citation_of_the_report_is_on_the_page_of_papers():
    cited = {
        key for part in PARTS for key in re.findall(r"@([a-z]+\d{4}\w*)", part.read_text("utf-8"))
    }
    assert cited and cited <= PAPERS.keys()


def test_an_entry_has_its_authors_year_title_and_number():
    found = bibliography.entries(
        "| paper | x |\n| --- | --- |\n| Li, Chen & Sommer (2019), Learning Energies, arXiv 1910.07762; Besag (1975) | y |\n"
    )
    assert list(found) == ["li2019learning", "besag1975"]
    entry = found["li2019learning"]
    assert [a["family"] for a in entry["author"]] == ["Li", "Chen", "Sommer"]
    assert entry["title"] == "Learning Energies" and entry["number"] == "1910.07762"


def test_a_value_is_that_of_the_rows_with_its_error(sources):
    assert sources.value("demo", "psnr", "ebm", noise=0.1) == "20.00 \u00b1 0.20"
    assert sources.bare("demo", "fd", "ncsn") == "40.0"
    assert sources.fact("demo", "ebm", "evaluations") == "176,000"
    assert sources.said("demo", "dataset") == "digits"


def test_what_is_not_there_is_refused(sources):
    for ask in (
        lambda: sources.value("other", "fd", "ebm"),
        lambda: sources.value("demo", "fd", "ebm", steps=3),
        lambda: sources.value("demo", "fd", "gan"),
        lambda: sources.figure("demo", "curve"),
        lambda: sources.further("demo", "No such table"),
        lambda: sources.row("cd-bias", "bias"),
    ):
        with pytest.raises(UserError):
            ask()


def test_a_claim_is_silent_while_it_is_true_and_fails_the_build_when_it_is_not(sources):
    assert sources.claim("demo", "fd", "ebm", "ncsn") == ""
    with pytest.raises(UserError, match="claims that ncsn is better than ebm"):
        sources.claim("demo", "fd", "ncsn", "ebm")
    with pytest.raises(UserError, match="claims"):
        sources.claim("demo", "precision", "ebm", "ncsn")  # equal: neither is ahead


def test_a_table_says_its_command_and_marks_the_best(sources):
    text = sources.table("demo")
    assert "**10.00** \u00b1 0.10" in text and "gradlogp compare demo" in text
    assert ": " in text.splitlines()[-1]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.stem)
def test_every_placeholder_of_the_report_is_filled_from_the_committed_results(part, tmp_path):
    silent = Sources(DOCS / "results", tmp_path, lambda name, rows, path: None)
    text = paper._filled(part, silent)
    assert "{{" not in text and "{%" not in text


@needs_tools
def test_the_report_is_one_file_of_html_and_a_pdf(tmp_path, sources):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "1.md").write_text(
        "---\ntitle: T\n---\n\n# One {#sec-one}\n\n$$ x^2 $$\n\n"
        '{{ table("demo") }}\n\nBy [@vincent2011connection].\n'
    )
    made = paper.build(folder, sources.folder, DOCS / "papers.md", tmp_path / "out", draw)
    text = made.html.read_text("utf-8")
    assert "<math" in text and "Vincent" in text and "gradlogp compare demo" in text
    assert not re.findall(r'(?:src|href)="(?!#|data:|https://arxiv)[^"]+"', text)
    assert made.pdf.read_bytes().startswith(b"%PDF") and made.used == ["demo"]


def test_a_source_with_a_number_is_refused_before_anything_is_written(tmp_path, sources):
    pytest.importorskip("pypandoc")
    pytest.importorskip("typst")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "1.md").write_text("It is 1.5.")
    with pytest.raises(UserError, match=r"typed by hand: 1\.5"):
        paper.build(tmp_path / "s", sources.folder, DOCS / "papers.md", tmp_path / "out", draw)
    assert not (tmp_path / "out").exists()

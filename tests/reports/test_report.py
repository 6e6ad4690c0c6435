"""The page: whole, self-contained, valid, honest, and written whatever is missing."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from gradlogp import reports
from gradlogp.core.errors import UserError
from gradlogp.experiments import RECIPES
from gradlogp.harness.kinds import KINDS
from gradlogp.reports import page
from gradlogp.reports.moving import Moving
from gradlogp.runs import Run, read_json, read_results, write_json, write_results
from tests.reports import fake
from tests.targets import DIGITS

VOID = {"meta", "img", "br", "link", "input", "hr", "source"}


class Checked(HTMLParser):
    """Every tag closed by its own, no id twice; keeps the text, and all that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                assert value not in self.ids
                self.ids.add(str(value))
            elif name == "href":
                self.links.add(str(value))
            elif name in ("src", "srcset", "data", "action", "poster"):
                self.fetched.append(str(value))
        if tag == "img":
            assert dict(attrs).get("alt")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data


def written(folder: Path) -> tuple[str, Checked]:
    text = reports.write(folder).read_text(encoding="utf-8")
    return text, Checked(text)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Checked]:
    return written(fake.comparison(tmp_path_factory.mktemp("reports") / "demo"))


def cells(text: str, method: str) -> str:
    """The row of a method in the first table, as words."""
    table = text[text.index("<table") : text.index("</table>")]
    line = next(tr for tr in table.split("<tr") if method in tr)
    return plain(line)


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


@pytest.mark.parametrize(
    "words",
    [
        "Who draws best?",
        "What each method draws",
        "Real pictures",
        "The numbers",
        "In words",
        "What the columns mean",
        "Every number",
        "Energy gap",
        "Langevin displacement",
        "Denoising loss per pixel",
        "Samples as training progresses",
        "From noise.",
        "From real pictures.",
        "From pure noise to a picture.",
        "Final samples.",
        "Asked for a class.",
        "Noise taken away",
        "Noise 0.3.",
        "To do it again",
        "Every setting of this run",
        "How it was measured",
        "The protocol of each number",
        "replay buffer of 2,048",
        "training.images",
        "0f0f",
        "2.13.0",
        "2030-01-02",
        "72,769",
        "176,000",
        "real training pictures",
        "Gaussian of the pixels",
    ],
)
def test_every_section_is_there(demo, words):
    assert words in " ".join(demo[1].words.split())


def test_nothing_is_fetched_and_nothing_runs(demo):
    text, page = demo
    embedded = ("data:image/png;base64,", "data:image/gif;base64,")
    assert page.fetched and all(uri.startswith(embedded) for uri in page.fetched)
    assert not re.search(r"https?:|url\(|@import|<script|<link|<iframe|\son\w+=", text)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


def test_final_samples_of_every_method_come_before_any_number_or_chart(demo):
    text, _ = demo
    first = text[: text.index("<table")]
    assert first.count("A hundred samples of") == 3 and '<svg class="chart"' not in first


def test_the_chains_of_every_method_move_magnified_by_whole_numbers(demo):
    first = demo[0][: demo[0].index("<table")]
    assert first.count("data:image/gif;base64,") == 3
    assert first.count('<picture class="moving" style="--w:48px;--wide:6;--narrow:3"') == 3
    assert first.count("prefers-reduced-motion: reduce") == 3  # each has a still beside it


@pytest.mark.parametrize(("width", "times"), [(48, (6, 3)), (148, (2, 1)), (384, (1, 1))])
def test_a_film_takes_as_much_room_as_a_whole_number_allows(width, times):
    style = Moving("data:", width).style()
    assert style == f"--w:{width}px;--wide:{times[0]};--narrow:{times[1]}"


def test_a_film_opens_the_page_where_the_folder_has_one(tmp_path):
    folder = fake.comparison(tmp_path / "c")
    assert 'class="opening"' not in written(folder)[0]
    fake.film(folder / "samples" / "opening.gif", 148)
    write_json(folder / "samples" / "films.json", {"opening": ["25 <digits>"]})
    text, page = written(folder)
    assert "25 <digits>" in page.words and text.index("25 &lt;") < text.index("<nav")
    assert "--w:148px;--wide:4;--narrow:2" in text


def test_on_paper_the_last_frame_stands_for_a_film(tmp_path):
    """Which begins with noise; a damaged film has none, and the page is written all the same."""
    folder = fake.comparison(tmp_path / "c")
    text = written(folder)[0]
    stills = re.findall(r'<span class="moving last"[^>]*><img [^>]*base64,([^"]+)"', text)
    films = text.count('<picture class="moving"')
    assert len(stills) == films > 1 and ".last { display: none; }" in text
    assert re.search(
        r"@media print {[^\n]*picture.moving { display: none; } .last { display: block", text
    )
    for still in stills:
        with Image.open(io.BytesIO(base64.b64decode(still))) as frame:
            assert frame.getextrema()[0] == (160, 160), "the third of three greys"
    for film in folder.rglob("moving.gif"):
        film.write_bytes(film.read_bytes()[:20])
    text = written(folder)[0]
    assert (
        text.count('<picture class="moving"') == films and '<span class="moving last"' not in text
    )


def test_the_contents_stay_and_details_are_folded(demo):
    text, page = demo
    assert "nav { position: sticky; top: 0;" in text
    folded = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    for words in ("Energy gap", "Final samples.", "What the columns mean</", "Every setting"):
        assert words in text and words not in folded.replace("<summary>", "")
    assert {"#pictures", "#numbers", "#method-1", "#measured"} <= page.links


def test_energies_are_compared_at_their_own_training_steps(tmp_path):
    folder = fake.comparison(tmp_path / "c", ebm={}, ebm_no_buffer={}, ncsn={})
    at = {"steps": 20}
    more = [("ebm", 5.0), ("ebm_no_buffer", 5.1)]
    found = [{"method": m, **fake.row("fd", v, "lower", axes=at)} for m, v in more]
    write_results(folder, [*read_results(folder), *found])
    _, page = written(folder)
    said = (
        "After the 20 steps that both are trained with, instead of 300, neither is clearly better:"
        " Fréchet distance 5.00 ± 0.05 against 5.10 ± 0.05."
    )
    assert said in " ".join(page.words.split())
    found[1]["value"] = 2.0
    write_results(folder, [*read_results(folder)[:-1], found[1]])
    title = "Energy-based model without a replay buffer, chains of 20 steps is better"
    assert title in " ".join(written(folder)[1].words.split())


def test_the_best_is_marked_where_it_is_whoever_it_is(demo):
    text, _ = demo
    assert "5.00 ★" in cells(text, "ncsn_class")  # Frechet distance, lower is better
    assert "0.970 ★" in cells(text, "ebm_no_buffer")  # precision: the baseline wins, and it says so
    assert "worse in precision" in text and "★" not in cells(text, "real training pictures")


def test_losing_to_the_trivial_method_is_said(tmp_path):
    _, page = written(fake.comparison(tmp_path / "c", ebm={"times": 9.0}, ncsn={}))
    assert "It is worse than the trivial method in Fréchet distance." in page.words


def test_standard_errors_and_cost_stand_beside_the_numbers(demo):
    row = cells(demo[0], "<code>ebm<")
    assert (
        "10.0" in row
        and "± 0.1" in row
        and "75 s 176,000" in row
        and "10 ms 300" in row
        and "72,769" in row
    )


def test_a_result_at_another_chain_length_has_a_table_of_its_own(tmp_path):
    made = fake.run(tmp_path / "c", "ebm_no_buffer")
    further = fake.row("fd", 2.0, "lower", axes={"steps": 20})
    made.write_results([*made.results(), further])
    made.close()
    text, _ = written(tmp_path / "c")
    assert "2.000" not in cells(text, "<code>ebm_no_buffer<")
    further = text[text.index("Fréchet distance after so many steps from noise") :]
    assert "20 ebm_no_buffer 2.000 ± 0.020" in plain(
        further[further.index("<th") : further.index("</table>")]
    )


def test_a_comparison_that_draws_nothing_speaks_of_no_pictures(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    table = {"title": "By density", "metrics": ["rmse"], "over": "density", "of another": 1}
    write_json(
        folder / "compare.json",
        {
            "comparison": "score_1d",
            "question": "Which?",
            "methods": ["esm", "ism"],
            "headline": [{"metric": "rmse"}],
            "tables": [table],
        },
    )
    for method, value in (("esm", 0.1), ("ism", 0.2)):
        config = {
            "recipe": {"kind": "ScoreMatching", "experiment": method, "seed": 0},
            "data": {"name": "laws", "checksums": {}},
        }
        with Run.create(folder / method, config, {"date": "2030-01-02"}) as made:
            made.write_results(
                [
                    fake.row("rmse", value, "lower", reference=0.0),
                    fake.row("rmse", 3 * value, "lower", axes={"density": "mixture"}),
                ]
            )
            made.mark("evaluated", seconds=1.0, evaluations=10, parameters=5)
    text, page = written(folder)
    numbers = page.words[
        page.words.index("The numbers") : page.words.index("What the columns mean")
    ]
    assert not re.search("pictures|pixel|drawings|to draw one", numbers)
    assert (
        "a perfect method (expected)" in numbers
        and "from testing on a limited number of examples" in numbers
    )
    assert "By density (low)" in numbers and "method mixture esm 0.300 best ± 0.003" in plain(
        text[text.index("By density") :]
    )


def test_captions_stand_under_the_columns(demo):
    text, _ = demo
    assert "<span>0</span><span>12</span><span>300</span>" in text
    assert "<span>noise</span><span>20</span><span>de\u00adnoised</span>" in text


def test_the_commands_make_the_same_settings_again(demo):
    text = plain(demo[0])
    assert (
        "gradlogp train ebm --dataset digits --preset quick --seed 0 --out ebm --set"
        " training.images=8000" in text
    )
    assert "gradlogp evaluate ebm" in text
    assert (
        "gradlogp compare demo --dataset digits --preset quick --seed 0 --set training.images=8000"
        in text
    )


def test_what_the_guard_said_is_repeated_without_its_time(demo):
    assert (
        "<li>guard, step 7: chains move 0.001" in demo[0]
        and demo[0].count("had nothing to say") == 2
    )


def test_names_are_text(tmp_path):
    text, page = written(
        fake.comparison(tmp_path / "a<i>b", dataset="folder:<b>&'\"@8", ebm={}, ncsn={})
    )
    assert (
        "<b>&" not in text
        and "<i>b" not in text
        and "folder:<b>&" in page.words
        and "a<i>b" in page.words
    )


def test_numbers_that_are_none(tmp_path):
    folder = fake.comparison(
        tmp_path / "c", ebm={"fd": float("nan"), "recall": float("inf")}, ncsn={}
    )
    rows = [
        row for row in read_results(folder) if row["metric"] != "coverage" or row["method"] == "ebm"
    ]
    write_results(
        folder,
        [{**row, "stderr": None} if row["metric"] == "precision" else row for row in rows],
    )
    text, page = written(folder)
    assert "not a number" in cells(text, "<code>ebm<") and "∞" in cells(text, "<code>ebm<")
    assert "not a number ★" not in plain(text) and "nan" not in page.words.lower().split()


def test_several_seeds_are_averaged(tmp_path):
    folder = fake.comparison(tmp_path / "c", seeds=(3, 4), ebm={}, ncsn={})
    rows = read_results(folder)
    first = next(row for row in rows if row["method"] == "ebm" and row["metric"] == "fd")
    first["value"] = 14.0  # with the other's 10: mean 12, standard error 4 / sqrt 2 / sqrt 2
    write_results(folder, rows)
    text, page = written(folder)
    assert "12.0" in cells(text, "<code>ebm<") and "± 2.0" in cells(text, "<code>ebm<")
    assert "seeds 3, 4" in page.words and "--seed 3 --seeds 2" in plain(text)


def test_an_unfinished_comparison_says_what_is_missing(tmp_path):
    folder = fake.comparison(
        tmp_path / "c", ebm={}, ncsn={"state": "training"}, ncsn_class={"state": "trained"}
    )
    note = read_json(folder / "compare.json")
    write_json(folder / "compare.json", {**note, "methods": [*note["methods"], "ebm_class"]})
    _, page = written(folder)
    steps = RECIPES["ncsn"](DIGITS, "quick", 0).training.steps
    assert (
        f"900 of {steps:,} updates" in page.words and "trained but not yet measured" in page.words
    )
    assert "ebm_class has not begun" in page.words and "Denoising loss per pixel" in page.words


def test_a_single_run_has_a_page_too(tmp_path):
    made = fake.run(tmp_path / "run", "ebm_class")
    made.write_results(
        [{**row, "reference": 1.5} if row["metric"] == "fd" else row for row in made.results()]
    )
    made.close()
    text, page = written(tmp_path / "run")
    assert "Energy-based model with a replay buffer, told the class" in page.words
    assert (
        "1.50" in cells(text, "a perfect method")
        and "★" not in page.words
        and "compare demo" not in plain(text)
    )


def test_a_run_that_has_only_begun(tmp_path):
    made = fake.run(tmp_path / "run", "ncsn", state="training")
    made.close()
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and path.name != "config.json":
            path.unlink()
    _, page = written(tmp_path / "run")
    assert "has only begun" in page.words and "img" not in page.tags


def test_a_damaged_picture_is_left_out(tmp_path):
    fake.run(tmp_path / "run", "ebm").close()
    (tmp_path / "run" / "samples" / "final.png").write_bytes(b"not a picture")
    assert "Final samples." not in written(tmp_path / "run")[1].words


def test_settings_of_another_version_are_shown_all_the_same(tmp_path):
    fake.run(tmp_path / "run", "ebm").close()
    config = read_json(tmp_path / "run" / "config.json")
    config["config"]["recipe"] = {
        "kind": "Newer",
        "experiment": "newer",
        "preset": "quick",
        "knob": 5,
    }
    write_json(tmp_path / "run" / "config.json", config)
    _, page = written(tmp_path / "run")
    assert "newer" in page.words and "knob" in page.words


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="no run folder"):
        reports.write(tmp_path)
    write_json(tmp_path / "compare.json", {"comparison": "ebm", "methods": ["ebm"]})
    with pytest.raises(UserError, match="no run has begun"):
        reports.write(tmp_path)
    write_json(tmp_path / "compare.json", [1])
    with pytest.raises(UserError, match="should be an object, but is a list"):
        reports.write(tmp_path)


def test_writing_leaves_the_page_its_tables_and_nothing_else(tmp_path):
    folder = fake.comparison(tmp_path / "c", ebm={}, ncsn={})
    before = set(folder.rglob("*"))
    reports.write(folder)
    reports.write(folder)
    assert set(folder.rglob("*")) - before == {
        folder / name for name in ("report.html", "results.csv", "results.md", "results.tex")
    }


def test_the_page_of_other_data_speaks_of_them_and_leaves_markup_and_names_alone() -> None:
    text = (
        '<style>.pixels{}</style><body><img class="pixels" alt="pictures"><p>Real pictures, a'
        " Picture. Loss per pixel; pictures.csv, runs/pictures and <code>pixel</code></p>"
    )
    said = page.of_kind(text, cast(Any, SimpleNamespace(kind=KINDS["row"])))
    assert "Real rows, a Row. Loss per entry; pictures.csv, runs/pictures and" in said
    assert said.count("pixel") == 3 and 'alt="pictures"' in said
    assert page.of_kind(text, cast(Any, SimpleNamespace(kind=KINDS["picture"]))) == text

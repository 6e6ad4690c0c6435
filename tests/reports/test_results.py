"""The docs' page of results: made from a folder, and made again without losing what a person wrote."""

import pytest
from PIL import Image

from gradlogp.core.errors import UserError
from gradlogp.reports import write_results
from gradlogp.reports.results import SAID, UNSAID
from gradlogp.runs import write_json
from tests.reports import fake


def pictured(folder):
    (folder / "samples").mkdir(exist_ok=True)
    Image.effect_noise((1600, 40), 50).save(folder / "samples" / "figure-curve.png")
    write_json(folder / "samples" / "figures.json", {"figure-curve.png": "A curve."})
    return folder


def test_a_page_has_the_command_the_table_and_small_pictures(tmp_path):
    path = write_results(pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={})), tmp_path / "docs")
    text = path.read_text(encoding="utf-8")
    assert path.name == "demo.md" and "gradlogp compare demo --dataset digits" in text and "| ebm |" in text
    assert "![A curve.](images/demo-curve.png)" in text and UNSAID in text
    with Image.open(tmp_path / "docs" / "images" / "demo-curve.png") as small:
        assert small.width == 1100 and small.mode == "P"


def test_what_a_person_wrote_is_kept(tmp_path):
    folder = pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={}))
    path = write_results(folder, tmp_path / "docs")
    path.write_text(path.read_text(encoding="utf-8").replace(f"{SAID}\n\n{UNSAID}", f"{SAID}\n\nThe buffer wins.\n\n- By far."))
    again = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert again.count("The buffer wins.\n\n- By far.") == 1 and UNSAID not in again and again.count("![") == 1


def test_a_single_run_is_refused(tmp_path):
    folder = fake.comparison(tmp_path / "c", ebm={}, ncsn={})
    with pytest.raises(UserError, match="a single run"):
        write_results(folder / "ebm", tmp_path / "docs")

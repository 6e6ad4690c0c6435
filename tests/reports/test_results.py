"""The docs' page of results: made from a folder, and made again without losing what a person wrote."""

import io
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gradlogp import reports
from gradlogp.core.errors import UserError
from gradlogp.harness import Table, figures
from gradlogp.reports import write_results
from gradlogp.reports.numbers import Key, Numbers
from gradlogp.reports.protocols import _told, protocols
from gradlogp.reports.read import Page
from gradlogp.reports.results import SAID, UNSAID, compressed, publishable
from gradlogp.runs import read_json, write_json
from tests.reports import fake

ACCURACY = {task: Key.of("accuracy", {"task": task}) for task in ("3v5", "4v9")}
NLL = Key.of("nll", {"task": "3v5"})


def pictured(folder):
    (folder / "samples").mkdir(exist_ok=True)
    Image.effect_noise((1600, 40), 50).save(folder / "samples" / "figure-curve.png")
    write_json(folder / "samples" / "figures.json", {"figure-curve.png": "A curve."})
    return folder


def test_a_page_has_the_command_the_table_and_small_pictures(tmp_path):
    path = write_results(
        pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={})), tmp_path / "docs"
    )
    text = path.read_text(encoding="utf-8")
    assert (
        path.name == "demo.md"
        and "gradlogp compare demo --dataset digits" in text
        and "| ebm |" in text
    )
    assert "![A curve.](images/demo-curve.png)" in text and UNSAID in text
    with Image.open(tmp_path / "docs" / "images" / "demo-curve.png") as small:
        assert small.width == 1100 and small.mode == "P"


def test_what_a_person_wrote_is_kept(tmp_path):
    folder = pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={}))
    path = write_results(folder, tmp_path / "docs")
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            f"{SAID}\n\n{UNSAID}", f"{SAID}\n\nThe buffer wins.\n\n- By far."
        )
    )
    again = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert (
        again.count("The buffer wins.\n\n- By far.") == 1
        and UNSAID not in again
        and again.count("![A curve.]") == 1
    )


def test_the_samples_of_each_are_shown_unless_the_comparison_drew_those_of_all(tmp_path):
    folder = pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={}))
    text = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert "![ebm: Fresh samples.](images/demo-ebm-final.png)" in text
    assert "![ncsn: Fresh samples.](images/demo-ncsn-final.png)" in text
    write_json(folder / "samples" / "figures.json", {"figure-samples.png": "All of them."})
    Image.effect_noise((1600, 40), 50).save(folder / "samples" / "figure-samples.png")
    text = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert "All of them." in text and "Fresh samples" not in text


def test_a_grid_of_samples_and_a_figure_of_one_name_are_two_pictures(tmp_path):
    folder = pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={}))
    Image.effect_noise((40, 40), 50).save(folder / "ebm" / "samples" / "classes.png")
    write_json(folder / "samples" / "figures.json", {"figure-classes.png": "By class."})
    Image.effect_noise((80, 40), 50).save(folder / "samples" / "figure-classes.png")
    text = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert "](images/demo-ebm-classes.png)" in text and "](images/demo-classes.png)" in text
    for name, width in (("demo-ebm-classes", 40), ("demo-classes", 80)):
        with Image.open(tmp_path / "docs" / "images" / f"{name}.png") as picture:
            assert picture.width == width


def test_a_picture_that_many_methods_drew_of_themselves_is_shown_for_the_first(tmp_path):
    names = ("ebm", "ncsn", "ddpm", "gan", "vae", "wgan_gp")
    for n, shown in ((5, names[:5]), (6, names[:1])):
        folder = pictured(fake.comparison(tmp_path / str(n), **{name: {} for name in names[:n]}))
        for name in names[:n]:
            pictured(folder / name)
        text = write_results(folder, tmp_path / f"docs-{n}").read_text(encoding="utf-8")
        found = [m for m in names if f"![{m}: A curve.](images/demo-{m}-curve.png)" in text]
        assert tuple(found) == shown and "![A curve.](images/demo-curve.png)" in text
        assert all(f"images/demo-{name}-final.png" in text for name in names[:n])


def test_a_picture_that_one_method_alone_drew_says_whose_it_is(tmp_path):
    folder = pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={}))
    pictured(folder / "ebm")
    write_json(folder / "samples" / "figures.json", {})
    text = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert "![ebm: A curve.](images/demo-curve.png)" in text


def test_a_network_that_methods_share_is_learned_once(tmp_path):
    folder = fake.comparison(tmp_path / "c", ebm={}, ncsn={}, gan={})
    for name, seconds in (("ebm", 1800.5), ("ncsn", 1800.5), ("gan", 3600.0)):
        status = folder / name / "status.json"
        write_json(status, read_json(status) | {"seconds": seconds})
    text = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert "; 1 h 30 min of learning in all." in text
    assert read_json(tmp_path / "docs" / "demo.json")["about"]["seconds"] == 5400.5


def test_further_tables_come_from_the_folder_and_what_a_person_wrote_stays_before_them(tmp_path):
    folder = pictured(fake.comparison(tmp_path / "c", ebm={}, ncsn={}))
    table = Table("Restored, by noise", ("psnr",), "noise")
    write_json(
        folder / "compare.json", read_json(folder / "compare.json") | {"tables": [asdict(table)]}
    )
    path = write_results(folder, tmp_path / "docs")
    path.write_text(path.read_text(encoding="utf-8").replace(UNSAID, "The buffer wins."))
    for _ in range(2):
        text = write_results(folder, tmp_path / "docs").read_text(encoding="utf-8")
    assert (
        text.count("### Restored, by noise (high)\n\n| method | 0.1 | 0.3 |") == 1
        and text.count("The buffer wins.") == 1
    )
    assert (
        text.index("The buffer wins.")
        < text.index("## Tables")
        < text.index("## How it was measured")
    )
    reports.write(folder)
    assert "### Restored, by noise (high)" in (folder / "results.md").read_text(encoding="utf-8")


def told(*rows, metrics=None, title="{}"):
    """Of rows (method, key, protocol); `title` of a method."""
    found = [
        {"method": m, "metric": k.metric, "axes": dict(k.axes), "value": 1.0, "protocol": says}
        for m, k, says in rows
    ]
    methods = [
        SimpleNamespace(name=m, title=title.format(m)) for m in dict.fromkeys(m for m, *_ in rows)
    ]
    numbers = Numbers(found, [m.name for m in methods])
    return protocols(Page(Path(), {}, methods, None, [], numbers), metrics)


def test_a_protocol_is_said_once_where_all_that_have_the_metric_agree():
    rows = [
        ("a", ACCURACY["3v5"], "1902 labelled examples"),
        ("b", ACCURACY["3v5"], "1902 labelled examples"),
        ("a", ACCURACY["4v9"], "1991 labelled examples"),
        ("a", NLL, "nats"),
    ]
    assert told(*rows) == [
        ("accuracy 3v5, 4v9", "1902/1991 labelled examples"),
        ("surprise, nats 3v5", "nats"),
    ]
    assert told(*rows, metrics=[NLL]) == [("surprise, nats 3v5", "nats")]


def test_where_methods_differ_what_they_share_is_said_first_and_the_rest_by_name():
    rows = [
        (m, Key("psnr"), f"dB; noise 0.5; {how}; clamped")
        for m, how in (("a", "one step"), ("b", "8 chains"), ("c", "one step"), ("d", "one step"))
    ]
    assert told(*rows) == [
        ("restored, dB", "dB; noise 0.5; b: 8 chains; clamped; all others: one step; clamped")
    ]


def test_thin_lines_keep_their_colours(tmp_path):
    with figures.sheet(tmp_path / "chart.png") as (axis,):
        figures.lines(
            axis, {str(i): ((0, 1), (i, i + 0.5)) for i in range(len(figures.COLOURS))}, "x", "y"
        )
    with (
        Image.open(tmp_path / "chart.png") as before,
        Image.open(io.BytesIO(compressed(tmp_path / "chart.png"))) as after,
    ):
        x, y = (np.asarray(picture.convert("RGB"), dtype=int) for picture in (before, after))
    coloured = x.max(-1) - x.min(-1) > 60
    assert coloured.sum() > 1000 and np.percentile(abs(x - y).max(-1)[coloured], 99) < 8


def test_natural_pictures_keep_all_their_colours(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(x).save(tmp_path / "picture.png")
    with Image.open(io.BytesIO(compressed(tmp_path / "picture.png"))) as after:
        assert np.array_equal(np.asarray(after), x)


def test_a_single_run_is_refused(tmp_path):
    folder = fake.comparison(tmp_path / "c", ebm={}, ncsn={})
    with pytest.raises(UserError, match="a single run"):
        write_results(folder / "ebm", tmp_path / "docs")


@pytest.mark.parametrize(
    "figure", ["nearest", "recovery-block", "recovery-random", "from-data", "levels"]
)
def test_examples_of_data_that_may_not_be_published_are_left_out(figure):
    assert not publishable(f"figure-{figure}.png", "modelnet10@16")
    assert publishable(f"figure-{figure}.png", "mnist")
    assert publishable("figure-long-run.png", "modelnet10@16")


def test_two_methods_of_one_title_keep_both_their_protocols_under_their_names():
    assert _told([("a",), ("a",)], ["x; y", "x; z"]) == "x; a: y; a: z"
    rows = [(m, Key("psnr"), f"dB; {how}") for m, how in (("a", "one step"), ("b", "8 chains"))]
    assert told(*rows, title="one title") == told(*rows)

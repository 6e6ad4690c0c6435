"""`gradlogp bench`: rows become a page, which says how to make it again."""

import json
from types import SimpleNamespace
from typing import get_args

import pytest

from gradlogp.bench import BENCHES, Bench
from gradlogp.cli import main
from gradlogp.cli.arguments import Bench as Words


def fake(monkeypatch, rows, **more):
    module = SimpleNamespace(rows=rows, page=lambda rows: f"# A page\n\n{rows[0]['x']:g}\n", **more)
    monkeypatch.setattr(Bench, "load", lambda self: module)


def test_it_prints_the_page_and_writes_it_with_its_command_and_date(tmp_path, monkeypatch, capsys):
    drawn = []
    fake(
        monkeypatch,
        lambda seconds=5.0: [{"x": seconds}],
        figure=lambda rows, path: drawn.append(path),
    )
    assert (
        main(
            [
                "bench",
                "overhead",
                "--seconds",
                "2",
                "--date",
                "2026-01-31",
                "--write",
                str(tmp_path),
            ]
        )
        == 0
    )
    text = (tmp_path / "overhead.md").read_text()
    assert text.startswith("# A page\n\n2\n") and text in capsys.readouterr().out
    assert "`gradlogp bench overhead --seconds 2 --write docs` on 2026-01-31" in text
    assert drawn == [tmp_path / "images" / "overhead.png"]


def test_the_seeds_are_asked_for_and_said(tmp_path, monkeypatch):
    fake(monkeypatch, lambda seeds=1: [{"x": float(seeds)}])
    assert main(["bench", "ablation", "--seeds", "3", "--write", str(tmp_path)]) == 0
    text = (tmp_path / "ablation.md").read_text()
    assert (
        text.startswith("# A page\n\n3\n")
        and "`gradlogp bench ablation --seeds 3 --write docs`" in text
    )


def test_what_a_person_wrote_on_the_page_is_kept(tmp_path, monkeypatch):
    fake(monkeypatch, lambda seeds=1: [{"x": float(seeds)}])
    (tmp_path / "ablation.md").write_text("# Old\n\n## What it shows\n\nBuffers help.\n")
    assert main(["bench", "ablation", "--seeds", "3", "--write", str(tmp_path)]) == 0
    text = (tmp_path / "ablation.md").read_text()
    assert (
        text.startswith("# A page")
        and text.endswith("\n\n## What it shows\n\nBuffers help.\n")
        and "Old" not in text
    )


def test_with_json_the_rows_alone_are_on_stdout(monkeypatch, capsys):
    fake(monkeypatch, lambda: [{"x": 3.0}])
    assert main(["bench", "accuracy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"x": 3.0}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["accuracy", "--seconds", "3"], "counts evaluations, not seconds"),
        (["accuracy", "--seeds", "3"], "has no seeds to repeat"),
        (["accuracy", "--write", "nowhere"], "there is no folder nowhere"),
        (["accuracy", "--seconds", "0"], "--seconds"),
        (["accurate"], "accuracy"),
    ],
)
def test_wrong_words_are_one_line(words, message, monkeypatch, capsys):
    fake(monkeypatch, lambda: [{"x": 3.0}])
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_every_bench_can_be_named():
    assert get_args(Words.model_fields["name"].annotation) == tuple(BENCHES)

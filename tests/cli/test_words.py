"""The verbs, their help, and what is printed without any training."""

import importlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from gradlogp.cli import main
from gradlogp.cli.arguments import VERBS, Kind
from gradlogp.cli.parse import parse, sentence, unboxed
from gradlogp.cli.shared import Preset
from gradlogp.cli.terminal import Download, Terminal


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def test_help_is_instant() -> None:
    code = (
        "import sys; from gradlogp.cli import main; code = main(sys.argv[1:]); assert not {'torch',"
        " 'numpy', 'matplotlib', 'PIL', 'rich'} & set(sys.modules); sys.exit(code)"
    )
    seconds = []
    for words in (["--help"], ["train", "--help"], ["--help"]):
        began = os.times()
        subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)
        ended = os.times()  # processor time, which a busy machine hardly changes
        seconds.append(
            ended.children_user
            + ended.children_system
            - began.children_user
            - began.children_system
        )
    assert min(seconds) < 1.0  # 0.25 s on a quiet machine


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.findall(r"^  (\w+) ", said(capsys, "--help"), re.MULTILINE) == list(VERBS)


def test_the_help_ends_no_sentence_in_the_middle(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (40, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = said(capsys, "--help")
        assert all(len(line) <= columns for line in text.splitlines() if line[:2] == "  ")
        for takes, _ in VERBS.values():
            assert sentence(takes).endswith(".") and sentence(takes) in " ".join(text.split())


@pytest.mark.parametrize("verb", VERBS)
def test_a_help_is_broken_by_the_screen_and_not_by_the_source(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    takes = VERBS[verb][0]
    assert not any("\n" in (field.description or "") for field in takes.model_fields.values())
    examples = [x.strip() for x in (takes.__doc__ or "").splitlines() if "$ gradlogp" in x]
    assert set(examples) <= {line.strip() for line in said(capsys, verb, "--help").splitlines()}


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_a_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"usage: gradlogp {verb}" in said(capsys, verb, "--help")
    takes, does = VERBS[verb]
    module, function = does.split(".")
    assert callable(getattr(importlib.import_module(f"gradlogp.cli.{module}"), function))
    assert all(field.description for field in takes.model_fields.values())


def test_the_names_in_the_help_are_those_of_the_tables() -> None:
    from gradlogp.cli.contents import TABLES
    from gradlogp.harness import PRESETS

    assert get_args(Preset) == tuple(PRESETS)
    assert get_args(Kind) == ("all", *TABLES)


@pytest.mark.parametrize(
    "box",
    [
        (
            "╭─ Unrecognized options ─────────╮\n│ Unrecognized options: \x1b[91m--sed\x1b[0m, 3"
            " │\n│ ────────────────── │\n│ Perhaps you meant: │\n│     --seed INT │\n│"
            " ────────────────── │\n│ For full helptext │\n╰────────────────────╯\n"
        ),
        (
            " Unrecognized options \n ------------------- \n  Unrecognized options: --sed, 3  \n"
            " ------------------- \n  Perhaps you meant:\n      --seed INT\n -------------------\n "
            " For full helptext\n \n"
        ),
    ],
    ids=["drawn", "plain"],
)
def test_a_box_becomes_a_sentence(box: str) -> None:
    assert unboxed(box) == "unrecognized options: --sed, 3; did you mean --seed?"


def test_list_has_a_line_about_everything(capsys: pytest.CaptureFixture[str]) -> None:
    tables = json.loads(said(capsys, "list", "--json"))
    assert {"ebm", "ncsn"} <= set(tables["experiments"]) and "digits" in tables["data"]
    assert [name for table in tables.values() for name, text in table.items() if not text] == []
    assert said(capsys, "list", "presets").splitlines()[0].startswith("presets (")


def test_a_dry_run_resolves_the_settings_and_does_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = [
        "--set",
        "training.images=640",
        "net.channels=8,8",
        "--set",
        "buffer.restart_prob=.1",
    ]
    words = ["train", "ebm", "--dry-run", "--seed", "3", *changes]
    text = said(capsys, *words)
    for line in (
        "seed = 3",
        "training.images = 640",
        "net.channels = (8, 8)",
        "buffer.restart_prob = 0.1",
        "# steps: 10",
    ):
        assert line in text.splitlines()
    result = json.loads(said(capsys, *words, "--json"))["ebm"]
    assert result["steps"] == 10 and result["settings"]["net.channels"] == [8, 8]
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_takes_changes_for_one_method(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(
        said(
            capsys,
            "compare",
            "demo",
            "--dry-run",
            "--json",
            "--set",
            "ebm:chain_steps=7",
            "training.batch=16",
        )
    )
    assert (
        found["ebm"]["settings"]["chain_steps"]
        == 7
        != found["ebm_no_buffer"]["settings"]["chain_steps"]
    )
    assert {method["settings"]["training.batch"] for method in found.values()} == {16}


def test_the_digits_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "data", "digits", "--json"))
    assert (
        found["shape"] == [1, 8, 8]
        and sum(found["counts"].values()) == 1797
        and not found["downloaded"]
    )
    assert "1,257 train" in said(capsys, "data", "digits")


def test_away_from_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("gradlogp.cli.terminal.time.monotonic", lambda: clock[0])
    with Terminal() as terminal:
        terminal.begin("train", 1000, 100)
        for _ in range(25):
            clock[0] += 1
            terminal.advance(4)
    assert capsys.readouterr().out.splitlines() == [
        "train: goes on from 100 of 1,000",
        "train: 140 of 1,000, 4/s, 0:03:35 left",
        "train: 180 of 1,000, 4/s, 0:03:25 left",
    ]


def test_the_time_left_is_not_that_of_the_first_step_which_warms_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("gradlogp.cli.terminal.time.monotonic", lambda: clock[0])
    with Terminal() as terminal:
        terminal.begin("sample", 100)
        for seconds in (20, 5, 5):
            clock[0] += seconds
            terminal.advance(10)
    assert capsys.readouterr().out.splitlines() == [
        "sample: 10 of 100",
        "sample: 30 of 100, 2/s, 0:00:35 left",
    ]


def test_at_a_terminal_progress_is_a_bar_that_leaves_nothing_behind() -> None:
    with Terminal() as terminal:
        terminal.console = Console(force_terminal=True, width=100, file=io.StringIO(), record=True)
        terminal.begin("train", 10)
        assert terminal.bars is not None
        terminal.advance(4)
        terminal.say("guard: something")
        assert terminal.bars.tasks[0].completed == 4
        terminal.begin("sample", 10)
        other = terminal.task("ncsn")
        other.begin("train", 5)
        assert [task.description for task in terminal.bars.tasks] == ["sample", "ncsn: train"]
        other.end()
        terminal.end()
    assert terminal.bars is None
    assert "guard: something" in terminal.console.export_text()


def test_a_download_tells_its_bytes_file_by_file() -> None:
    told: list[tuple[object, ...]] = []

    class Ear(Terminal):
        def begin(self, label: str, total: int, done: int = 0) -> None:
            told.append((label, total, done))

        def advance(self, count: int = 1, **numbers: float) -> None:
            told.append((count,))

        def end(self) -> None: ...

    progress = Download(Ear())
    for call in (("a", 5, 20), ("a", 20, 20), ("b", 3, None)):
        progress(*call)
    assert told == [("a (bytes)", 20, 5), (0,), (15,), ("b (bytes)", 0, 3), (0,)]


def test_examples_in_the_help_have_lines_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for verb, (takes, _) in VERBS.items():
        examples = re.findall(r"^    ((?:\$ )?gradlogp .*)$", takes.__doc__ or "", re.MULTILINE)
        assert set(examples) <= {line.strip() for line in said(capsys, verb, "--help").split("\n")}


@pytest.mark.parametrize("flag", ["--runs", "--data"])
def test_the_studio_opens_no_file_as_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str
) -> None:
    pytest.importorskip("fastapi", reason="needs the extra app")
    (tmp_path / "a file").touch()
    assert main(["app", flag, str(tmp_path / "a file"), "--port", "0"]) == 2
    assert f"{flag} {tmp_path}/a file: expected a folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["bananna"], ["ring", "--sampler", "langevn"]])
def test_what_cannot_be_shown_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["show", *words]) == 2
    near = {"bananna": "banana", "langevn": "langevin"}[words[-1]]
    assert f"did you mean {near!r}? There are " in capsys.readouterr().err


@pytest.mark.parametrize("form", ["film", "ladder"])
def test_a_run_that_is_not_there_is_not_called_a_density(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    assert main(["show", "runs/none", "--as", form]) == 2
    assert "runs/none is no run." in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_no_help_names_none_for_a_default(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([verb, "--help"])
    assert "None)" not in capsys.readouterr().out

"""The parts of a comparison as commands: in any order, on any engine, the results are those of one
go.
"""

import json
import shlex
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from gradlogp.cli import main
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.harness.engines import ENGINES, Killed, perform, ray, slurm


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradlogp.experiments import COMPARISONS
    from tests.harness.test_trial import GUESS

    monkeypatch.setitem(COMPARISONS, "guess", GUESS)


def results(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text())


def compared(*words: str) -> int:
    return main(["compare", "guess", "--seeds", "2", *words])


def commands(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    capsys.readouterr()
    assert compared(*words, "--parts") == 0
    return capsys.readouterr().out.splitlines()


def test_parts_in_any_order_and_gathered_are_the_comparison_in_one_go(
    known: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "a folder"
    assert compared("--out", str(whole), "--workers", "1") == 0
    lines = commands(capsys, "--out", str(parts), "--set", "zero:answer=0")
    assert len(lines) == 4 and all(line.startswith("gradlogp compare guess ") for line in lines)
    for line in reversed(lines):
        assert main(shlex.split(line)[1:]) == 0
    assert not (parts / "results.json").exists()
    assert compared("--out", str(parts), "--set", "zero:answer=0", "--gather") == 0
    assert results(parts) == results(whole)


def test_further_seeds_join_those_that_are_done_and_fewer_are_refused(
    known: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(folder: Path, *words: str) -> int:
        return main(["compare", "guess", "--out", str(folder), "--workers", "1", *words])

    grown, whole = tmp_path / "grown", tmp_path / "whole"
    assert asked(grown) == 0
    first = {path: path.stat().st_mtime_ns for path in grown.glob("*/results.json")}
    assert asked(grown, "--seeds", "2") == asked(grown, "--seeds", "4") == 0
    assert asked(whole, "--seeds", "4") == 0
    assert results(grown) == results(whole)
    assert first == {path: path.stat().st_mtime_ns for path in first}
    capsys.readouterr()
    for words in (("--seeds", "3"), ("--seed", "1", "--seeds", "4"), ("--preset", "full")):
        assert asked(grown, *words) == 2
        assert "with these or more --seeds, to go on with it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"), [(("--part", "two-seed0"), "no part"), (("--gather",), "lacks 4 of 4 parts")]
)
def test_what_cannot_be_done_is_refused_before_a_classifier_is_trained(
    words: tuple[str, ...],
    said: str,
    known: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compared("--out", str(tmp_path / "c"), *words) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "c").exists()


def test_what_is_missing_is_named_and_nothing_written(
    known: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_ = commands(capsys, "--out", str(tmp_path / "c"))
    assert main(shlex.split(first)[1:]) == 0
    assert compared("--out", str(tmp_path / "c"), "--gather") == 2
    assert "lacks 3 of 4 parts: one-seed0, zero-seed1, one-seed1" in capsys.readouterr().err
    assert not (tmp_path / "c" / "results.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--part", "two-seed0", "--out", "c"], "no part 'two-seed0'; there are zero-seed0,"),
        (["--part", "zero-seed0"], "--part needs the comparison's folder: give --out"),
        (["--parts", "--gather"], "got --parts and --gather"),
        (["--gather", "--engine", "ray", "--out", "c"], "got --gather and --engine"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: list[str],
    message: str,
    known: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compared(*words) == 2
    assert message in capsys.readouterr().err


ONCE = """\
import os, pathlib, signal, sys
mark = pathlib.Path(sys.argv[1])
first = not mark.exists()
mark.write_text("begun" if first else "done")
first and os.kill(os.getpid(), signal.SIGKILL)
"""


def dying(mark: Path) -> list[str]:
    """A command whose first process is killed."""
    return [sys.executable, "-c", ONCE, str(mark)]


def exiting(code: int) -> list[str]:
    return [sys.executable, "-c", f"raise SystemExit({code})"]


def test_a_killed_command_is_told_from_one_that_failed(tmp_path: Path) -> None:
    assert perform(exiting(3)) == 3
    with pytest.raises(Killed, match=f"signal {int(signal.SIGKILL)}"):
        perform(dying(tmp_path / "mark"))


class Fake(types.ModuleType):
    """Ray as far as `engines.ray` knows it: tasks, their retries, and errors."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = types.SimpleNamespace(RayError=RuntimeError)
        self.started = False

    def is_initialized(self) -> bool:
        return self.started

    def init(self, **options: Any) -> None:
        self.started = True

    def remote(self, max_retries: int, retry_exceptions: list[type[Exception]]) -> Any:
        def attempts(work: Any, *words: Any) -> Any:
            for _ in range(max_retries):
                try:
                    return work(*words)
                except tuple(retry_exceptions):
                    continue
            return work(*words)

        def decorate(work: Any) -> Any:
            return types.SimpleNamespace(remote=lambda *words: (attempts, work, *words))

        return decorate

    def get(self, handle: Any) -> Any:
        attempts, work, *words = handle
        return attempts(work, *words)


@pytest.fixture(params=["slurm", "ray"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ray itself is played by `Fake`; submitit is itself, with local processes for SLURM's jobs."""
    if request.param == "ray":
        monkeypatch.setitem(sys.modules, "ray", Fake())
        return ray
    pytest.importorskip("submitit")
    return lambda *words: slurm(*words, cluster="local")


def test_an_engine_begins_the_killed_again_and_names_those_that_failed(
    engine: Any, tmp_path: Path
) -> None:
    parts = {"dies": dying(tmp_path / "mark"), "fails": exiting(2), "does": exiting(0)}
    with pytest.raises(UserError, match=r"not done: fails \(exit code 2\); their words"):
        engine(parts, tmp_path / "jobs", Silent())
    assert (tmp_path / "mark").read_text() == "done"


def test_an_engine_gives_up_after_three_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Fake())
    kill = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    with pytest.raises(UserError, match=r"a \(killed 3 times\)"):
        ray({"a": kill}, tmp_path, Silent())


def test_a_comparison_on_an_engine_is_the_comparison_in_one_go(
    known: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an engine that does each command here, for the comparison is known to this process
    alone.
    """

    def inside(commands: Any, folder: Path, listener: Any) -> None:
        for executable, flag, name, *words in commands.values():
            assert (executable, flag, name) == (sys.executable, "-m", "gradlogp")
            assert main(words) == 0

    monkeypatch.setitem(ENGINES, "ray", inside)
    assert compared("--out", str(tmp_path / "a"), "--engine", "ray") == 0
    assert compared("--out", str(tmp_path / "b"), "--workers", "1") == 0
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_an_engine_that_is_not_installed_is_a_line(
    known: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert compared("--out", str(tmp_path / "c"), "--engine", "ray") == 2
    assert "--engine ray needs ray; pip install 'gradlogp[ray]'" in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    """`python -m gradlogp`, which engines call, is what --parts prints as `gradlogp`."""
    words = [sys.executable, "-m", "gradlogp", "--version"]
    assert subprocess.run(words, capture_output=True, check=True).stdout.startswith(b"gradlogp ")

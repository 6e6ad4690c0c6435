"""go.py decides what to install and where. No network here, and no real environment."""

import ast
import importlib.util
import json
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GO = Path(__file__).parents[1] / "go.py"
Done = namedtuple("Done", ["returncode", "stdout"], defaults=[b""])


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("go", GO)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """go.py on a Linux box without a GPU, its environment in a folder with a space in its name."""
    for name in ("GO_TORCH", "GO_TORCH_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GO_VENV", str(tmp_path / "an environment"))
    module = load()
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module, "nvidia", lambda: False)
    return module


def fake_pip(
    go: ModuleType, monkeypatch: pytest.MonkeyPatch, code: int = 0
) -> list[tuple[Any, ...]]:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(go, "pip", lambda *words, **_: asked.append(words) or Done(code))
    return asked


def half_made(go: ModuleType, **stamp: object) -> None:
    go.VENV.mkdir()
    (go.VENV / "pyvenv.cfg").touch()
    if stamp:
        go.write_stamp(**stamp)


# --- which torch ---


def test_a_cpu_wheel_on_offer_is_taken_without_another_index(go, monkeypatch):
    asked = fake_pip(go, monkeypatch)
    assert go.torch_words() == ["torch==2.13.0+cpu"]
    assert "--dry-run" in asked[0]


def test_without_one_the_cpu_index_is_added(go, monkeypatch):
    asked = fake_pip(go, monkeypatch, code=1)
    assert go.torch_words() == [
        "torch==2.13.0+cpu",
        "--extra-index-url",
        "https://download.pytorch.org/whl/cpu",
    ]
    assert all(
        word.endswith("+cpu") for words in asked for word in words if word.startswith("torch")
    )


@pytest.mark.parametrize(
    ("choice", "gpu", "platform", "cpu"),
    [
        ("", False, "linux", True),
        ("", True, "linux", False),
        ("cpu", True, "linux", True),
        ("any", False, "linux", False),
        ("", False, "darwin", False),
        ("", False, "win32", False),
    ],
)
def test_cuda_is_fetched_only_where_there_is_a_gpu_or_on_request(
    go, monkeypatch, choice, gpu, platform, cpu
):
    fake_pip(go, monkeypatch)
    monkeypatch.setenv("GO_TORCH", choice)
    monkeypatch.setattr(go.sys, "platform", platform)
    monkeypatch.setattr(go, "nvidia", lambda: gpu)
    assert go.torch_words() == ["torch==2.13.0" + "+cpu" * cpu]


def test_another_choice_of_torch_is_refused(go, monkeypatch):
    monkeypatch.setenv("GO_TORCH", "gpu")
    with pytest.raises(SystemExit, match="any or cpu"):
        go.torch_words()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'GPU 0: NVIDIA H100'", True),
        ("echo 'no driver' >&2; exit 9", False),
        ("echo 'No devices found'", False),
    ],
)
def test_a_driver_that_answers_counts(tmp_path, monkeypatch, script, found):
    go, exists = load(), Path.exists
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{script}\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        go.os.path, "exists", lambda path: "/proc/" not in str(path) and exists(Path(path))
    )
    assert go.nvidia() is found
    smi.unlink()
    assert not go.nvidia()


# --- the environment ---


def test_what_was_set_up_is_ready_until_the_requirements_change(go, tmp_path, monkeypatch):
    monkeypatch.setattr(go, "works", lambda *modules: True)
    half_made(go, job="test", files=go.wanted())
    assert go.ready("test") and go.ready("demo")
    monkeypatch.setattr(go, "wanted", lambda: "another pyproject.toml")
    assert not go.ready("test") and not go.broken()


def test_an_environment_for_the_demo_does_not_do_for_the_tests(go, monkeypatch):
    monkeypatch.setattr(go, "works", lambda *modules: True)
    half_made(go, job="demo", files=go.wanted())
    assert go.ready("demo") and not go.ready("test")


@pytest.mark.parametrize("state", ["nothing", "half", "moved", "no python"])
def test_an_environment_that_cannot_be_mended_is_known(go, monkeypatch, state):
    monkeypatch.setattr(go, "works", lambda *modules: state in ("half", "moved"))
    if state != "nothing":
        half_made(
            go, **({"half": True} if state == "half" else {"job": "test", "files": go.wanted()})
        )
    if state == "moved":
        monkeypatch.setattr(go, "where", lambda: "another place")
    assert go.broken() and not go.ready("test")


def test_a_python_that_is_not_there_does_not_work(go):
    assert not go.works()


def test_our_own_environment_is_cleared_and_stays_ours(go):
    half_made(go, made=True, half=True)
    (go.VENV / "lib").mkdir()
    go.clear_away()
    assert list(go.VENV.iterdir()) == [go.STAMP] and go.read_stamp()["made"]


def test_an_environment_of_somebody_else_is_moved_aside(go):
    half_made(go)
    go.clear_away()
    assert (
        not go.VENV.exists() and (go.VENV.with_name("an environment-old1") / "pyvenv.cfg").exists()
    )


def test_a_folder_that_is_no_environment_is_left_alone(go):
    go.VENV.mkdir()
    (go.VENV / "thesis.tex").touch()
    with pytest.raises(SystemExit, match="no Python environment"):
        go.clear_away()
    assert (go.VENV / "thesis.tex").exists()


@pytest.mark.parametrize("stamp", ["", "{", "[]", "7"])
def test_a_spoilt_stamp_is_no_stamp(go, stamp):
    half_made(go)
    go.STAMP.write_text(stamp)
    assert go.read_stamp() == {}


def test_too_little_space_is_said_beforehand(go, monkeypatch):
    monkeypatch.setattr(go.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(7e8))
    with pytest.raises(SystemExit, match=r"0\.7 GB free, the environment needs 2"):
        go.make()
    assert not go.VENV.exists()


def test_a_python_without_ensurepip_is_told_what_to_do(go, monkeypatch):
    monkeypatch.setattr(go, "run", lambda *words, **_: Done(1))
    with pytest.raises(SystemExit, match="python3-venv"):
        go.make()
    assert not go.VENV.exists()


def test_a_failed_install_can_be_tried_again(go, monkeypatch, capsys):
    monkeypatch.setattr(go, "works", lambda *modules: True)
    half_made(go, made=True)
    fake_pip(go, monkeypatch, code=1)
    with pytest.raises(SystemExit, match=r"torch==2\.13\.0\+cpu.*tries again"):
        go.set_up("demo")
    assert not go.ready("demo") and not go.broken()


def test_a_set_up_that_is_killed_is_begun_anew(go, monkeypatch):
    def killed(*words: object, **_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(go, "works", lambda *modules: True)
    half_made(go, made=True)
    monkeypatch.setattr(go, "pip", killed)
    with pytest.raises(SystemExit, match="stopped"):
        go.main(["demo"])
    assert go.broken()


def test_the_second_time_nothing_is_installed(go, monkeypatch):
    monkeypatch.setattr(go, "works", lambda *modules: True)
    half_made(go, made=True)
    asked = fake_pip(go, monkeypatch)
    go.set_up("test")
    first = len(asked)
    go.set_up("test")
    assert len(asked) == first == 3 and ".[test]" in asked[-1]
    assert json.loads(go.STAMP.read_text())["made"]


# --- the jobs ---


def test_the_whole_test_job_checks_style_types_and_layers_first(go, monkeypatch, capsys):
    calls: list[list[str]] = []

    def call(*words: object, cwd: Path, **env: str) -> int:
        calls.append([str(word) for word in words])
        assert cwd == go.ROOT and env == {"OMP_NUM_THREADS": "1"}
        return 3 * ("mypy" in words)

    monkeypatch.setattr(go, "call", call)
    monkeypatch.setattr(go, "tool", str)
    assert go.test([]) == 3
    assert [
        next(w for w in words if w in ("ruff", "mypy", "lint-imports", "pytest")) for words in calls
    ] == [
        "ruff",
        "ruff",
        "mypy",
        "lint-imports",
        "pytest",
    ]
    assert calls[-1][-2:] == ["-n", "2"]
    assert "failed: mypy" in capsys.readouterr().out


def test_words_go_to_pytest_alone(go, monkeypatch):
    calls: list[list[str]] = []
    monkeypatch.setattr(
        go, "call", lambda *words, **_: calls.append([str(word) for word in words]) or 5
    )
    monkeypatch.setattr(go, "tool", str)
    assert go.test(["-k", "two words"]) == 5
    assert len(calls) == 1 and calls[0][-2:] == ["-k", "two words"]


def test_the_exit_code_is_the_jobs_own(go):
    assert go.call(sys.executable, "-c", "raise SystemExit(7)") == 7


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_job_that_was_killed_says_so(go):
    assert go.call(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)") == 128 + 9


def test_an_unknown_job_is_refused_and_help_is_given(go, capsys):
    assert go.main(["tset"]) == 2 and go.main([]) == 2 and go.main(["--help"]) == 0
    assert "'tset' is no job" in capsys.readouterr().out


def test_an_older_python_can_read_it_and_is_told(tmp_path):
    source = GO.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    old = f"import sys; sys.version_info = (3, 8, 1); sys.version = '3.8.1 (old)'; exec({source!r})"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(
        "go.py: needs Python >= 3.11, this is 3.8.1"
    )

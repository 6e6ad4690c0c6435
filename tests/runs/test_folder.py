import errno
import io
import json
import math
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gradlogp.core import files
from gradlogp.core.errors import UserError
from gradlogp.runs import Damaged, Run, lock, new_path

CONFIG = {
    "experiment": "ebm",
    "seed": 1,
    "training": {"steps": 100, "lr": 1e-4, "clip": math.inf, "betas": (0.9, 0.95)},
}
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="fork")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "a", CONFIG)


def weights(step: int, size: int = 8) -> dict[str, torch.Tensor]:
    return {"w": torch.full((size,), float(step))}


def fork(job: Callable[[], object]) -> int:
    """Run `job` in a process of its own, which ends without a word; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        job()
    finally:
        os._exit(1)


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# --- beginning, finding ---


def test_a_run_opens_with_the_config_it_was_created_with(run: Run) -> None:
    again = Run.open(run.path)
    assert again.config == run.config and again.config["training"]["clip"] == math.inf
    assert again.config["training"]["betas"] == [0.9, 0.95] and "gradlogp" in again.about


def test_the_same_config_goes_on_with_the_run(run: Run) -> None:
    run.record(1, {"loss": 2.0})
    again = Run.create(run.path, CONFIG, about={"device": "another"})
    assert again.metrics() == [{"step": 1, "loss": 2.0}]


def test_another_config_is_refused_and_the_difference_named(run: Run) -> None:
    other = {
        "experiment": "ebm",
        "seed": 2,
        "training": {**CONFIG["training"], "lr": 3e-4, "ema": 0.999},
    }
    with pytest.raises(UserError) as caught:
        Run.create(run.path, other)
    said = (
        "seed is 1 there and 2 here; training.lr is 0.0001 there and 0.0003 here; training.ema is"
        " unset there and 0.999 here"
    )
    assert said in str(caught.value) and Run.open(run.path).config["seed"] == 1


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="thesis.tex"):
        Run.create(tmp_path, CONFIG)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match="cannot make the folder"):
        Run.create(tmp_path / "a", CONFIG)


def test_a_kill_before_the_config_was_written_leaves_a_folder_that_can_be_used(
    tmp_path: Path,
) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.77.tmp").write_text("{")
    Run.create(tmp_path, CONFIG)
    assert not list(tmp_path.glob(".*.tmp")) and Run.open(tmp_path).config["seed"] == 1


def test_opening_something_else_lists_the_runs_that_are_near(tmp_path: Path) -> None:
    for number in range(7):
        Run.create(tmp_path / f"run{number}", CONFIG)
    Run.create(tmp_path / "evaluator-digits", CONFIG)  # kept beside runs, and nothing to draw from
    with pytest.raises(
        UserError, match=r"no run folder; runs there: (\S+run\d, ){4}\S+run\d and 2 more\."
    ):
        Run.open(tmp_path)
    with pytest.raises(UserError, match=r"run9 does not exist; runs there"):
        Run.open(tmp_path / "run9")


def test_another_format_is_refused(run: Run) -> None:
    config = run.path / "config.json"
    config.write_text(config.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(
        UserError, match="config.json has format 3, and this gradlogp .* reads 1 to 2"
    ):
        Run.open(run.path)


def test_a_damaged_config_is_named(run: Run) -> None:
    (run.path / "config.json").write_text('{"format": 1, ')
    with pytest.raises(Damaged, match=r"config\.json is damaged"):
        Run.open(run.path)


def test_new_paths_are_named_by_experiment_and_date_and_differ(tmp_path: Path) -> None:
    first = new_path("ebm", tmp_path)
    second = new_path("ebm", tmp_path)
    assert first != second and not first.exists()
    assert re.fullmatch(r"ebm-20\d{6}-[0-9a-f]{4}", first.name)


# --- metrics ---


def test_metrics_come_back_and_what_is_not_finite_as_nan(run: Run) -> None:
    run.record(10, {"loss": torch.tensor(0.5), "norm": 3})
    run.record(20, {"loss": math.nan, "norm": -math.inf})
    text = (run.path / "metrics.jsonl").read_text()
    assert text.splitlines() == [
        '{"step": 10, "loss": 0.5, "norm": 3.0}',
        '{"step": 20, "loss": null, "norm": null}',
    ]
    first, second = run.metrics()
    assert first == {"step": 10, "loss": 0.5, "norm": 3.0} and isinstance(first["step"], int)
    assert math.isnan(second["loss"]) and math.isnan(second["norm"])


def test_metrics_of_earlier_versions_which_wrote_nan_as_text_are_read(run: Run) -> None:
    (run.path / "metrics.jsonl").write_text('{"step": 20, "loss": "nan", "norm": "-inf"}\n')
    (row,) = run.metrics()
    assert math.isnan(row["loss"]) and row["norm"] == -math.inf


def test_a_last_line_cut_by_a_kill_is_left_out_and_then_removed(run: Run) -> None:
    run.record(1, {"loss": 2.0})
    run.record(2, {"loss": 1.0})
    path = run.path / "metrics.jsonl"
    whole = path.read_bytes()
    run.close()
    for size in range(len(whole) - 22, len(whole)):
        path.write_bytes(whole[:size])
        assert [row["step"] for row in Run.open(run.path).metrics()] == [1]
    again = Run.open(run.path)
    again.record(2, {"loss": 1.0})
    assert path.read_bytes() == whole


def test_a_spoilt_line_in_the_middle_is_named(run: Run) -> None:
    run.record(1, {"loss": 2.0})
    run.record(2, {"loss": 1.0})
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"step": 1', b'{"step" 1'))
    with pytest.raises(Damaged, match="Line 1 is"):
        run.metrics()


def test_resumed_metrics_are_those_of_an_unbroken_run(tmp_path: Path) -> None:
    unbroken = Run.create(tmp_path / "a", CONFIG)
    broken = Run.create(tmp_path / "b", CONFIG)
    for step in range(1, 9):
        unbroken.record(step, {"loss": 1 / step})
        unbroken.checkpoint(step, weights(step))
    for step in range(1, 7):
        broken.record(step, {"loss": 1 / step})
        if step % 2 == 0:
            broken.checkpoint(step, weights(step))
    broken.rewind(4)
    assert broken.latest()[0] == 4
    for step in range(5, 9):
        broken.record(step, {"loss": 1 / step})
    assert (broken.path / "metrics.jsonl").read_bytes() == (
        unbroken.path / "metrics.jsonl"
    ).read_bytes()


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half(run: Run, monkeypatch) -> None:
    class Full(io.FileIO):
        def write(self, data: bytes) -> int:
            super().write(data[:7])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run.record(1, {"loss": 2.0})
    monkeypatch.setattr(files, "open", lambda path, mode: Full(path, "ab"), raising=False)
    with pytest.raises(UserError, match=r"metrics\.jsonl: No space left"):
        run.record(2, {"loss": 1.0})
    monkeypatch.undo()
    run.record(3, {"loss": 1.0})
    assert [row["step"] for row in run.metrics()] == [1, 3]


def test_the_log_has_times(run: Run) -> None:
    run.log("diverged at step 7")
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d diverged at step 7\n", (run.path / "log.txt").read_text()
    )


# --- checkpoints ---


def test_the_newest_two_checkpoints_are_kept(run: Run) -> None:
    assert run.latest() is None
    for step in (100, 200, 100_000_000, 1200):  # in whatever order, and wider than the name's zeros
        run.checkpoint(step, weights(step), {"seconds": 1.5})
    assert sorted(path.name for path in (run.path / "state").iterdir()) == [
        "step-00001200.safetensors",
        "step-100000000.safetensors",
    ]
    step, state, meta = Run.open(run.path).latest()
    assert (
        step == 100_000_000
        and torch.equal(state["w"], weights(step)["w"])
        and meta == {"seconds": 1.5}
    )


def test_a_damaged_checkpoint_names_the_last_whole_one_which_can_be_used(run: Run) -> None:
    run.checkpoint(1, weights(1))
    spoil(run.checkpoint(2, weights(2)))
    with pytest.raises(
        Damaged, match=r"step-00000002.*last whole checkpoint is step 1: --last-whole"
    ):
        run.latest()
    assert run.latest(fallback=True)[0] == 1
    run.rewind(1)
    assert run.latest()[0] == 1


def test_without_a_whole_checkpoint_nothing_is_made_up(run: Run) -> None:
    spoil(run.checkpoint(1, weights(1)))
    for fallback in (False, True):
        with pytest.raises(Damaged, match="no whole checkpoint"):
            run.latest(fallback)


def test_a_full_disk_leaves_the_last_checkpoint(run: Run, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run.checkpoint(1, weights(1))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"step-00000002.*No space left"):
        run.checkpoint(2, weights(2))
    monkeypatch.undo()
    assert run.latest()[0] == 1 and len(list((run.path / "state").iterdir())) == 1


@needs_fork
@pytest.mark.parametrize("crash", ["fsync", "replace"])
def test_a_crash_before_the_file_takes_its_place_leaves_the_old_one(
    run: Run, monkeypatch, crash: str
) -> None:
    def write() -> None:
        setattr(os, crash, lambda *_: os._exit(7))
        Run.open(run.path).checkpoint(2, weights(2))

    run.checkpoint(1, weights(1))
    run.close()
    assert os.waitstatus_to_exitcode(os.waitpid(fork(write), 0)[1]) == 7
    assert list(run.path.glob("state/.*.tmp")), "the crash should have left a temporary file"
    assert Run.open(run.path).latest()[0] == 1
    run.checkpoint(2, weights(2))
    assert run.latest()[0] == 2 and not list(run.path.glob("state/.*.tmp"))


@needs_fork
def test_a_kill_at_any_moment_leaves_a_whole_newest_checkpoint(run: Run) -> None:
    def write(first: int, done: int) -> None:
        own = Run.open(run.path)
        for step in range(first, first + 10_000):
            own.record(step, {"loss": 1.0})
            own.checkpoint(step, weights(step, 20_000), {"step": step})
            os.write(done, f"{step}\n".encode())

    run.close()
    chance = random.Random(0)
    newest = 0
    kills = 0
    while kills < 20 or (
        newest <= 20 and kills < 400
    ):  # a busy machine writes little between two kills
        kills += 1
        end, done = os.pipe()
        child = fork(lambda first=newest + 1, done=done: write(first, done))
        os.close(done)
        time.sleep(0.01 + 0.02 * chance.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(end) as file:
            said = [int(line) for line in file]
        if found := Run.open(run.path).latest():
            newest, state, meta = found
            assert meta["step"] == newest and torch.equal(state["w"], weights(newest, 20_000)["w"])
        assert newest >= max(said, default=0)
        assert [row["step"] for row in Run.open(run.path).metrics()][-1:] in (
            [],
            [newest],
            [newest + 1],
        )
        Run.open(run.path).rewind(newest)
    assert newest > 10
    assert [row["step"] for row in run.metrics()] == list(range(1, newest + 1))


# --- one writer ---


@needs_fork
def test_two_processes_never_write_one_run(run: Run) -> None:
    def hold(ready: int) -> None:
        own = Run.open(run.path)
        own.log("mine")
        os.write(ready, b".")
        time.sleep(60)

    run.record(1, {"loss": 2.0})
    run.close()
    wait, ready = os.pipe()
    child = fork(lambda: hold(ready))
    try:
        assert os.read(wait, 1) == b"."
        assert run.metrics()[0]["step"] == 1, "reading needs no lock"
        for write in (
            lambda: run.record(2, {}),
            lambda: Run.create(run.path, CONFIG),
            lambda: run.mark("trained"),
        ):
            with pytest.raises(UserError, match=f"is being written by process {child}"):
                write()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(wait)
        os.close(ready)
    run.record(2, {})
    assert len(run.metrics()) == 2


@needs_fork
def test_a_fork_does_not_inherit_the_right_to_write_nor_keep_the_lock(run: Run) -> None:
    def write() -> None:
        try:
            run.record(1, {})
        except UserError:
            os._exit(7)

    assert os.waitstatus_to_exitcode(os.waitpid(fork(write), 0)[1]) == 7
    assert run.metrics() == []


def test_one_process_may_hold_a_run_twice(run: Run) -> None:
    with Run.open(run.path) as other:
        other.log("one")
    run.log("two")
    assert len((run.path / "log.txt").read_text().splitlines()) == 2


def test_where_the_system_has_no_locks_a_file_is_the_lock(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    first = lock.Lock(tmp_path / ".lock")
    with pytest.raises(
        UserError, match=f"written by process {os.getpid()}: .*if it is gone, remove"
    ):
        lock.Lock(tmp_path / ".lock")
    del first
    assert not (tmp_path / ".lock").exists()
    lock.Lock(tmp_path / ".lock")


def test_a_folder_that_may_not_be_written_is_no_folder_in_use(run: Run, monkeypatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    run.close()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match="cannot write in .*Permission denied"):
        run.log("text")


# --- what came of it ---


def test_results_of_other_tasks_stay_and_those_of_the_same_metrics_are_replaced(run: Run) -> None:
    run.update_results([{"metric": "fd", "value": 1.0}, {"metric": "bits_per_dim", "value": 2.0}])
    run.update_results(
        iter([{"metric": "fd", "value": 3.0}, {"metric": "fd after 20 steps", "value": 4.0}])
    )
    found = [(row["metric"], row["value"]) for row in run.results()]
    assert found == [("bits_per_dim", 2.0), ("fd", 3.0), ("fd after 20 steps", 4.0)]


def test_weights_results_status_and_pictures(run: Run) -> None:
    with pytest.raises(UserError, match=r"no ema\.safetensors"):
        run.load("ema")
    run.weights(weights(1))
    run.weights(weights(2), "ema", decay=0.999)
    assert run.load()[0]["w"][0] == 1 and run.load("ema")[1] == {"decay": 0.999}

    assert run.results() == []
    row = {"metric": "fd", "value": 3.25, "stderr": math.nan, "n": 2000, "protocol": "test split"}
    run.write_results([row])
    (back,) = Run.open(run.path).results()
    assert math.isnan(back.pop("stderr")) and back.items() <= row.items()
    json.loads((run.path / "results.json").read_text(), parse_constant=pytest.fail)

    assert run.status() == {"state": "training", "seconds": 0.0}
    run.mark("trained", seconds=12.5)
    run.mark("evaluated", evaluations=60)
    assert run.status() == {"state": "evaluated", "seconds": 12.5, "evaluations": 60}
    with pytest.raises(ValueError, match="evaluated; got 'done'"):
        run.mark("done")

    picture = run.picture("noise-0.5")
    assert picture == run.path / "samples" / "noise-0.5.png" and picture.parent.is_dir()

"""Real signals, to this process and to others."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from gradlogp.core import stop
from gradlogp.core.stop import SIGNALS, Stopped, Waiting

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
COMMAND = [sys.executable, "-m", "gradlogp"]


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_waits_for_the_step_and_then_goes_where_it_would_have_gone(signum: int) -> None:
    steps = []
    with stop.handled(stop.stop), pytest.raises(Stopped) as caught, Waiting() as waiting:
        for step in range(3):
            signal.raise_signal(signum) if step == 1 else None
            steps.append(step)
            if waiting.signum:
                waiting.deliver(waiting.signum)
    assert steps == [0, 1] and caught.value.signum == signum
    assert isinstance(caught.value, KeyboardInterrupt)


def test_it_is_delivered_at_the_end_at_the_latest_and_a_second_one_at_once() -> None:
    with stop.handled(stop.stop):
        with pytest.raises(Stopped), Waiting():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped), Waiting():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("the second signal waited")


def test_a_caller_that_handles_it_and_goes_on_learns_that_the_work_did_not_end() -> None:
    heard = []
    with (
        stop.handled(lambda signum, frame: heard.append(signum)),
        pytest.raises(Stopped),
        Waiting() as waiting,
    ):
        signal.raise_signal(signal.SIGTERM)
        waiting.deliver(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = [signal.getsignal(s) for s in SIGNALS]
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Waiting() as waiting:
            signal.raise_signal(signal.SIGHUP)
        assert waiting.signum is None
    finally:
        signal.signal(signal.SIGHUP, former)
    with pytest.raises(ZeroDivisionError), Waiting():
        raise ZeroDivisionError
    assert [signal.getsignal(s) for s in SIGNALS] == before


def test_in_another_thread_nothing_is_touched() -> None:
    found = []

    def work() -> None:
        with Waiting() as waiting:
            found.append(waiting.former)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [{}]


def told(process: subprocess.Popen[str], text: str) -> None:
    """Wait until the process has said so."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}")


@pytest.mark.parametrize("signum", SIGNALS)
def test_training_that_is_ended_says_where_it_goes_on_and_goes_on_there(
    tmp_path: Path, signum: int
) -> None:
    settings = ["training.images=640000", "net.channels=4,4", "net.width=4", "chain_steps=2"]
    words = ["train", "ebm", "--out", str(tmp_path / "run"), "--set", *settings]
    log = tmp_path / "run" / "metrics.jsonl"
    process = subprocess.Popen(
        [*COMMAND, *words], env=ENV, cwd=tmp_path, text=True, stderr=subprocess.PIPE
    )
    deadline = time.time() + 120
    while not log.exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signum)
    (line,) = process.communicate()[1].splitlines()
    assert process.returncode == 128 + signum
    assert line.startswith("gradlogp: stopped; the same command goes on from step ")
    step = int(line.split("from step ")[1].split()[0].replace(",", ""))
    saved = [int(file.stem.partition("-")[2]) for file in (tmp_path / "run/state").iterdir()]
    assert step == max(saved) >= 20 and not list((tmp_path / "run").rglob("*.tmp"))


@pytest.mark.parametrize("after", [0.2, 0.5, 1.0, 2.0, 3.0])
def test_ctrl_c_at_the_start_ends_with_one_line(tmp_path: Path, after: float) -> None:
    """Each second or so of imports; Python itself takes the first tenth."""
    script = textwrap.dedent("""
        import sys
        print("begun", flush=True)
        from gradlogp.cli import main
        sys.exit(main(["train", "ebm", "--out", "run"]))
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=ENV,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    told(process, "begun")
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1].splitlines()
    assert process.returncode == 130 and len(said) == 1 and "gradlogp: stopped" in said[0]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams_are_nothing_to_fail_at(tmp_path: Path, closed: str) -> None:
    line = f'"{sys.executable}" -m gradlogp list samplers {closed}'
    done = subprocess.run(line, shell=True, env=ENV, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr

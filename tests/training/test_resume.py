"""A run that was killed and one that was not end at the same numbers: weights, buffer, random
streams and log.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from gradlogp.runs import Damaged, Run
from gradlogp.training import train
from tests.training.conftest import Ring


def numbers(run: Run):
    step, tensors, _ = run.latest()
    return (
        step,
        tensors,
        [{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics()],
    )


def assert_same(a, b):
    assert a[0] == b[0] and a[1].keys() == b[1].keys() and a[2] == b[2]
    for name in a[1]:
        assert torch.equal(a[1][name], b[1][name]), name


class Killed(Exception):
    pass


def stop_at(batches, at):
    def batch(step):
        if step == at:
            raise Killed
        return batches(step)

    return batch


@pytest.mark.parametrize("at", [1, 10, 27, 59])
def test_a_resumed_run_ends_at_the_same_numbers(tmp_path, at):
    whole, broken = (Run.create(tmp_path / name, {}) for name in ("whole", "broken"))
    train(Ring().learner(), Ring().batches(), whole)
    with pytest.raises(Killed):
        train(Ring().learner(), stop_at(Ring().batches(), at), broken)
    torch.manual_seed(99)  # the global random state plays no part
    train(Ring().learner(), Ring().batches(), broken)
    assert_same(numbers(broken), numbers(whole))


def test_resuming_after_a_roll_back_too(tmp_path):
    wild = Ring(learning_rate=10.0)
    whole, broken = (Run.create(tmp_path / name, {}) for name in ("whole", "broken"))
    train(wild.learner(), wild.batches(), whole)
    with pytest.raises(Killed):
        train(wild.learner(), stop_at(wild.batches(), 33), broken)
    train(wild.learner(), wild.batches(), broken)
    assert_same(numbers(broken), numbers(whole))
    assert "rolled back" in (whole.path / "log.txt").read_text()


def test_kill_9_and_the_same_command_again(tmp_path):
    script = textwrap.dedent("""
        import sys, torch
        from gradlogp.runs import Run
        from gradlogp.training import train
        from tests.training.conftest import Ring
        torch.set_num_threads(1)
        small = Ring(images=64 * 400)
        train(small.learner(), small.batches(), Run.create(sys.argv[1], {}))
    """)

    def command(name):
        return [sys.executable, "-c", script, str(tmp_path / name)]

    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for kill in range(2):
        process = subprocess.Popen(command("broken"), env=env)
        log = tmp_path / "broken" / "metrics.jsonl"
        deadline = time.time() + 60
        lines = lambda: log.read_text().count("\n") if log.exists() else 0  # noqa: B023
        while time.time() < deadline and process.poll() is None and lines() <= 3 + 5 * kill:
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command("broken"), env=env, check=True)
    subprocess.run(command("whole"), env=env, check=True)
    assert_same(numbers(Run.open(tmp_path / "broken")), numbers(Run.open(tmp_path / "whole")))


def test_a_damaged_checkpoint_is_refused_and_the_last_whole_one_offered(run):
    train(Ring().learner(), Ring().batches(), run)
    newest = sorted((run.path / "state").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.raises(Damaged, match="step 50.*--last-whole"):
        train(Ring().learner(), Ring().batches(), run)
    train(Ring().learner(), Ring().batches(), run, fallback=True)
    assert run.latest()[0] == 60

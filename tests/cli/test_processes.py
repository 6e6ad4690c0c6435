"""`train --processes`: the words that begin each process again, what is refused before, and a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gradlogp.cli import main
from gradlogp.cli.learn import again
from gradlogp.cli.parse import parse
from gradlogp.runs import Run

ENERGY = [
    "training.images=6400",
    "training.checkpoint_every=20",
    "training.log_every=10",
    "net.channels=16,16",
    "net.width=16",
    "chain_steps=5",
    "generate_steps=6",
    "buffer.capacity=128",
]


@pytest.mark.parametrize(
    "words",
    [
        "train ncsn",
        "train ebm --seed 3 --json --last-whole --out c --processes 2 --set a=1 b=2 --set c=x,y",
        "compare ebm --seeds 2 --dataset folder:a --data a/b --engine slurm --set ncsn:training.batch=8",
    ],
)
def test_the_words_made_from_arguments_ask_for_the_same(words: str) -> None:
    verb, arguments = parse(words.split())
    name, *made = again(arguments)  # type: ignore[arg-type]
    found = parse(made)
    assert name == "gradlogp" and found[0] == verb
    assert found[1].model_dump(exclude={"changes"}) == arguments.model_dump(exclude={"changes"})
    assert found[1].overrides == arguments.overrides  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--processes 3 --set training.batch=2", "a batch of 2 cannot be split over 3 processes"),
        ("--shard", "--shard cuts the weights over processes; give --processes 2 or more"),
        ("--processes 0", "--processes: input should be greater than or equal to 1, got 0"),
    ],
)
def test_what_cannot_be_split_is_said_once_before_it_begins(
    words: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "ncsn", *words.split()]) == 2
    assert capsys.readouterr().err.count(message) == 1 and not list(tmp_path.iterdir())


def begun(out: Path) -> "subprocess.Popen[bytes]":
    words = ["train", "ebm", "--processes", "2", "--out", str(out), "--set", *ENERGY]
    return subprocess.Popen([sys.executable, "-m", "gradlogp", *words], stdout=subprocess.PIPE)


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_changes_no_number(rank: int, tmp_path: Path) -> None:
    begun(tmp_path / "whole").communicate(timeout=600)
    killed = begun(tmp_path / "killed")
    state = tmp_path / "killed" / "state"
    while not any(state.glob("step-000000[2468]0*")):
        time.sleep(0.02)
        assert killed.poll() is None
    os.kill(children(killed.pid)[rank], signal.SIGKILL)
    said, _ = killed.communicate(timeout=600)
    assert b"was killed by SIGKILL: all begin again" in said
    whole, other = (Run.open(tmp_path / name).load("weights")[0] for name in ("whole", "killed"))
    for name, x in whole.items():
        torch.testing.assert_close(other[name], x, rtol=0, atol=0)

"""A run that is killed, or refused by the disk, before any of its operations ends at the same bytes
once the same command is given again: for every kind of recipe.
"""

import errno
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.experiments import RECIPES as MAKERS
from gradlogp.harness import fit, override, provenance
from gradlogp.runs import Run
from gradlogp.training import loop
from tests.faults import REFUSALS, Disk, Killed, contents, put_in
from tests.targets import DIGITS

TINY = [
    "training.images=32",
    "training.batch=16",
    "training.log_every=1",
    "training.checkpoint_every=1",
    "evaluation.snapshots=2",
]
LONGER = ["training.images=64", "training.log_every=2", "training.checkpoint_every=2"]
NET = ["net.channels=2,2", "net.width=4"]
RECIPES = {
    "ebm": [*NET, "chain_steps=1", "generate_steps=1", "buffer.capacity=16"],
    "ncsn": ["net.channels=2,2", "sampler.levels=3"],
    "vae": [*NET, "decoder=4,4"],
    "gan": [*NET, "decoder=4,4"],
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Run]:
    """Train a tiny recipe of a name into a folder; time stands still, as it is no part of what must
    be the same.
    """
    monkeypatch.setattr(provenance, "commit", lambda: None)
    still = SimpleNamespace(perf_counter=lambda: 0.0, monotonic=lambda: 0.0)
    for module in (loop, sys.modules[fit.__module__]):
        monkeypatch.setattr(module, "time", still)
    digits = data.load("digits")
    few = replace(digits, train=digits.train[slice(0, 64)])

    def run(name: str, path: Path) -> Run:
        recipe = override(MAKERS[name](DIGITS, "quick", 0), [*TINY, *RECIPES[name]])
        return fit(recipe, few, path, device="cpu")

    return run


def attempt(job: Callable[[], object], disk: Disk) -> str:
    """Do the job on that disk; how it ended."""
    with pytest.MonkeyPatch.context() as patch:
        put_in(disk, patch)
        try:
            job()
            return "done"
        except Killed:
            return "killed"
        except UserError as error:
            assert "\n" not in str(error)
            return str(error)


def whole(command: Callable[[str, Path], Run], name: str, path: Path) -> tuple[Disk, dict]:
    """An unbroken run: the disk, with what a kill before each operation would have left, and the
    files at the end.
    """
    disk = Disk(watch=path)
    assert attempt(lambda: command(name, path), disk) == "done"
    assert Run.open(path).status()["state"] == "trained"
    return disk, contents(path)


def ends_there(command, name: str, path: Path, expected: dict, at: str) -> None:
    """The command, given again, ends at the same bytes, and leaves nothing else."""
    assert attempt(lambda: command(name, path), Disk()) == "done", at
    found = contents(path)
    assert found.keys() == expected.keys(), at
    assert not [key for key in found if found[key] != expected[key]], at


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_killed_before_any_operation_ends_at_the_same_bytes(tmp_path, command, name) -> None:
    disk, expected = whole(command, name, tmp_path / "run")
    assert {"weights.safetensors", "ema.safetensors", "ema-00000001.safetensors"} < set(expected)
    assert len(disk.done) > 60
    for at, operation in enumerate(disk.done, 1):
        ends_there(command, name, disk.left(at), expected, f"killed before {operation} {at}")


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_refused_at_any_operation_ends_at_the_same_bytes(tmp_path, command, name) -> None:
    """The refusals in turn, each recipe beginning with another: so each meets each operation."""
    disk, expected = whole(command, name, tmp_path / "whole")
    said, kinds = [], len(REFUSALS)
    for at, operation in enumerate(disk.done, 1):
        refusal = REFUSALS[(at + list(RECIPES).index(name)) % kinds]
        path = tmp_path / str(at)
        full = refusal in (errno.ENOSPC, errno.EDQUOT)
        said.append(attempt(lambda path=path: command(name, path), Disk(at, refusal, full)))
        if said[-1] == "done":  # what is not needed, such as the sync of a folder
            assert Run.open(path).status()["state"] == "trained"
        ends_there(command, name, path, expected, f"{refusal} at {operation} {at}: {said[-1]}")
    failed = [words for words in said if words != "done"]
    assert len(failed) > 0.7 * len(said) and all("cannot" in words for words in failed)


def test_checkpoints_by_the_clock_change_nothing(tmp_path, command, monkeypatch) -> None:
    """With a clock that runs, one falls due at every step; killed before any operation."""
    monkeypatch.setitem(RECIPES, "ebm", [*RECIPES["ebm"], *LONGER])
    _, expected = whole(command, "ebm", tmp_path / "whole")
    clock = itertools.count(0, math.ceil(loop.LONGEST))
    fast = SimpleNamespace(perf_counter=lambda: 0.0, monotonic=lambda: next(clock))
    monkeypatch.setattr(loop, "time", fast)
    disk, found = whole(command, "ebm", tmp_path / "run")
    assert found == expected
    paths = [disk.left(at) for at in range(1, len(disk.done) + 1)]
    resumed = {file.name for path in paths for file in path.glob("state/resume-*")}
    assert resumed == {"resume-00000001.safetensors", "resume-00000003.safetensors"}
    for at, path in enumerate(paths, 1):
        ends_there(command, "ebm", path, expected, str(at))

"""Engines that place the commands of a comparison's parts on other machines: SLURM and Ray.

A part is a command that any machine with the same files can run, so an engine starts processes and
knows nothing of models. A part that a signal ends (out of memory, a lost machine) is begun again
and goes on from its last checkpoint, at most TRIES times; one that ends with an error is not. All
parts are waited for, whatever happens to one: the neighbours' work is kept.

In this process and on this machine alone, `launch.side_by_side` does the same.
"""

import importlib
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener
from gradlogp.harness.launch import TRIES

Commands = Mapping[str, Sequence[str]]  # part -> the words of its command
Engine = Callable[[Commands, Path, Listener], None]


class Killed(RuntimeError):
    """The process of a part was ended by a signal, and may be begun again."""


def perform(command: Sequence[str]) -> int:
    """Run a command to its end; returns its exit code. Raises Killed where a signal ended it."""
    code = subprocess.run(command, check=False).returncode
    if code < 0 or code > 128:
        raise Killed(
            f"{shlex.join(command)} was ended by signal {-code if code < 0 else code - 128}"
        )
    return code


def slurm(commands: Commands, folder: Path, listener: Listener, cluster: str | None = None) -> None:
    """SLURM, by submitit: an array of jobs, whose partition, time and memory are asked for by
    SBATCH_ variables.

    `cluster` is slurm where there is one, else local processes; submitit knows both.
    """
    submitit = _extra("submitit", "slurm")
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    left, failed = dict(commands), dict[str, str]()
    for _ in range(TRIES):
        with executor.batch():
            jobs = {name: executor.submit(perform, list(command)) for name, command in left.items()}
        ended = {name: _ended(job) for name, job in jobs.items()}
        left = {name: left[name] for name, how in ended.items() if how is None}
        failed |= {name: f"exit code {how}" for name, how in ended.items() if how}
        for name in left:
            listener.say(f"{name}: its process was killed.")
        if not left:
            break
    _refuse_failed(failed | dict.fromkeys(left, f"killed {TRIES} times"), folder)


def _ended(job: Any) -> int | None:
    """The exit code of a job; None where it, or the machine under it, was killed."""
    error = job.exception()
    return None if error is not None else int(job.result())


def ray(commands: Commands, folder: Path, listener: Listener) -> None:
    """Ray: a task for each part on the cluster of RAY_ADDRESS, else on this machine; Ray's own
    retries begin the killed again.
    """
    engine = _extra("ray", "ray")
    if not engine.is_initialized():
        engine.init(log_to_driver=False)
    task = engine.remote(max_retries=TRIES - 1, retry_exceptions=[Killed])(perform)
    tasks = {name: task.remote(list(command)) for name, command in commands.items()}
    failed = {}
    for name, handle in tasks.items():
        try:
            code = engine.get(handle)
        except (Killed, engine.exceptions.RayError):
            failed[name] = f"killed {TRIES} times"
            continue
        if code:
            failed[name] = f"exit code {code}"
    _refuse_failed(failed, folder)


ENGINES: dict[str, Engine] = {"slurm": slurm, "ray": ray}


def _extra(module: str, extra: str) -> Any:
    """The module of an extra. Raises UserError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"--engine {extra} needs {module}; pip install 'gradlogp[{extra}]', or give the commands"
            " of --parts to another scheduler."
        ) from error


def _refuse_failed(failed: Mapping[str, str], folder: Path) -> None:
    if failed:
        said = ", ".join(f"{name} ({how})" for name, how in failed.items())
        raise UserError(
            f"these parts are not done: {said}; their words are in {folder}. The same command goes on."
        )

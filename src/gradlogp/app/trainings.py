"""The view of training: `gradlogp train` as a process of its own, watched through its run folder.

A training that the studio began ends with it: it is told to stop as by Ctrl-C, writes a checkpoint,
and the same words go on from there.
"""

import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gradlogp.app.asks import Training
from gradlogp.core.errors import UserError
from gradlogp.data import DATASETS, require_known
from gradlogp.experiments import RECIPES
from gradlogp.runs import Run, new_path

PATIENCE = 20.0  # seconds for a checkpoint, before the process is killed
POINTS = 160  # of a curve
CURVES = ("loss", "gap", "energy_data", "energy_chains", "displacement")
NEEDS_A_PATH = {"folder", "voxels", "waves", "csv", "npz", "laws", "adbench"}


def choices() -> dict[str, Any]:
    """What can be trained, and on what by name alone."""
    says = {name: _sentence(make.__doc__) for name, make in RECIPES.items()}
    return {"experiments": says, "datasets": [d for d in DATASETS if d not in NEEDS_A_PATH]}


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


@dataclass
class Job:
    path: Path
    process: "subprocess.Popen[bytes]"
    said: IO[bytes]
    stopped: bool = False

    @property
    def state(self) -> str:
        code = self.process.poll()
        if code is None:
            return "stopping" if self.stopped else "running"
        if self.stopped:
            return "stopped"
        return "done" if code == 0 else "failed"

    def lines(self) -> list[str]:
        """The last words of the process, but for the lines of its progress."""
        self.said.seek(0)
        text = self.said.read().decode(errors="replace")
        return [line for line in text.splitlines() if not line.startswith("train:")][-6:]


class Trainings:
    """One training at a time: two would each take twice as long."""

    def __init__(self, folder: Path | None, data: Path | None) -> None:
        self.folder, self.data = folder, data
        self.job: Job | None = None
        self._beginning = threading.Lock()

    def begin(self, ask: Training) -> dict[str, Any]:
        with self._beginning:  # two requests at a time would both find nothing in training
            return self._begin(ask)

    def _begin(self, ask: Training) -> dict[str, Any]:
        if self.folder is None:
            raise UserError("there is no folder for runs; begin the studio with --runs DIR.")
        if self.job is not None and self.job.state in ("running", "stopping"):
            raise UserError(f"{self.job.path.name} is in training; stop it first.")
        self._check(ask)
        path = new_path(ask.experiment, self.folder)
        words = ["train", ask.experiment, "--dataset", ask.dataset, "--preset", ask.preset]
        words += ["--seed", str(ask.seed), "--out", str(path)]
        words += ["--data", str(self.data)] if self.data else []
        words += ["--set", f"training.images={ask.images}"] if ask.images else []
        said = tempfile.TemporaryFile()  # noqa: SIM115 - it is open as long as the process
        process = subprocess.Popen(
            [sys.executable, "-m", "gradlogp", *words],
            stdout=said,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        self.close()
        self.job = Job(path, process, said)
        return self.status()

    def _check(self, ask: Training) -> None:
        if ask.experiment not in RECIPES:
            raise UserError(
                f"there is no experiment {ask.experiment!r}; there are {', '.join(RECIPES)}."
            )
        require_known(ask.dataset)
        if ask.dataset not in choices()["datasets"]:
            raise UserError(
                f"{ask.dataset} names files of this machine, which a page may not; begin that one"
                " with gradlogp train."
            )

    def stop(self) -> dict[str, Any]:
        if self.job is None or self.job.state != "running":
            raise UserError("nothing is in training.")
        self.job.stopped = True
        self.job.process.send_signal(signal.SIGINT)
        return self.status()

    def status(self) -> dict[str, Any]:
        """How far it is: steps, curves, and what it said last."""
        if self.job is None:
            return {"state": "none"}
        job = self.job
        found: dict[str, Any] = {
            "state": job.state,
            "name": job.path.name,
            "lines": [line.replace(str(job.path), job.path.name) for line in job.lines()],
        }
        return found | _progress(job.path)

    def picture(self) -> bytes:
        """The newest preview of the training under way. Raises UserError where there is none."""
        folder = self.job.path / "samples" if self.job else None
        found = sorted(folder.glob("progress-*.png")) if folder else []
        if not found:
            raise UserError("there is no preview yet.")
        return found[-1].read_bytes()

    def close(self) -> None:
        """End the training that was begun here, and wait for its checkpoint."""
        if self.job is None:
            return
        if self.job.process.poll() is None:
            self.job.process.send_signal(signal.SIGINT)
            try:
                self.job.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.job.process.kill()
                self.job.process.wait()
        self.job.said.close()


def _progress(path: Path) -> dict[str, Any]:
    try:
        run = Run.open(path)
        rows = run.metrics()
        training = run.config["recipe"]["training"]
    except (UserError, KeyError):  # it has not written its config yet
        return {"step": 0, "steps": None, "curves": {}, "pictures": 0}
    every = rows[:: max(1, len(rows) // POINTS)]
    curves = {
        name: [[row["step"], row[name]] for row in every if _number(row.get(name))]
        for name in CURVES
    }
    return {
        "step": rows[-1]["step"] if rows else 0,
        "steps": max(1, training["images"] // training["batch"]),
        "curves": {name: points for name, points in curves.items() if points},
        "pictures": len(list((path / "samples").glob("progress-*.png"))),
    }


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value and abs(value) < 1e30

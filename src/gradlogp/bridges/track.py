"""Trackers: the numbers and pictures of a training, told to TensorBoard, Weights & Biases, Trackio
or MLflow while it runs.

    record(step, numbers)    picture(step, name, path)    close()

One `Tracker` is one run there. `Following` is the one listener that tells it: it passes on what it
hears, and looks into the run folders meanwhile, for lines of metrics.jsonl and pictures that are
new. So training knows of no tracker, a comparison's runs are followed in whatever process they
train, and a run that goes on tells the rest. The folder stays the record: a tracker that fails is
said once and left, and the training goes on.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image

from gradlogp.bridges.missing import needed
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Listener
from gradlogp.runs.files import read_json


class Calls(Protocol):
    """What each tracker's file of calls offers."""

    def record(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def picture(self, step: int, name: str, path: Path) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in `folder`, by torch.utils.tensorboard."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        needed("tensorboard", "trackers")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder))
        self.writer.add_text("settings", f"```\n{settings}\n```", 0)

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        for key, value in numbers.items():
            self.writer.add_scalar(key, value, step)

    def picture(self, step: int, name: str, path: Path) -> None:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        self.writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class WandbLike:
    """Weights & Biases, and Trackio, which has the same calls."""

    module = "wandb"

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        self.library = needed(self.module, "trackers")
        self.run = self.library.init(project="gradlogp", name=name, config=dict(settings))

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers), step=step)

    def picture(self, step: int, name: str, path: Path) -> None:
        self.run.log({name: self.library.Image(str(path))}, step=step)

    def close(self) -> None:
        self.run.finish()


class Trackio(WandbLike):
    """Trackio: on this machine, without an account."""

    module = "trackio"


class MLflow:
    """MLflow: one run of the experiment gradlogp."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        self.library = needed("mlflow", "trackers")
        self.library.set_experiment("gradlogp")
        self.library.start_run(run_name=name)
        self.library.log_dict(dict(settings), "settings.json")

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        self.library.log_metrics(dict(numbers), step=step)

    def picture(self, step: int, name: str, path: Path) -> None:
        self.library.log_artifact(str(path), "samples")

    def close(self) -> None:
        self.library.end_run()


TRACKERS: dict[str, Callable[[Path, str, Mapping[str, Any]], Calls]] = {
    "tensorboard": TensorBoard,
    "wandb": WandbLike,
    "trackio": Trackio,
    "mlflow": MLflow,
}


class Tracker:
    """One run of a tracker. Numbers that are not finite are left out; after its first failure it is
    silent, and `failure` says what it was.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.failure: Exception | None = None

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        told = {name: float(x) for name, x in numbers.items() if math.isfinite(x)}
        self._tell(lambda: self.calls.record(step, told))

    def picture(self, step: int, name: str, path: Path) -> None:
        self._tell(lambda: self.calls.picture(step, name, path))

    def close(self) -> None:
        self._tell(self.calls.close)

    def _tell(self, call: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                call()
            except Exception as error:  # of a library that we do not know: the training goes on
                self.failure = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def tracker(kind: str, folder: Path, name: str, settings: Mapping[str, Any]) -> Tracker:
    """A tracker of TRACKERS; `folder` is where TensorBoard writes. Raises UserError where there is
    no such tracker, or its library cannot be imported.
    """
    if kind not in TRACKERS:
        raise UserError(f"there is no tracker {kind!r}; there are {', '.join(TRACKERS)}.")
    return Tracker(TRACKERS[kind](folder, name, settings))


LOOK = 2.0  # seconds between two looks into the folders


class Followed:
    """One run folder. What is there at first is told where the run is `new`; what comes later,
    once.
    """

    def __init__(self, folder: Path, told: Tracker, new: bool) -> None:
        self.folder, self.told, self.step = folder, told, 0
        self.size = 0 if new else self._size()
        self.pictures = set() if new else set(self._pictures())

    def look(self) -> None:
        size = self._size()
        for line in self._lines(size):
            self.size += len(line)
            self._record(json.loads(line))
        self.size = min(self.size, size)  # less after a roll-back, whose lines are told anew
        for path in sorted(set(self._pictures()) - self.pictures):
            self.pictures.add(path)
            self.told.picture(self.step, path.stem, path)

    def _lines(self, size: int) -> list[bytes]:
        """The whole lines that have not been told."""
        if size <= self.size:
            return []
        with open(self.folder / "metrics.jsonl", "rb") as file:
            file.seek(self.size)
            return [line for line in file.read(size - self.size).splitlines(True) if _whole(line)]

    def _record(self, row: dict[str, Any]) -> None:
        self.step = int(row.pop("step"))
        self.told.record(self.step, {name: x for name, x in row.items() if x is not None})

    def _size(self) -> int:
        path = self.folder / "metrics.jsonl"
        return path.stat().st_size if path.exists() else 0

    def _pictures(self) -> list[Path]:
        return list(self.folder.glob("samples/*.png"))


def _whole(line: bytes) -> bool:
    return line.endswith(b"\n")


class Runs:
    """All run folders at `folder` and one below it, each with a tracker of `kind`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.followed: dict[Path, Followed] = {}
        self.last = time.monotonic()
        self._find(new=False)

    def look(self, say: Callable[[str], None]) -> None:
        """Tell what is new; a tracker's first failure is said."""
        self.last = time.monotonic()
        self._find(new=True)
        for path, run in self.followed.items():
            well = run.told.failure is None
            run.look()
            if well and run.told.failure is not None:
                say(f"{self.kind}: {run.told.failure}; {path} trains on, and is told no more.")

    def close(self) -> None:
        for run in self.followed.values():
            run.told.close()

    def _find(self, new: bool) -> None:
        for config in (*self.folder.glob("config.json"), *self.folder.glob("*/config.json")):
            path = config.parent
            if path not in self.followed:
                settings = read_json(config).get("config", {})
                name = path.name if path == self.folder else f"{self.folder.name}/{path.name}"
                told = tracker(self.kind, path / "tracker", name, settings)
                self.followed[path] = Followed(path, told, new)


class Following:
    """A listener that passes on what it hears, and looks into the run folders every LOOK seconds."""

    def __init__(self, listener: Listener, runs: Runs) -> None:
        self.listener, self.runs = listener, runs

    def begin(self, label: str, total: int, done: int = 0) -> None:
        self.listener.begin(label, total, done)

    def advance(self, count: int = 1, **numbers: float) -> None:
        self.listener.advance(count, **numbers)
        if time.monotonic() - self.runs.last >= LOOK:
            self.runs.look(self.say)

    def end(self) -> None:
        self.listener.end()
        self.runs.look(self.say)

    def say(self, text: str) -> None:
        self.listener.say(text)

    def task(self, name: str) -> "Following":
        return Following(self.listener.task(name), self.runs)


@contextmanager
def following(listener: Listener, kind: str | None, folder: Path) -> Iterator[Listener]:
    """`listener`, and a tracker of `kind` told of all runs at `folder` meanwhile; None is no
    tracker. Raises UserError at once where the tracker's library cannot be imported.
    """
    if kind is None:
        yield listener
        return
    needed(kind, "trackers")
    runs = Runs(kind, folder)
    try:
        yield Following(listener, runs)
    finally:
        runs.look(listener.say)
        runs.close()

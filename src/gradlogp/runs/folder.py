"""The run folder: the only handshake between learning and all that follows.

config.json            what decides the numbers, and facts about the machine that ran it
metrics.jsonl          one line for each logged step: {"step": 100, "loss": 0.25}
state/step-*           the newest two checkpoints: enough to go on to the same numbers
weights.safetensors    the model; ema.safetensors: its moving average
results.json           rows of metric, value, spread, n, seed, protocol, seconds, evaluations
samples/*.png, log.txt, status.json

Reading needs no lock. The first write takes the folder's lock for this process, and holds it until
`close`.
"""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gradlogp import __version__
from gradlogp.core.errors import UserError
from gradlogp.runs.files import Damaged, plain, read_json, refused, unplain, write_json, write_text
from gradlogp.runs.lock import Lock, hold
from gradlogp.runs.tensors import read, write

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
KEEP = 2
STATES = ("training", "trained", "evaluated")


class Run:
    """One run folder. `config` is what decides the numbers; `about` may differ when a run goes on
    (device, versions).
    """

    def __init__(self, path: Path, config: dict[str, Any], about: dict[str, Any]):
        self.path = path
        self.config = config
        self.about = about
        self._lock: Lock | None = None

    @classmethod
    def create(
        cls, path: str | Path, config: Mapping[str, Any], about: Mapping[str, Any] | None = None
    ) -> Self:
        """A new run, or, where there is one with this very config, that run to go on with; locked
        for this process.

        Raises UserError where the folder holds a run with another config, something else, or
        another process's run.
        """
        path = Path(path)
        if (path / "config.json").exists():
            run = cls.open(path)
            _compare(path, run.config, unplain(plain(config)))
            run._writing()
            return run
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = [item.name for item in path.iterdir() if not item.name.startswith(".")]
        except OSError as error:
            raise UserError(f"cannot make the folder {path}: {error.strerror or error}.") from error
        if strangers:
            raise UserError(
                f"{path} holds other things ({strangers[0]}) and is no run folder; choose another"
                " --out."
            )
        run = cls(path, unplain(plain(config)), {"gradlogp": __version__, **(about or {})})
        run._writing()
        write_json(
            path / "config.json", {"format": FORMAT, "about": run.about, "config": run.config}
        )
        return run

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The run in this folder, to read or to go on with. Raises UserError where there is none."""
        path = Path(path)
        if not (path / "config.json").is_file():
            raise _no_run(path)
        content = read_json(path / "config.json")
        version = content.get("format") if isinstance(content, dict) else None
        if version != FORMAT:
            raise UserError(
                f"{path} is a run of format {version}, and this gradlogp {__version__} reads"
                f" {FORMAT}."
            )
        return cls(path, content.get("config", {}), content.get("about", {}))

    def _writing(self) -> None:
        """Every write begins here: take the lock, and clear up what a kill may have left."""
        if self._lock and self._lock.pid == os.getpid():
            return
        self._lock, new = hold(self.path)
        if not new:
            return
        for leftover in (*self.path.glob(".*.tmp"), *self.path.glob("state/.*.tmp")):
            leftover.unlink()
        if self._metrics.exists():
            os.truncate(self._metrics, sum(map(len, self._lines())))

    def close(self) -> None:
        """Let other processes write. A process that ends does so by itself."""
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- what happened ---

    def log(self, text: str) -> None:
        self._append(self.path / "log.txt", f"{datetime.now().isoformat(' ', 'seconds')} {text}\n")

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line of metrics. JSON has no nan, inf and -inf: these are written as strings, and
        read back as numbers.
        """
        line = {"step": int(step), **{name: float(number) for name, number in numbers.items()}}
        self._append(self._metrics, json.dumps(plain(line)) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All lines. A last one that a kill has cut is left out; Damaged for anything else that is
        no JSON.
        """
        return [row for row, _ in self._rows()]

    def rewind(self, step: int) -> None:
        """Forget what came after `step`, metrics and checkpoints, so that the run goes on as if
        never broken.
        """
        self._writing()
        rows = self._rows()
        kept = [line for row, line in rows if row["step"] <= step]
        if len(kept) < len(rows):
            write_text(self._metrics, b"".join(kept))
        for later, path in self._checkpoints().items():
            if later > step:
                path.unlink()

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def _lines(self) -> list[bytes]:
        lines = (
            self._metrics.read_bytes().splitlines(keepends=True) if self._metrics.exists() else []
        )
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def _rows(self) -> list[tuple[dict[str, Any], bytes]]:
        rows = []
        for number, line in enumerate(self._lines(), 1):
            try:
                row = unplain(json.loads(line))
                rows.append(({**row, "step": int(row["step"])}, line))
            except (ValueError, LookupError, TypeError) as error:
                raise Damaged(
                    f"{self._metrics} is damaged: line {number} is {line[:40]!r}; remove it."
                ) from error
        return rows

    def _append(self, path: Path, line: str) -> None:
        self._writing()
        size = path.stat().st_size if path.exists() else 0
        try:
            with open(path, "ab") as file:
                file.write(line.encode())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise refused(path, error) from error

    # --- where it stands ---

    def mark(self, state: str, **facts: Any) -> None:
        """Write that the run is training, trained or evaluated, and facts such as seconds=12.5;
        older facts stay.
        """
        if state not in STATES:
            raise ValueError(f"a run is {', '.join(STATES)}; got {state!r}.")
        self._writing()
        write_json(self.path / "status.json", {**self.status(), "state": state, **facts})

    def status(self) -> dict[str, Any]:
        """{"state": "training" | "trained" | "evaluated", "seconds": ..., ...}"""
        path = self.path / "status.json"
        return dict(read_json(path)) if path.exists() else {"state": STATES[0], "seconds": 0.0}

    def checkpoint(
        self, step: int, tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any] | None = None
    ) -> Path:
        """Write state/step-<step>.safetensors whole, then drop all but the newest two."""
        self._writing()
        path = self.path / "state" / f"step-{step:08d}.safetensors"
        self._folder("state")
        write(path, tensors, meta)
        for old in list(self._checkpoints().values())[KEEP:]:
            old.unlink()
        return path

    @property
    def checkpoints(self) -> list[int]:
        """The steps of the checkpoints there are, newest first."""
        return list(self._checkpoints())

    def latest(
        self, fallback: bool = False
    ) -> tuple[int, dict[str, "Tensor"], dict[str, Any]] | None:
        """Step, tensors and meta of the newest checkpoint; None where there is none.

        Raises Damaged where the newest is, and says which one is whole; `fallback` takes that one.
        """
        damage: Damaged | None = None
        for step, path in self._checkpoints().items():
            try:
                state, meta = read(path)
            except Damaged as error:
                damage = damage or error
                continue
            if damage and not fallback:
                raise Damaged(
                    f"{damage} The last whole checkpoint is step {step}: --last-whole goes on from"
                    " there."
                )
            return step, state, meta
        if damage:
            raise Damaged(
                f"{damage} There is no whole checkpoint; begin again in another folder with --out."
            )
        return None

    def _checkpoints(self) -> dict[int, Path]:
        """Newest first."""
        names = {
            path: re.fullmatch(r"step-(\d+)", path.stem)
            for path in self.path.glob("state/step-*.safetensors")
        }
        return dict(
            sorted(((int(found[1]), path) for path, found in names.items() if found), reverse=True)
        )

    # --- what came of it ---

    def weights(self, tensors: Mapping[str, "Tensor"], name: str = "weights", **meta: Any) -> Path:
        """Write weights.safetensors, or ema.safetensors with name="ema"."""
        self._writing()
        path = self.path / f"{name}.safetensors"
        write(path, tensors, meta)
        return path

    def load(self, name: str = "weights") -> tuple[dict[str, "Tensor"], dict[str, Any]]:
        """The tensors and meta that `weights` wrote. Raises UserError where there are none yet."""
        path = self.path / f"{name}.safetensors"
        if not path.exists():
            raise UserError(
                f"{self.path} has no {path.name}: it is not trained yet; the command that began it"
                " goes on."
            )
        return read(path)

    def write_results(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace results.json: rows of metric, value, spread, n, seed, protocol, seconds,
        evaluations.
        """
        self._writing()
        write_json(self.path / "results.json", list(rows))

    def update_results(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put `rows` in the place of those of the same metrics; what other tasks found stays."""
        new = list(rows)
        ours = {row["metric"] for row in new}
        self.write_results([*(row for row in self.results() if row["metric"] not in ours), *new])

    def results(self) -> list[dict[str, Any]]:
        path = self.path / "results.json"
        return list(read_json(path)) if path.exists() else []

    def picture(self, name: str) -> Path:
        """Where to write the picture of this name: samples/<name>.png."""
        return self._folder("samples") / (name if name.endswith(".png") else f"{name}.png")

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise refused(folder, error) from error
        return folder


def new_path(experiment: str, root: str | Path = "runs") -> Path:
    """<root>/<experiment>-<YYYYMMDD>-<short id>, which does not exist yet."""
    while True:
        path = Path(root) / f"{experiment}-{date.today():%Y%m%d}-{secrets.token_hex(2)}"
        if not path.exists():
            return path


def _no_run(path: Path) -> UserError:
    folder = path if path.is_dir() else path.parent
    runs = sorted(
        (item.parent for item in folder.glob("*/config.json")), key=lambda run: run.stat().st_mtime
    )[::-1]
    more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
    there = (
        f"runs there: {', '.join(map(str, runs[:5]))}{more}" if runs else "gradlogp train makes one"
    )
    what = "has no config.json, so it is no run folder" if path.exists() else "does not exist"
    return UserError(f"{path} {what}; {there}.")


def _compare(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    old, new = _dotted(there), _dotted(here)
    keys = [
        key
        for key in dict.fromkeys([*old, *new])
        if repr(old.get(key, "unset")) != repr(new.get(key, "unset"))
    ]
    if keys:
        said = "; ".join(
            f"{key} is {old.get(key, 'unset')} there and {new.get(key, 'unset')} here"
            for key in keys[:3]
        )
        more = f"; and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise UserError(
            f"{path} is a run with other settings: {said}{more}. Choose another --out, or the same"
            " settings."
        )


def _dotted(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(
            _dotted(item, f"{prefix}{key}.")
            if isinstance(item, Mapping) and item
            else {f"{prefix}{key}": item}
        )
    return flat

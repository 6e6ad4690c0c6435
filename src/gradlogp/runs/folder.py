"""The run folder: the only handshake between learning and all that follows.

config.json            what decides the numbers, and facts about the machine that ran it
metrics.jsonl          one line for each logged step: {"step": 100, "loss": 0.25}
state/step-*           the newest two checkpoints: enough to go on to the same numbers
state/resume-*         a later one, where a stopped run goes on; the guard never goes back to it
weights.safetensors    the model; ema.safetensors: its moving average
results.json           rows of metric, axes, value, stderr, n, seed, protocol, seconds, evaluations
samples/*.png, log.txt, status.json

Reading needs no lock. The first write takes the folder's lock for this process, and holds it until
`close`. What is read has the shape that `schema` says. Checkpoints and models carry the digest of
the config that they were written under: those of another run are refused. No name and no link may
lead out of the folder.
"""

import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gradlogp import __version__
from gradlogp.core import files
from gradlogp.core.errors import UserError
from gradlogp.core.files import inside, safe_path
from gradlogp.runs.files import Damaged, from_json, plain, unplain, write_json, write_text
from gradlogp.runs.lock import Lock, hold
from gradlogp.runs.results import read_results, write_results
from gradlogp.runs.schema import blamed, checked, read_checked
from gradlogp.runs.tensors import read, write

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2  # 1: checkpoints and models did not say whose they are
KEEP = 2
STATES = ("training", "trained", "evaluated")


class Run:
    """One run folder. `config` is what decides the numbers; `about` may differ when a run goes on
    (device, versions).
    """

    def __init__(
        self, path: Path, config: dict[str, Any], about: dict[str, Any], version: int = FORMAT
    ):
        self.path = path
        self.config = config
        self.about = about
        self.format = version
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
        cls.check(path, config)
        path = safe_path(path)
        if files.there(path / "config.json"):
            run = cls.open(path)
            run._writing()
            return run
        files.make_folder(path)
        run = cls(path, unplain(plain(config)), {"gradlogp": __version__, **(about or {})})
        run._writing()
        write_json(
            path / "config.json", {"format": FORMAT, "about": run.about, "config": run.config}
        )
        return run

    @classmethod
    def check(cls, path: str | Path, config: Mapping[str, Any]) -> None:
        """Raises UserError where `create` would find another run or other things; writes nothing."""
        path = safe_path(path)
        if files.there(path / "config.json"):
            _compare(path, cls.open(path).config, unplain(plain(config)))
            return
        there = path.iterdir() if path.is_dir() else ()
        unexpected = [item.name for item in there if not item.name.startswith(".")]
        if unexpected:
            raise UserError(
                f"{path} holds other things ({unexpected[0]}) and is no run folder; choose another"
                " --out."
            )

    def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Go on under another config: files that were written under the earlier ones stay its own,
        and a run that had ended is training again.
        """
        self._writing()
        self.about = {**self.about, "earlier": [*self.about.get("earlier", ()), self.digest]}
        self.config = unplain(plain(config))
        write_json(
            self.path / "config.json",
            {"format": FORMAT, "about": self.about, "config": self.config},
        )
        self.mark("training")

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The run in this folder, to read or to go on with. Raises UserError where there is none."""
        path = safe_path(path)
        if not files.there(path / "config.json"):
            raise _no_run(path)
        content = read_checked(path, "config.json")
        version = content.get("format")
        if version not in (1, FORMAT):
            raise UserError(
                f"{path / 'config.json'} has format {ascii(version)[:20]}, and this gradlogp"
                f" {__version__} reads 1 to {FORMAT}."
            )
        return cls(path, content["config"], content["about"], version)

    def _writing(self) -> None:
        """Every write begins here: take the lock, and clear up what a kill may have left."""
        if self._lock and self._lock.pid == os.getpid():
            return
        self._lock, new = hold(self.path)
        if not new:
            return
        for folder in ("", "state", "samples"):
            files.clear(self.path / folder)
        if self._metrics.exists():
            files.cut(self._metrics, sum(map(len, self._lines())))

    def close(self) -> None:
        """Let other processes write. A process that ends does so by itself."""
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- what happened ---

    def log(self, text: str) -> None:
        line = f"{datetime.now().isoformat(' ', 'seconds')} {text}\n"
        self._writing()
        files.append(inside(self.path, "log.txt"), line.encode())

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line of metrics. JSON has no nan and inf: these are written as null, so that a column
        stays one of numbers, and read back as nan.
        """
        found = {name: float(number) for name, number in numbers.items()}
        line = {name: number if math.isfinite(number) else None for name, number in found.items()}
        self._writing()
        files.append(self._metrics, (json.dumps({"step": int(step), **line}) + "\n").encode())

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
        for later, path in self._checkpoints().items():
            if later > step:
                files.remove(path)
        self._drop_old()
        rows = self._rows()
        kept = [line for row, line in rows if row["step"] <= step]
        if len(kept) < len(rows):
            write_text(self._metrics, b"".join(kept))

    @property
    def _metrics(self) -> Path:
        return inside(self.path, "metrics.jsonl")

    def _lines(self) -> list[bytes]:
        path = self._metrics
        lines = files.read_bytes(path).splitlines(keepends=True) if path.exists() else []
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def _rows(self) -> list[tuple[dict[str, Any], bytes]]:
        return [(self._row(number, line), line) for number, line in enumerate(self._lines(), 1)]

    def _row(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = checked(self._metrics, from_json(self._metrics, line))
        except Damaged as error:
            raise Damaged(f"{error} Line {number} is {line[:40]!r}; remove it.") from error
        return {name: math.nan if found is None else found for name, found in row.items()}

    # --- where it stands ---

    def mark(self, state: str, **more: Any) -> None:
        """Write that the run is training, trained or evaluated, and facts such as seconds=12.5;
        older facts stay.
        """
        if state not in STATES:
            raise ValueError(f"a run is {', '.join(STATES)}; got {state!r}.")
        self._writing()
        path = inside(self.path, "status.json")
        write_json(path, {**self.status(), "state": state, **more})

    def status(self) -> dict[str, Any]:
        """{"state": "training" | "trained" | "evaluated", "seconds": ..., ...}"""
        if not files.there(self.path / "status.json"):
            return {"state": STATES[0], "seconds": 0.0}
        return dict(read_checked(self.path, "status.json"))

    def checkpoint(
        self,
        step: int,
        tensors: Mapping[str, "Tensor"],
        meta: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> Path:
        """Write state/step-<step>.safetensors whole, then drop all but the newest two.

        With `resume` it is state/resume-<step>.safetensors: where a stopped run goes on, and gone
        with the next checkpoint. It falls due by the clock, so `checkpoints` does not name it.
        """
        self._writing()
        kind = "resume" if resume else "step"
        path = inside(self.path, f"state/{kind}-{step:08d}.safetensors")
        files.make_folder(path.parent)
        write(path, tensors, {**(meta or {}), "run": {"config": self.digest, "step": step}})
        self._drop_old()
        return path

    def _drop_old(self) -> None:
        """Leave the newest two checkpoints, and one to resume from if that is newer."""
        found = self._checkpoints()
        newest = max(found, default=0)
        by_clock = {step for step, path in found.items() if path.stem.startswith("resume")}
        by_step = [step for step in found if step not in by_clock]
        for step in {*by_step[KEEP:], *(by_clock - {newest})}:
            files.remove(found[step])
        if newest not in by_clock:  # of the same step, the one by steps is enough
            files.remove(self.path / "state" / f"resume-{newest:08d}.safetensors")

    @property
    def checkpoints(self) -> list[int]:
        """The steps of the checkpoints that training itself can go back to, newest first."""
        return list(self._checkpoints("step"))

    def latest(
        self,
        fallback: bool = False,
        accept: Callable[[dict[str, "Tensor"], dict[str, Any]], object] | None = None,
        resume: bool = True,
    ) -> tuple[int, dict[str, "Tensor"], dict[str, Any]] | None:
        """Step, tensors and meta of the newest checkpoint; None where there is none.

        Raises Damaged where the newest is, belongs to another run, or is refused by `accept`
        (tensors, meta), which raises what it likes; and says which one is whole. `fallback` takes
        that one. Without `resume` those that fell due by the clock are passed over.
        """
        damage: Damaged | None = None
        for step, path in self._checkpoints("step|resume" if resume else "step").items():
            try:
                state, meta = self._checkpoint(step, path)
                with blamed(path, "is no checkpoint of this run"):
                    accept and accept(state, meta)
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

    def _checkpoint(self, step: int, path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
        state, meta = read(path)
        owner = self._owner(path, meta)
        if owner is not None and owner.get("step") != step:
            raise Damaged(f"{path} is the checkpoint of another step; put back the one it had.")
        return state, meta

    def _checkpoints(self, kinds: str = "step|resume") -> dict[int, Path]:
        """Newest first."""
        names = {
            path: re.fullmatch(rf"(?:{kinds})-(\d{{1,18}})", path.stem)
            for path in sorted(inside(self.path, "state").glob("*.safetensors"))
        }
        found = sorted((int(name[1]), path.name) for path, name in names.items() if name)
        steps = {step: inside(self.path, f"state/{name}") for step, name in found}
        return dict(reversed(steps.items()))

    @property
    def digest(self) -> str:
        """Of the config, which decides the numbers."""
        text = json.dumps(plain(self.config), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _owner(self, path: Path, meta: dict[str, Any]) -> dict[str, Any] | None:
        """Takes from the note whose the file is. Raises Damaged where that is another run."""
        owner = meta.pop("run", None)
        if owner is None and self.format == 1:
            return None
        mine = (self.digest, *self.about.get("earlier", ()))
        if not isinstance(owner, dict) or owner.get("config") not in mine:
            raise Damaged(
                f"{path} belongs to another run: it was written under other settings than those of"
                f" {self.path / 'config.json'}; put back the file of this run."
            )
        return owner

    # --- what came of it ---

    def weights(self, tensors: Mapping[str, "Tensor"], name: str = "weights", **meta: Any) -> Path:
        """Write weights.safetensors, or ema.safetensors with name="ema"."""
        self._writing()
        path = inside(self.path, f"{name}.safetensors")
        write(path, tensors, {**meta, "run": {"config": self.digest}})
        return path

    def load(self, name: str = "weights") -> tuple[dict[str, "Tensor"], dict[str, Any]]:
        """The tensors and meta that `weights` wrote. Raises UserError where there are none yet, and
        Damaged where they are another run's, or not finite.
        """
        path = inside(self.path, f"{name}.safetensors")
        if not path.exists():
            raise UserError(
                f"{self.path} has no {path.name}: it is not trained yet; the command that began it"
                " goes on."
            )
        tensors, meta = read(path)
        self._owner(path, meta)
        sick = [
            name for name, x in tensors.items() if x.is_floating_point() and not x.isfinite().all()
        ]
        if sick:
            raise Damaged(f"{path} is no model: {sick[0][:60]!a} holds NaN or infinity.")
        return tensors, meta

    def verify(self) -> None:
        """Raises Damaged unless the model files of this run, which is trained, are whole and its
        own.
        """
        for name in ("weights", "ema"):
            path = self.path / f"{name}.safetensors"
            try:
                if not path.exists():
                    raise Damaged(f"{path} is gone.")
                self.load(name)
            except Damaged as error:
                raise Damaged(
                    f"{error} Remove {path.with_name('status.json')}, and the same command writes it"
                    " again from the last checkpoint."
                ) from error

    def write_results(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace results.json: rows of metric, axes, value, stderr, n, seed, protocol, seconds,
        evaluations.
        """
        self._writing()
        write_results(self.path, rows)

    def update_results(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put `rows` in the place of those of the same metrics and axes; what other tasks found
        stays.
        """
        new = list(rows)
        ours = {_key(row) for row in new}
        self.write_results([*(row for row in self.results() if _key(row) not in ours), *new])

    def results(self) -> list[dict[str, Any]]:
        """The rows of results.json, in today's words; none where nothing is measured yet."""
        return read_results(self.path)

    def picture(self, name: str) -> Path:
        """Where to write the picture of this name: samples/<name>.png."""
        path = inside(self.path, f"samples/{name.removesuffix('.png')}.png")
        files.make_folder(path.parent)
        return path


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["metric"], *sorted(row.get("axes", {}).items()))


def new_path(experiment: str, root: str | Path = "runs") -> Path:
    """<root>/<experiment>-<YYYYMMDD>-<short id>, which does not exist yet."""
    while True:
        path = Path(root) / f"{experiment}-{date.today():%Y%m%d}-{secrets.token_hex(2)}"
        if not path.exists():
            return path


def _no_run(path: Path) -> UserError:
    folder = path if path.is_dir() else path.parent
    found = (item.parent for item in folder.glob("*/config.json"))
    drawn = (run for run in found if not run.name.startswith("evaluator-"))
    runs = sorted(drawn, key=lambda run: run.stat().st_mtime)[::-1]
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

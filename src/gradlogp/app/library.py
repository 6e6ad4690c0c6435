"""What the studio can show: models that came with the package, and run folders below one folder.

A page names a model by its name in this list and in no other way; no path is made of what it says.
Models stay loaded while they are used, the last few of them.
"""

import difflib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

from gradlogp.core.errors import UserError
from gradlogp.data import Dataset
from gradlogp.harness import Fitted, load, recipe_of, spec_of
from gradlogp.harness.evaluator import Evaluator, evaluator_beside, evaluator_of
from gradlogp.harness.located import located
from gradlogp.harness.origin import trained_on
from gradlogp.runs import Run
from gradlogp.samplers import LADDER_SAMPLERS, STEP_SAMPLERS

DEEP = 3  # folders below the one that is shown in which runs are looked for
LOADED = 8  # models that stay in memory
T = TypeVar("T")


class Unknown(UserError):
    """A name that is not in the list."""


@dataclass
class Library:
    """Models by name. `folder` holds run folders, `shipped` are names that `load` knows; `data` is
    where data sets are looked for.
    """

    folder: Path | None = None
    shipped: Sequence[str] = ()
    data: Path | None = None
    _kept: dict[tuple[str, str], Any] = field(default_factory=dict)
    _keeping: threading.Lock = field(default_factory=threading.Lock)

    def places(self) -> dict[str, Path]:
        """Name -> the run folder, the shipped first, then the newest runs."""
        found = {name: located(name) for name in self.shipped}
        runs = sorted(self._runs(), key=lambda path: path.stat().st_mtime, reverse=True)
        return found | {self._name(path): path for path in runs}

    def comparisons(self) -> dict[str, Path]:
        """Name -> the folder of a comparison."""
        return {self._name(path): path for path in self._folders("compare.json")}

    def _runs(self) -> Iterator[Path]:
        for path in self._folders("config.json"):
            if not path.name.startswith(("evaluator", "judge")):
                yield path

    def _folders(self, file: str) -> Iterator[Path]:
        if self.folder is not None:
            for depth in range(1, DEEP + 1):
                yield from (path.parent for path in self.folder.glob("*/" * depth + file))

    def _name(self, path: Path) -> str:
        assert self.folder is not None
        return path.relative_to(self.folder).as_posix()

    def place(self, name: str) -> Path:
        return _of(name, self.places(), "model")

    def report(self, name: str) -> Path:
        """The folder of a run or of a comparison."""
        return _of(name, self.places() | self.comparisons(), "report")

    def fitted(self, name: str) -> Fitted:
        """The model of that name. Raises Unknown, and UserError where it cannot be drawn from."""
        place = self.place(name)
        weights = place / "ema.safetensors"
        written = weights.stat().st_mtime_ns if weights.is_file() else 0
        return self.kept(name, f"model {written}", lambda: load(place))

    def dataset(self, name: str) -> Dataset:
        """The data that it was trained on, where they are here: a page downloads none."""
        run = self.fitted(name).run
        return self.kept(name, "data", lambda: trained_on(run, self.data, _elsewhere))

    def kept(self, name: str, what: str, make: Callable[[], T]) -> T:
        """What `make` returned the first time; the oldest of a kind make room."""
        key = (what.split()[0], f"{name} {what}")
        if (found := self._kept.get(key)) is not None:
            return found
        if (made := make()) is None:
            return made
        with self._keeping:
            same = [k for k in self._kept if k[0] == key[0] and k != key]
            for old in same[: len(same) + 1 - LOADED]:
                del self._kept[old]
            self._kept[key] = made
        return made

    def evaluator(self, name: str, teach: bool = False) -> Evaluator | None:
        """The evaluation classifier of the data that this model learned, from beside the run or
        from the folder; None where there is none and it is not to be taught.
        """
        data = self.fitted(name).run.config.get("data", {}).get("name", "")
        places = [self.place(name), *([self.folder / name] if self.folder else [])]

        def make() -> Evaluator | None:
            if not (teach or any(list(place.parent.glob("evaluator-*")) for place in places)):
                return None
            dataset = self.dataset(name)
            found = [evaluator_beside(place, dataset) for place in places]
            path = next((p for p in found if _finished(p)), found[-1] if teach else None)
            return None if path is None else evaluator_of(dataset, path)

        return self.kept(data, "evaluator", make)

    def nearest(self, name: str, has: Callable[[Fitted], T | None]) -> tuple[T, str] | None:
        """What this model `has`, else another model of the list that learned the same data, and
        whose it is; None where none has it.
        """
        mine = self.fitted(name)
        if (own := has(mine)) is not None:
            return own, name
        others = (o for o, path in self.places().items() if o != name and _same_data(mine, path))
        found = ((has(self.fitted(other)), other) for other in others)
        return next(((thing, other) for thing, other in found if thing is not None), None)


def _elsewhere(file: str, done: int, total: int | None) -> NoReturn:
    raise UserError(
        f"{file} is not here yet; `gradlogp data` with the name of its data set fetches it."
    )


def _finished(path: Path) -> bool:
    there = (path / "config.json").is_file()
    return there and Run.open(path).status()["state"] != "training"


def _same_data(mine: Fitted, path: Path) -> bool:
    if not (path / "ema.safetensors").is_file():
        return False
    try:
        return Run.open(path).config.get("data") == mine.run.config.get("data")
    except UserError:
        return False


def _of(name: str, places: dict[str, Path], what: str) -> Path:
    if name in places:
        return places[name]
    near = difflib.get_close_matches(name, places, n=1, cutoff=0.0)
    hint = f"; did you mean {near[0]!r}?" if near else "; train one first."
    raise Unknown(f"there is no {what} {name!r} in the studio's list{hint}")


def card(name: str, path: Path) -> dict[str, Any]:
    """What the page must know of a model before it is loaded; `wrong` in place of it for a run that
    cannot be drawn from.
    """
    try:
        run = Run.open(path)
        recipe, spec = recipe_of(run), spec_of(run)
    except UserError as error:
        return {"name": name, "wrong": str(error)}
    sampler = getattr(recipe, recipe.sampler_field, None) if recipe.sampler_field else None
    table = LADDER_SAMPLERS if hasattr(sampler, "ladder") else STEP_SAMPLERS
    kinds = {kind: key for key, kind in table.items()}
    there = (path / "ema.safetensors").is_file()
    return {
        "name": name,
        "wrong": "" if there else "it has learned nothing yet",
        "title": recipe.title(),
        "story": recipe.about().split("\n\n")[0].replace("**", ""),
        "dataset": str(run.config.get("data", {}).get("name", "")),
        "kind": spec.kind,
        "shape": list(spec.shape),
        "classes": _classes(run, spec.classes) if recipe.conditional else [],
        "samplers": list(table) if sampler is not None else [],
        "sampler": kinds.get(type(sampler), ""),
        "walks": recipe.takes_steps,
        "steps": _steps(recipe),
        "state": run.status()["state"],
    }


def _steps(recipe: Any) -> int:
    """The number that `Fitted.following` takes as steps: an energy's steps, a score's levels."""
    if not recipe.sampler_field:
        return 1
    value = recipe
    for part in recipe.steps_setting().split("."):
        value = getattr(value, part, 0)
    return value if isinstance(value, int) else len(value)


def _classes(run: Run, count: int) -> list[str]:
    names = run.config.get("data", {}).get("classes") or []
    return [str(n) for n in names] if len(names) == count else [str(i) for i in range(count)]


def cards(library: Library) -> list[dict[str, Any]]:
    return [card(name, path) for name, path in library.places().items()]


def drawing(fitted: Fitted, pixels: Sequence[float]) -> Tensor:
    """The numbers of a page as one example of the model's shape, [1, *shape]."""
    shape = fitted.spec.shape
    if fitted.spec.kind != "picture":
        raise UserError(
            f"{fitted.recipe.experiment} learned {fitted.spec.coordinates.plural}, and this takes a"
            " picture; choose a model of pictures."
        )
    size = torch.Size(shape).numel()
    if len(pixels) != size:
        raise UserError(
            f"this model sees {'x'.join(map(str, shape))} = {size} numbers, got {len(pixels)}; draw"
            " on its own canvas."
        )
    return torch.tensor(pixels).view(1, *shape)

"""What each file of a run folder must hold, said once, and checked where the file is read.

A shape is a `Kind`, a list of one shape (any number of such items), or a mapping of keys to shapes.
A key that ends in ? may be missing; the key * stands for every other one. Further keys are let
pass: a later version may write more.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.files import inside, safe_name
from gradlogp.runs.files import Damaged, read_json
from gradlogp.runs.legacy import modern_comparison

MOST = 2**53  # the largest whole number that JSON's readers agree upon
PIXELS = 2**26  # entries of an example


@dataclass(frozen=True)
class Kind:
    """`says` what is expected."""

    says: str
    holds: Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, float) or _whole(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST


def _name(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(safe_name(value))
    except UserError:
        return False


def _size(value: Any) -> bool:
    lengths = isinstance(value, list) and all(_whole(v) and v > 0 for v in value)
    return lengths and 0 < len(value) < 8 and math.prod(value) <= PIXELS


def or_null(kind: Kind) -> Kind:
    return Kind(f"{kind.says} or null", lambda value: value is None or kind.holds(value))


TEXT = Kind("text", lambda value: isinstance(value, str))
NAME = Kind("a plain name", _name)
NUMBER = Kind("a number", _number)
COUNT = Kind("a whole number from 0", lambda value: _whole(value) and value >= 0)
POSITIVE = Kind("a whole number from 1", lambda value: _whole(value) and value >= 1)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
SIZE = Kind(f"a list of lengths, of at most {PIXELS:,} entries", _size)
LEVEL = Kind("a number or text", lambda value: _number(value) or isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
LIST = Kind("a list", lambda value: isinstance(value, list))
ANYTHING = Kind("anything", lambda value: True)
STATE = Kind(
    "training, trained or evaluated", lambda value: value in ("training", "trained", "evaluated")
)

ROW = {
    "metric": TEXT,
    "value": or_null(NUMBER),
    "axes?": {"*": LEVEL},
    **{f"{key}?": or_null(TEXT) for key in ("method", "better", "protocol")},
    **{f"{key}?": or_null(NUMBER) for key in ("stderr", "reference", "trivial", "noisy")},
    **{f"{key}?": or_null(NUMBER) for key in ("n", "seed", "seconds", "evaluations")},
}
COLUMN = {"metric": TEXT, "axes?": {"*": ANYTHING}, "label?": TEXT}
TABLE = {
    "title": TEXT,
    "metrics": [TEXT],
    "over": TEXT,
    "where?": {"*": ANYTHING},
    "last?": [COLUMN],
    "turned?": FLAG,
    "decimals?": or_null(COUNT),
}
SPEC = {
    "shape": SIZE,
    "per_class": [COUNT],
    "std": NUMBER,
    "kind?": TEXT,
    **{f"{key}?": [NUMBER] for key in ("center", "scale")},
}
CONFIG = {
    "recipe?": {
        **{f"{key}?": TEXT for key in ("kind", "dataset", "preset")},
        "experiment?": NAME,
        "seed?": COUNT,
        "conditional?": FLAG,
        "training?": {"images?": POSITIVE, "batch?": POSITIVE},
        "law?": or_null(OBJECT),
    },
    **{f"{key}?": SPEC for key in ("spec", "facts")},  # facts: what format 1 called it
    "data?": {"name": TEXT, "classes?": [TEXT], "checksums": {"*": TEXT}},
}
SHAPES: dict[str, Any] = {
    "config.json": {
        "config": CONFIG,
        "about": {"commit?": or_null(TEXT), "date?": TEXT, "device?": TEXT},
    },
    "status.json": {
        "state": STATE,
        **{f"{key}?": NUMBER for key in ("seconds", "images", "evaluations", "parameters")},
    },
    "metrics.jsonl": {"step": COUNT, "*": or_null(NUMBER)},
    "results.json": {"format": COUNT, "rows": [ROW]},
    "compare.json": {
        "comparison": NAME,
        "methods": [NAME],
        **{f"{key}?": TEXT for key in ("question", "dataset", "preset")},
        "seeds?": [COUNT],
        "changes?": [TEXT],
        "headline?": [COLUMN],
        "tables?": [TABLE],
        "about?": {"*": TEXT},
    },
    "figures.json": {"*": TEXT},
    "films.json": {"*": [TEXT]},
}


def like(value: Any) -> Any:
    """The shape of whatever could stand where `value` does; null where it may be a number."""
    if isinstance(value, Mapping):
        return {f"{key}?": like(item) for key, item in value.items()} if value else OBJECT
    if value is None:
        return or_null(NUMBER)
    if isinstance(value, bool | str):
        return FLAG if isinstance(value, bool) else TEXT
    return LIST if isinstance(value, list) else NUMBER


def wrong(value: Any, shape: Any, where: str = "it") -> str:
    """What `value` has that `shape` has not, in words; nothing where it fits."""
    if isinstance(shape, Kind):
        said = f"{where} should be {shape.says}, but is {_short(value)}"
        return "" if shape.holds(value) else said
    if isinstance(shape, list):
        if not isinstance(value, list):
            return wrong(value, LIST, where)
        found = (wrong(item, shape[0], f"{where}[{i}]") for i, item in enumerate(value))
        return next(filter(None, found), "")
    if not isinstance(value, dict):
        return wrong(value, OBJECT, where)
    return _wrong_keys(value, shape, where)


def _wrong_keys(value: Mapping[str, Any], shape: Mapping[str, Any], where: str) -> str:
    for key, inner in shape.items():
        name = key.removesuffix("?")
        if key != "*" and name in value:
            if said := wrong(value[name], inner, name):
                return said
        elif key == name != "*":
            return f"{where} has no {name!r}"
    others = value.keys() - {key.removesuffix("?") for key in shape}
    found = (wrong(value[key], shape["*"], key[:40]) for key in others if "*" in shape)
    return next(filter(None, found), "")


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return ascii(value)[:40]


def checked(path: Path, value: Any, shape: Any = None, where: str = "it") -> Any:
    """`value`, read from `path`, if it has the shape that a file of that name must have. Raises
    Damaged.
    """
    if said := wrong(value, SHAPES[path.name] if shape is None else shape, where):
        raise Damaged(f"{path} is damaged: {said}.")
    return value


def read_checked(folder: Path, name: str) -> Any:
    """The JSON file `name` of a folder, such as "samples/figures.json". Raises UserError where it
    is not there or leads elsewhere, and Damaged where it does not hold what it must.
    """
    path = inside(folder, name)
    found = read_json(path)
    return checked(path, modern_comparison(found) if path.name == "compare.json" else found)


@contextlib.contextmanager
def blamed(path: Path, what: str = "does not hold what this version expects") -> Iterator[None]:
    """What goes wrong while the content of `path` is used is said of that file, as Damaged."""
    try:
        yield
    except UserError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged(f"{path} {what}: {said}.") from error

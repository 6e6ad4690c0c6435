"""Settings are nested frozen dataclasses; here they become JSON, come back, and take overrides such
as `training.batch=32`.

Where a field may hold one of several dataclasses, the JSON names which in `kind`, and so does an
override: `sampler.kind=ddim`, by the name that the member has in its table. What can be run is a
subclass of `Settings` and is found again by the name of its class.
"""

import ast
import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from gradlogp.core.errors import UserError
from gradlogp.core.noise import PROCESSES
from gradlogp.objectives import OBJECTIVES
from gradlogp.samplers import SAMPLERS

T = TypeVar("T")
RENAMED = {  # settings of earlier versions -> what they are called now
    "law": "levels",
    "regularise": "energy_l2",
    "fresh": "restart_prob",
    "gentler": "lr_backoff",
    "restore": "posterior",
    "floor": "damping",
}
RECIPES = {"RestorerRecipe": "DenoisingRecipe"}  # classes, likewise


# What a field can hold one of is called by the name that it has in its table.
NAMES = {
    member: name for table in (SAMPLERS, PROCESSES, OBJECTIVES) for name, member in table.items()
}


MOST = {  # of whole numbers, by the last name of a setting; "" is any other
    "images": 10**12,
    "snapshots": 1000,
    "levels": 10**5,
    "blocks": 1000,
    "": 10**8,
}


class Settings:
    """What a run folder holds the settings of. Subclasses are frozen dataclasses, known by name."""

    kinds: ClassVar[dict[str, type[Any]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Settings.kinds[cls.__name__] = cls


def from_stored(stored: Any) -> Any:
    """The settings that `to_dict` stored. Raises UserError where their class is not known here."""
    kind = stored.get("kind") if isinstance(stored, Mapping) else None
    kind = RECIPES.get(str(kind), kind)
    if kind not in Settings.kinds:
        raise UserError(
            f"there are no settings of the kind {kind!r} in this version; a kind of one's own has to"
            " be imported before its runs are loaded."
        )
    return from_dict(Settings.kinds[kind], stored)


def as_stored(settings: Any, stored: Any) -> Any:
    """What `to_dict` makes of settings; where an earlier version stored the same, without what was
    added since, what it stored.
    """
    mine = to_dict(settings)
    try:
        same = to_dict(from_stored(stored)) == mine
    except UserError:
        return mine
    return stored if same else mine


Choices = Mapping[str, Mapping[str, tuple[str, ...]]]  # data -> preset -> changes, as for --set


def chosen(settings: T, choices: Choices, families: Sequence[str], preset: str) -> T:
    """`settings` with the changes of a visible table: for all data first, then for ever narrower
    families of it; in each first for all presets, under "any", then for this one.
    """
    for family in families:
        table = choices.get(family, {})
        changes = [*table.get("any", ()), *table.get(preset, ())]
        settings = override(settings, changes) if changes else settings
    return settings


def to_dict(settings: Any) -> Any:
    """Dataclasses as dicts (with their `kind`), tuples as lists: what json.dumps takes."""
    if dataclasses.is_dataclass(settings):
        fields = {f.name: to_dict(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
        return {"kind": type(settings).__name__, **fields}
    if isinstance(settings, tuple | list):
        return [to_dict(s) for s in settings]
    return settings


def from_dict(cls: type[T], data: Any, path: str = "") -> T:
    """The inverse of `to_dict`; UserError names the key that is wrong."""
    if not isinstance(data, dict):
        raise UserError(f"{path or 'settings'} expects a group of settings, got {data!r}.")
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    data = {k if k in known else RENAMED.get(k, k): value for k, value in data.items()}
    for key in data:
        if key != "kind" and key not in known:
            raise UserError(unknown(f"{path}{key}", [path + k for k in known]))
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if f.name not in data and f.default is f.default_factory:  # both are missing
            raise UserError(f"{path}{f.name} is missing, which {cls.__name__} needs.")
    values = {k: coerce(hints[k], data[k], f"{path}{k}") for k in known if k in data}
    return cls(**values)


def coerce(hint: Any, value: Any, path: str) -> Any:
    """`value` as what the type hint asks for."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, path + ".")
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, path)
    fits = len(arguments) == 2 and arguments[-1] is ...
    entries = _entries(value) if origin is tuple and fits else value
    listed = origin is tuple and isinstance(entries, list | tuple)
    if listed and (fits or len(entries) == len(arguments)):
        item = arguments[0]
        return tuple(coerce(item, v, f"{path}[{i}]") for i, v in enumerate(entries))
    if origin is Literal and value in arguments:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise UserError(f"{path} expects {_words(hint)}, got {value!r}.")


def _entries(value: Any) -> Any:
    """The words of a list of words, which stand without quotes; anything else as it is."""
    if not isinstance(value, str):
        return value
    return [word.strip() for word in value.removesuffix(",").split(",")] if value else ()


def _one_of(choices: Sequence[Any], value: Any, path: str) -> Any:
    if value is None and type(None) in choices:
        return None
    groups = [c for c in choices if dataclasses.is_dataclass(c)]
    if groups and isinstance(value, dict):
        named = [g for g in groups if getattr(g, "__name__", "") == value.get("kind")] or groups[:1]
        return coerce(named[0], value, path)
    plain = [c for c in choices if c is not type(None) and not dataclasses.is_dataclass(c)]
    if type(value) in plain:
        return value
    for choice in plain[:-1]:
        try:
            return coerce(choice, value, path)
        except UserError:
            continue
    if plain:
        return coerce(plain[-1], value, path)
    raise UserError(f"{path} expects {' or '.join(_words(c) for c in choices)}, got {value!r}.")


def _words(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(a) for a in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        example = {int: "16,32", float: "0.1,0.5"}.get(typing.get_args(hint)[0], "one,two")
        return f"a list such as {example}"
    return (
        "nothing (None)"
        if hint is type(None)
        else getattr(hint, "__name__", str(hint)).replace("|", "or")
    )


def leaves(settings: Any, path: str = "") -> dict[str, Any]:
    """Every setting by its dotted name; of a group that may be of several kinds, also which it is."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(type(settings))
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if not dataclasses.is_dataclass(value):
            found[path + f.name] = value
            continue
        if len(_groups(hints[f.name])) > 1:
            found[f"{path}{f.name}.kind"] = kind_name(type(value))
        found |= leaves(value, f"{path}{f.name}.")
    return found


def override(settings: T, changes: Sequence[str]) -> T:
    """`settings` with every "section.key=value" of `changes` applied; UserError names the nearest
    key to a wrong one.
    """
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise UserError(f"--set expects section.key=value, got {change!r}.")
        values[key] = _parse(text)
        _sane(key, values[key])
    for key in [key for key in values if key.rpartition(".")[2] == "kind"]:
        _check_key(settings, key)  # kinds first: they decide which other settings there are
        settings = _replaced(settings, {key: values.pop(key)})
    for key in values:
        _check_key(settings, key)
    return _replaced(settings, values)


def _sane(key: str, value: Any) -> None:
    """Raises UserError for a number that no machine could follow, before anything is made of it."""
    entries = value if isinstance(value, tuple | list) else (value,)
    most = MOST.get(key.rpartition(".")[2], MOST[""])
    for entry in entries:
        if isinstance(entry, int) and entry > most:
            raise UserError(f"{key} must be {most:,} or less, got {entry}.")


def _check_key(settings: Any, key: str) -> None:
    known = leaves(settings)
    if key not in known:
        raise UserError(unknown(key, list(known)))


def _replaced(settings: T, values: Mapping[str, Any], path: str = "") -> T:
    """All values at once, by their dotted names: settings that must agree can change together."""
    hints, new = typing.get_type_hints(type(settings)), {}
    for name in dict.fromkeys(key.partition(".")[0] for key in values):
        below = {
            key.partition(".")[2]: value
            for key, value in values.items()
            if key.partition(".")[0] == name
        }
        old, full = getattr(settings, name), path + name
        if "kind" in below and "" not in below:
            old = of_kind(hints[name], below.pop("kind"), old, full)
        new[name] = (
            coerce(hints[name], below[""], full)
            if "" in below
            else _replaced(old, below, full + ".")
        )
    try:
        return dataclasses.replace(settings, **new)  # type: ignore[type-var]
    except ValueError as error:  # a sampler, say, that refuses its step size
        said = ", ".join(
            f"{path}{name}={value!r}"
            for name, value in new.items()
            if not dataclasses.is_dataclass(value)
        )
        raise UserError(f"{said}: {error}" if said else str(error)) from error


def of_kind(hint: Any, kind: Any, old: Any, path: str) -> Any:
    """A member of the union `hint`, by its name in its table or that of its class; settings that it
    shares with `old` stay. Raises UserError where it does not fit, with the names of those that do.
    """
    choices = {kind_name(c): c for c in _groups(hint)} | {c.__name__: c for c in _groups(hint)}
    if kind not in choices:
        fitting = [kind_name(c) for c in _groups(hint)]
        what = "does not fit here" if kind in NAMES.values() else "does not exist"
        raise UserError(f"{path}.kind: {kind!r} {what}; those that fit are {', '.join(fitting)}.")
    chosen = choices[kind]
    if type(old) is chosen:
        return old
    kept = {}
    hints = typing.get_type_hints(chosen)
    for name in (f.name for f in dataclasses.fields(chosen) if f.init and hasattr(old, f.name)):
        try:
            kept[name] = coerce(hints[name], to_dict(getattr(old, name)), name)
        except UserError:  # the same word for another thing
            continue
    try:
        return chosen(**kept)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}.kind={kind}: {error}") from error


def kind_name(member: type) -> str:
    """What a person calls it: its name in its table, the name of what it builds, or that of its
    class in small letters (log_normal).
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", member.__name__).lower()
    return NAMES.get(member) or str(getattr(member, "named", words))


def _groups(hint: Any) -> list[type]:
    """The dataclasses that a field may hold."""
    origin = typing.get_origin(hint)
    choices = typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)
    return [c for c in choices if dataclasses.is_dataclass(c)]  # type: ignore[misc]


def _parse(text: str) -> Any:
    try:
        return ast.literal_eval(
            {"true": "True", "false": "False", "none": "None"}.get(text.lower(), text)
        )
    except (ValueError, SyntaxError):
        return text


def unknown(key: str, known: Sequence[str]) -> str:
    """The message for a key that does not exist."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return (
        f"there is no setting {key!r}; did you mean {near[0]!r}?"
        if near
        else f"there is no setting {key!r}."
    )

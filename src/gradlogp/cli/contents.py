"""What there is: the tables of pieces, each member in a sentence, read from the source.

    "langevin": Langevin    ->    class Langevin: '''Langevin dynamics: samples the density ...'''
    "ebm": generate.BUFFER  ->    BUFFER = Comparison(question="What does the replay buffer buy, ...")

A sentence is written beside what it describes, in a docstring or in the argument `says` or
`question` of a call. Importing the tables to print it would import torch, which takes seconds, so
names are followed through the syntax trees of the modules instead, as the import would follow them.
"""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gradlogp.cli.arguments import List
from gradlogp.cli.terminal import Terminal

TABLES = {  # the kind -> the module of its table, and the table's name there
    "samplers": "gradlogp.samplers:SAMPLERS",
    "objectives": "gradlogp.objectives:OBJECTIVES",
    "models": "gradlogp.models:MODELS",
    "processes": "gradlogp.core.noise:PROCESSES",
    "targets": "gradlogp.core.targets:TARGETS",
    "baselines": "gradlogp.baselines:BASELINES",
    "detectors": "gradlogp.baselines.detectors:DETECTORS",
    "tasks": "gradlogp.tasks:TASKS",
    "metrics": "gradlogp.metrics:METRICS",
    "experiments": "gradlogp.experiments:RECIPES",
    "comparisons": "gradlogp.experiments:COMPARISONS",
    "kinds": "gradlogp.harness:KINDS",
    "data": "gradlogp.data:DATASETS",
    "presets": "gradlogp.harness:PRESETS",
    "benches": "gradlogp.bench:BENCHES",
    "zoo": "gradlogp.zoo:MODELS",
}
SENTENCES = ("question", "says")  # arguments that describe what a call makes
PACKAGE = Path(__file__).parents[1]


def tables(args: List, terminal: Terminal) -> None:
    kinds = list(TABLES) if args.kind == "all" else [args.kind]
    found = {kind: members(kind) for kind in kinds}
    for kind in kinds:
        terminal.say(listing(kind, found[kind]))
    terminal.result(found)


def listing(kind: str, found: Mapping[str, str]) -> str:
    width = max(30, 2 + max(map(len, found)))
    lines = [f"  {name:<{width}}{text}" for name, text in found.items()]
    return "\n".join([f"{kind} ({len(found)})", *lines])


def members(kind: str) -> dict[str, str]:
    """The members of one table, each in a sentence: what it says, or its docstring's first
    paragraph.
    """
    module, name = TABLES[kind].split(":")
    node, module = defined(ast.Name(name), module)
    if not isinstance(node, ast.Dict):
        raise ValueError(f"{TABLES[kind]} should be a dict written out, one line a member.")
    entries = zip(node.keys, node.values, strict=True)
    return {_text(key): sentence(value, module) for key, value in entries}


class Import(NamedTuple):
    """`from module import name`"""

    module: str
    name: str


Node = ast.AST | Import


@cache
def names(module: str) -> dict[str, Node]:
    """What each name at the top of a module is bound to."""
    found: dict[str, Node] = {}
    for node in ast.parse(_file(module).read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = value
            case ast.ImportFrom(module=str(source), names=aliases):
                found |= {a.asname or a.name: Import(source, a.name) for a in aliases}
    return found


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def defined(node: ast.AST, module: str) -> tuple[ast.AST, str]:
    """The class, function or expression that an expression of `module` stands for, and the module
    that it is written in.
    """
    match node:
        case ast.Name(id=name):
            found = names(module)[name]
            return _imported(*found) if isinstance(found, Import) else defined(found, module)
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return _attribute(names(module)[owner], name, module)
    return node, module


def _imported(module: str, name: str) -> tuple[ast.AST, str]:
    return defined(ast.Name(name), module)


def _attribute(owner: Node, name: str, module: str) -> tuple[ast.AST, str]:
    """`owner.name`, where the owner is a module or a class."""
    if not isinstance(owner, Import):
        assert isinstance(owner, ast.ClassDef)
        return next(n for n in owner.body if getattr(n, "name", None) == name), module
    if _file(inside := ".".join(owner)).exists():
        return defined(ast.Name(name), inside)
    return _attribute(names(owner.module)[owner.name], name, owner.module)


def sentence(node: ast.AST, module: str) -> str:
    """What a member of a table says of itself."""
    node, module = defined(node, module)
    if isinstance(node, ast.Call):
        arguments = _arguments(node, module)
        said = next((_text(arguments[key]) for key in SENTENCES if key in arguments), "")
    elif isinstance(node, ast.ClassDef | ast.FunctionDef):
        said = ast.get_docstring(node) or ""
    else:
        said = _text(node)
    return " ".join(said.partition("\n\n")[0].split())


def _arguments(call: ast.Call, module: str) -> dict[str, ast.expr]:
    """The arguments of a call by their names, with the defaults of a class's fields."""
    maker, _ = defined(call.func, module)
    fields: list[str] = []
    defaults: dict[str, ast.expr] = {}
    match maker:
        case ast.FunctionDef(args=parameters):
            fields = [parameter.arg for parameter in parameters.args]
        case ast.ClassDef(body=body):
            for line in body:
                match line:
                    case ast.AnnAssign(target=ast.Name(id=name), value=value):
                        fields.append(name)
                        defaults |= {name: value} if value is not None else {}
    placed = dict(zip(fields, call.args, strict=False))
    return defaults | placed | {k.arg: k.value for k in call.keywords if k.arg}


def _text(node: ast.AST | None) -> str:
    """A string that is written out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return inspect.cleandoc(node.value)
    raise ValueError(f"expected a string written out, got {ast.dump(node) if node else None}.")

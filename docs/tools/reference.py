"""The reference: one page for each module that has public names, written when the site is built.

Public is what has no underscore before its name, in any module of the library. The text is that of
the docstrings: shapes, units, errors and sources stand there, beside the code.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Module:
    """A module, the first paragraph of its docstring, and its public functions and classes."""

    name: str
    story: str
    names: tuple[str, ...]

    @property
    def package(self) -> str:
        """The folder below gradlogp that it lies in; gradlogp itself for what lies in none."""
        return [*self.name.split("."), "gradlogp"][1]

    @property
    def short(self) -> str:
        return self.name.removeprefix("gradlogp.")

    @property
    def page(self) -> str:
        return f"reference/modules/{self.short}.md"


def modules() -> Iterator[Module]:
    """Every module with public names, by its name."""
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = [node.name for node in tree.body if isinstance(node, NAMED)]
        public = tuple(name for name in names if not name.startswith("_"))
        if public:
            name = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
            yield Module(name.removesuffix(".__init__"), _story(tree), public)


def pages() -> dict[str, str]:
    """The text of every page of the reference, by its path."""
    found = list(modules())
    packages = list(dict.fromkeys(module.package for module in found))
    made = {module.page: f"# {module.short}\n\n::: {module.name}\n" for module in found}
    made["reference/index.md"] = _index(packages)
    for package in packages:
        inside = [module for module in found if module.package == package]
        made[f"reference/{package}.md"] = _package(package, inside)
    return made


def _story(tree: ast.Module) -> str:
    """The first paragraph of a module's docstring, on one line, without what a table's row ends at."""
    paragraph = (ast.get_docstring(tree) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", "&#124;")


def _index(packages: list[str]) -> str:
    rows = [f"| [{package}]({package}.md) | {_about(package)} |" for package in packages]
    return "\n".join(["# Reference", "", ABOUT, "", "| package | |", "|---|---|", *rows]) + "\n"


def _about(package: str) -> str:
    file = SOURCE / "gradlogp" / ("" if package == "gradlogp" else package) / "__init__.py"
    return _story(ast.parse(file.read_text(encoding="utf-8")))


def _package(package: str, inside: list[Module]) -> str:
    rows = [_row(module) for module in inside]
    head = [f"# {package}", "", _about(package), "", "| module | | public names |", "|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _row(module: Module) -> str:
    file = module.page.removeprefix("reference/")
    links = (f"[`{name}`]({file}#{module.name}.{name})" for name in module.names)
    return f"| [{module.short}]({file}) | {module.story} | {', '.join(links)} |"


ABOUT = """Every public name of the library by its module, with shapes, units, errors and sources as its
docstring gives them, and its code. `gradlogp list` prints the members of each table in a sentence;
the [glossary](../glossary.md) says what the words mean."""

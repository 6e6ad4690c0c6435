r"""Equations as MathML, which browsers draw by themselves: no script, no font, nothing fetched.

$x$, $$x$$ of a page; :math:`x` and .. math:: x of a docstring  ->  arithmatex  ->  <math>
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor

BLOCK = re.compile(r"^( *)\.\. math:: ?(.*(?:\n\1 +\S.*)*)", re.M)
ROLE = re.compile(r":math:`([^`]+)`")
SHAPE = re.compile(r"(?<![`\w\]])(\[[^\]\[`\n]*\*[^\]\[`\n]*\])(?!\()")
FENCED = re.compile(r"^ *(```|~~~)", re.M)
LARGE_NORM = re.compile(r"(\\[Bb]igg?[lr]?)\\\|")
MARKED = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.S)


class Equations(Extension):
    """Before Markdown, docstrings' roles become dollars; after it, what arithmatex marked MathML."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(Roles(md), "docstring_equations", 40)
        md.postprocessors.register(Drawn(md), "mathml", -10)


class Roles(Preprocessor):
    """The equations of docstrings in the signs of pages, and shapes such as [B, *shape] as code."""

    def run(self, lines: list[str]) -> list[str]:
        text = "\n".join(lines)
        text = BLOCK.sub(lambda m: f"\n{m[1]}$$\n{m[1]}{_one_line(m[2])}\n{m[1]}$$\n", text)
        text = ROLE.sub(lambda m: f"${_one_line(m[1])}$", text)
        if not FENCED.search(text):
            text = SHAPE.sub(r"`\1`", text)
        return text.split("\n")


class Drawn(Postprocessor):
    def run(self, text: str) -> str:
        return MARKED.sub(_mathml, text)


def _one_line(equation: str) -> str:
    return " ".join(equation.split())


def _mathml(found: re.Match[str]) -> str:
    equation = html.unescape(found[2]).strip()[2:-2]
    equation = LARGE_NORM.sub(r"\1‖", equation)  # which latex2mathml does not know
    return convert(equation, display="block" if found[1] == "div" else "inline")


def makeExtension(**settings: Any) -> Equations:
    return Equations(**settings)

"""The technical report, from Markdown with placeholders to one HTML file and a PDF.

    docs/report/*.md  ->  numbers and figures from results (jinja)  ->  pandoc  ->  report.html (MathML, one file)
                                                                        pandoc  ->  Typst  ->  report.pdf

Pandoc reads equations, citations and cross-references of Markdown and writes both forms; Typst sets
the PDF in seconds. Both come by pip as one wheel each without anything of the system, and both are
well kept; TeX is a gigabyte, and WeasyPrint, which sets HTML, knows no equations.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import jinja2
import jinja2.sandbox

from gradlogp.core.errors import UserError
from gradlogp.reports import bibliography
from gradlogp.reports.sources import Draw, Sources, typed
from gradlogp.runs import write_text

READS = "markdown+tex_math_dollars+pipe_tables+table_captions+implicit_figures+citations-smart"
STYLES = Path(__file__).parent


class Built(NamedTuple):
    """The two files, and the results that they were made from."""

    html: Path
    pdf: Path
    used: list[str]


def build(sources: Path, results: Path, papers: Path, out: Path, draw: Draw) -> Built:
    """Write OUT/report.html and OUT/report.pdf from the Markdown files in `sources` in the order of
    their names; `papers` is the page of papers that citations name. UserError where a source is
    missing, names what is not there, claims what is no longer true or holds a number by hand.
    """
    pandoc, typst = _tools()
    parts = sorted(sources.glob("*.md"))
    if not parts:
        raise UserError(f"{sources}: expected the sources of the report, *.md, got none.")
    for part in parts:
        if found := typed(part.read_text(encoding="utf-8")):
            raise UserError(
                f"{part} has numbers typed by hand: {', '.join(found[:8])}; name a result instead."
            )
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        work = Path(folder)
        placeholders = Sources(results, work, draw)
        text = "\n\n".join(_filled(part, placeholders) for part in parts)
        listed = list(bibliography.entries(papers.read_text(encoding="utf-8")).values())
        (work / "papers.json").write_text(json.dumps(listed), encoding="utf-8")
        write_text(out / "report.html", _html(pandoc, text, work))
        write_text(out / "report.pdf", _pdf(pandoc, typst, text, work))
        return Built(out / "report.html", out / "report.pdf", sorted(placeholders.used))


def _tools() -> tuple[Any, Any]:
    try:
        import pypandoc
        import typst
    except ImportError as error:
        raise UserError(
            f"the report needs {error.name}, which is not installed: pip install 'gradlogp[paper]'."
        ) from error
    return pypandoc, typst


def _filled(part: Path, placeholders: Sources) -> str:
    """The source with all that its placeholders name."""
    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        comment_start_string="{#!",  # {# begins the identifier of a heading
    )
    environment.globals |= placeholders.names()
    try:
        return environment.from_string(part.read_text(encoding="utf-8")).render()
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        raise UserError(f"{part}{f', line {line}' if line else ''}: {error}.") from error


def _html(pandoc: Any, text: str, work: Path) -> str:
    options = ["--embed-resources", "--mathml", "--toc", "--toc-depth=2"]
    style = STYLES / "paper.css"
    return _converted(pandoc, text, "html5", work, [*options, f"--css={style}"])


def _pdf(pandoc: Any, typst: Any, text: str, work: Path) -> bytes:
    options = ["--toc", "--toc-depth=2", f"--include-in-header={STYLES / 'paper.typ'}"]
    source = _converted(pandoc, text, "typst", work, options)
    (work / "report.typ").write_text(source, encoding="utf-8")
    try:
        made: bytes = typst.compile(str(work / "report.typ"), root=str(work))
    except RuntimeError as error:  # a fault in what pandoc wrote: say where
        raise UserError(f"Typst cannot set the report: {error}") from error
    return made


def _converted(pandoc: Any, text: str, to: str, work: Path, options: Sequence[str]) -> str:
    common = [
        *("--standalone", "--citeproc", "--number-sections", "--metadata=link-citations:true"),
        *(f"--bibliography={work / 'papers.json'}", f"--resource-path={work}"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # pypandoc's own pipes
        return str(pandoc.convert_text(text, to, READS, extra_args=[*common, *options]))

"""What a page of results says, as rows: docs/results/<name>.json, beside the page and committed with it.

    comparison's folder  ->  `published`  ->  <name>.json, a row a line  ->  `read`  ->  Published

Whatever is written of results later (the leaderboard, the technical report) reads these rows, so
that no number is copied by hand. A row is that of results.json; its protocol, which many rows
share, is a place in the list `protocols`. `source` says where the rows are from: "folder", or
"page" where the runs are gone and the numbers are those that the page has, to its printed digits.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from gradlogp.core.errors import UserError
from gradlogp.core.files import there
from gradlogp.experiments import COMPARISONS
from gradlogp.harness import KINDS, Kind
from gradlogp.harness.table import Table
from gradlogp.reports import command
from gradlogp.reports.export import COSTS
from gradlogp.reports.numbers import Key, Numbers
from gradlogp.reports.read import Method, Page, page, table_of
from gradlogp.runs import read_json, safe_name, write_text
from gradlogp.runs.files import plain
from gradlogp.runs.schema import COLUMN, COUNT, NAME, NUMBER, ROW, TABLE, TEXT, checked, or_null

FORMAT = 1
KEPT = (
    *("method", "metric", "axes", "value", "stderr", "n", "seed", "better", "reference", "trivial"),
    *("noisy", "seconds", "evaluations", "protocol"),
)
SHAPE = {
    "format": COUNT,
    "source": TEXT,
    "about": {
        **dict.fromkeys(("comparison", "question", "command", "dataset", "preset", "day"), TEXT),
        **{
            f"{key}?": or_null(TEXT)
            for key in ("kind", "page", "gradlogp", "commit", "torch", "device")
        },
        "seeds": [COUNT],
        "seconds?": or_null(NUMBER),
        "threads?": or_null(COUNT),
    },
    "methods": [{"name": NAME, "title": TEXT, **{f"{cost}?": or_null(NUMBER) for cost in COSTS}}],
    "headline": [COLUMN],
    "tables": [TABLE],
    "figures": {"*": TEXT},
    "protocols": [TEXT],
    "rows": [{**{k: v for k, v in ROW.items() if k != "protocol?"}, "protocol?": or_null(COUNT)}],
}


@dataclass(frozen=True)
class Published:
    """The results of one comparison. `about`: its question, command, data set, seeds, day, machine;
    `methods`: name, title and costs of those that were trained; `figures`: name of a picture in
    images/ and what it shows.
    """

    about: Mapping[str, Any]
    methods: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    headline: Sequence[Mapping[str, Any]] = ()
    tables: Sequence[Mapping[str, Any]] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    source: str = "folder"

    @property
    def name(self) -> str:
        return str(self.about.get("page") or self.about["comparison"])

    @property
    def kind(self) -> type[Kind]:
        """Of the data; pictures where an older page does not say."""
        return KINDS.get(str(self.about.get("kind") or "picture"), Kind)

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers(self.rows, [str(m["name"]) for m in self.methods])

    @property
    def columns(self) -> list[Key]:
        """The metrics of the first table."""
        keys = (Key.of(column["metric"], column.get("axes")) for column in self.headline)
        return [key for key in keys if key in self.numbers.metrics]

    @property
    def ordered(self) -> list[Mapping[str, Any]]:
        """The methods as a table lists them: the best of the first metric comes first."""
        ranked = self.numbers.ranked(self.columns[0]) if self.columns else []
        places = {name: place for place, name in enumerate(ranked)}
        return sorted(self.methods, key=lambda m: places.get(m["name"], len(ranked)))

    def table(self, title: str) -> Table | None:
        """The further table of that title."""
        return next((table_of(said) for said in self.tables if said["title"] == title), None)


def page_name(note: Mapping[str, Any]) -> str:
    """The comparison's name; on other data than its page is about, the data set's name with it.

    What is asked of natural pictures by itself has its page about MNIST.
    """
    comparison = safe_name(note["comparison"], "the comparison's name")
    known, data = COMPARISONS.get(comparison), str(note["dataset"])
    own = known.dataset if known else data
    if data == "mnist" or (data.removesuffix(":mnist") == own and own != "cifar10"):
        return comparison
    return safe_name(f"{comparison}-{re.sub(r'[^A-Za-z0-9]+', '-', data)}", "the page's name")


def published(shown: Page, figures: Mapping[str, str]) -> Published:
    """The results of a comparison's page; `figures` are the pictures that go beside it."""
    methods = [_method(method) for method in shown.methods]
    rows = list(chain.from_iterable(shown.numbers.rows.values()))
    headline = [{"metric": key.metric, "axes": dict(key.axes)} for key in shown.headline]
    tables = [asdict(table) for table in shown.tables]
    return Published(_about(shown), methods, rows, headline, tables, dict(figures))


def _about(shown: Page) -> dict[str, Any]:
    """What was asked of which data, and by what version on what machine."""
    return {
        "comparison": safe_name(shown.note["comparison"], "the comparison's name"),
        "page": page_name(shown.note),
        "question": str(shown.note["question"]),
        "command": command.whole(shown),
        "dataset": shown.first.run.config["data"]["name"],
        "kind": shown.first.spec.get("kind"),
        "preset": str(shown.first.recipe.get("preset")),
        "seeds": shown.seeds,
        "day": shown.day,
        **_made_by(shown.first.run.about),
        "seconds": seconds(shown.methods),
    }


def _made_by(about: Mapping[str, Any]) -> dict[str, Any]:
    return {key: about.get(key) for key in ("gradlogp", "commit", "torch", "device", "threads")}


def seconds(methods: Sequence[Method]) -> float:
    """Of learning, of all runs together. A network that several methods share has one number of
    seconds, and is counted once.
    """
    runs = chain.from_iterable(method.runs for method in methods)
    return sum({run.status.get("seconds") or 0 for run in runs})


def _method(method: Method) -> dict[str, Any]:
    costs = {cost: method.fact(cost) for cost in COSTS}
    return {"name": method.name, "title": method.title, **costs}


def write(found: Published, folder: Path) -> Path:
    """Write FOLDER/<name>.json, a row a line; returns its path."""
    path = folder / f"{found.name}.json"
    write_text(path, text(found))
    return path


def text(found: Published) -> str:
    """The file: sorted lists of one line an item, so that a change of one number is one line."""
    protocols = list(dict.fromkeys(str(row.get("protocol") or "") for row in found.rows))
    rows = [_short(row, protocols) for row in found.rows]
    parts = {
        "format": FORMAT,
        "source": found.source,
        "about": found.about,
        "headline": list(found.headline),
        "figures": found.figures,
    }
    listed = {
        "methods": found.methods,
        "tables": found.tables,
        "protocols": protocols,
        "rows": rows,
    }
    lines = [f"{json.dumps(key)}: {_line(value)}" for key, value in parts.items()]
    for key, items in listed.items():
        inner = ",\n".join(map(_line, items))
        lines.append(f"{json.dumps(key)}: [\n{inner}\n]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def _short(row: Mapping[str, Any], protocols: Sequence[str]) -> dict[str, Any]:
    kept = {key: _rounded(row[key]) for key in KEPT if row.get(key) not in (None, {}, "")}
    protocol = protocols.index(str(row.get("protocol") or ""))
    return {**kept, "value": _rounded(row.get("value")), "protocol": protocol}


def _rounded(value: Any) -> Any:
    """A number to seven digits, which is all that float32 has."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def read(path: Path) -> Published:
    """The results in a file that `write` made. Raises UserError where it is none."""
    content = checked(path, read_json(path), SHAPE)
    if content["format"] != FORMAT:
        raise UserError(
            f"{path} has format {content['format']}, and this version reads {FORMAT}; install the"
            " one that wrote it."
        )
    protocols = content["protocols"]
    rows = [{**row, "protocol": protocols[row.get("protocol") or 0]} for row in content["rows"]]
    return Published(
        content["about"],
        content["methods"],
        rows,
        content["headline"],
        content["tables"],
        content["figures"],
        content["source"],
    )


def read_all(folder: Path) -> list[Published]:
    """The results of every page in a folder such as docs/results, and of every comparison's folder
    in it, by name; of `folder` itself where it is a comparison's.
    """
    if there(folder / "compare.json"):
        return [_of(folder)]
    files = [read(p) for p in sorted(folder.glob("*.json")) if there(p.with_suffix(".md"))]
    found = [*files, *(_of(path.parent) for path in sorted(folder.glob("*/compare.json")))]
    if not found:
        raise UserError(
            f"{folder}: expected results, the JSON files beside the pages of `gradlogp report"
            " --results` or folders of comparisons, got none."
        )
    return found


def _of(folder: Path) -> Published:
    return published(page(folder), {})

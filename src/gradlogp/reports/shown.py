"""One run as a page shows it, read from its folder: pictures, curves, numbers, and what the guard
said.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gradlogp.core.files import read_bytes, there
from gradlogp.reports import words
from gradlogp.reports.picture import Picture, film, picture, sound
from gradlogp.reports.plot import Line, chart
from gradlogp.runs import Run, inside, read_checked

GUARD = re.compile(r"^(?:\d{4}-\d\d-\d\d[ T][\d:.]+ )?(guard\b.*)")


@dataclass(frozen=True)
class Film:
    """One chain a row; `captions` name the columns."""

    kind: str
    picture: Picture
    captions: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A picture that an experiment drew for its page, and what it says about it."""

    caption: str
    picture: Picture


def captions(folder: Path) -> dict[str, str]:
    """Name of a picture -> what it shows, as `samples/figures.json` has them."""
    found = there(folder / "samples" / "figures.json")
    return dict(read_checked(folder, "samples/figures.json")) if found else {}


def figures(folder: Path) -> list[Figure]:
    """Those that have a caption, in its order."""
    found = [
        (caption, picture(inside(folder, f"samples/{name}")))
        for name, caption in captions(folder).items()
    ]
    return [Figure(caption, shown) for caption, shown in found if shown]


@dataclass(frozen=True)
class Restored:
    """Rows of clean, noisy and restored pictures at one noise level, and their numbers: metric ->
    its row.
    """

    sigma: str
    picture: Picture | None
    numbers: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Shown:
    """One run as the page shows it."""

    run: Run

    @property
    def recipe(self) -> dict[str, Any]:
        return dict(self.run.config.get("recipe") or {})

    @property
    def name(self) -> str:
        return str(self.recipe.get("experiment", self.run.path.name))

    @property
    def seed(self) -> Any:
        return self.recipe.get("seed")

    @cached_property
    def status(self) -> dict[str, Any]:
        return self.run.status()

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        return self.run.metrics()

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        return self.run.results()

    @property
    def steps(self) -> int | None:
        """Updates of the whole training, as planned."""
        training = self.recipe.get("training") or {}
        return (
            max(1, training["images"] // training["batch"])
            if {"images", "batch"} <= set(training)
            else None
        )

    @property
    def unfinished(self) -> str:
        """What is still to come, in words; nothing for a run that is done."""
        state = self.status.get("state")
        done = self.log[-1]["step"] if self.log else 0
        if state == "evaluated":
            return ""
        if state == "trained":
            return "is trained but not yet measured"
        return (
            f"is in training, or was stopped on the way: {done:,} of {self.steps or 0:,} updates"
            " are done"
            if done
            else ("has only begun")
        )

    @property
    def guard(self) -> list[str]:
        """What the guard of the training said."""
        path = inside(self.run.path, "log.txt")
        lines = read_bytes(path).decode(errors="replace").splitlines() if path.exists() else []
        return [found[1] for line in lines if (found := GUARD.match(line))]

    def picture(self, name: str) -> Picture | None:
        return picture(inside(self.run.path, f"samples/{name}.png"))

    @property
    def figures(self) -> list[Figure]:
        return figures(self.run.path)

    @property
    def final(self) -> Picture | None:
        return self.picture("final")

    @property
    def turning(self) -> str | None:
        """The first samples on a turntable, of volumes."""
        return film(inside(self.run.path, "samples/final.gif"))

    @property
    def sound(self) -> str | None:
        """The first samples one after the other, of waveforms."""
        return sound(inside(self.run.path, "samples/final.wav"))

    @property
    def classes(self) -> Picture | None:
        return self.picture("classes")

    @property
    def class_names(self) -> list[str]:
        """One for each row of `classes`."""
        names = (self.run.config.get("data") or {}).get("classes")
        return [str(n) for n in names or range(len(self.spec.get("per_class") or ()))]

    @property
    def spec(self) -> dict[str, Any]:
        """The specification of the data; runs of version 1 call it facts."""
        return dict(self.run.config.get("spec") or self.run.config.get("facts") or {})

    @property
    def progress(self) -> list[tuple[int, Picture]]:
        """(updates made, a column of samples), in the order of learning."""
        files = sorted((self.run.path / "samples").glob("progress-*.png"))
        steps = [(path.stem.removeprefix("progress-"), self.picture(path.stem)) for path in files]
        return sorted((int(step), found) for step, found in steps if found and step.isdigit())

    @property
    def films(self) -> list[Film]:
        found = there(self.run.path / "samples" / "films.json")
        captions = read_checked(self.run.path, "samples/films.json") if found else {}
        kinds = ("annealing", "chain-noise", "chain-data")
        return [
            Film(kind, shown, captions.get(kind, ()))
            for kind in kinds
            if (shown := self.picture(kind))
        ]

    @cached_property
    def restored(self) -> list[Restored]:
        """By noise level, from little to much."""
        pictures = (self.run.path / "samples").glob("denoise-*.png")
        numbers: dict[str, dict[str, Any]] = {
            path.stem.removeprefix("denoise-"): {} for path in pictures
        }
        for row in self.results:
            axes = row.get("axes") or {}
            if set(axes) == {"noise"} and "noisy" in row:
                numbers.setdefault(f"{axes['noise']:g}", {})[str(row["metric"])] = row
        ordered = sorted(numbers, key=level_of)
        return [Restored(s, self.picture(f"denoise-{s}"), numbers[s]) for s in ordered]

    def restoring(self, key: str) -> list[tuple[float, Any]]:
        """(noise level, the number that the row of the first restoration metric has under `key`)."""
        return [
            (level_of(r.sigma), next(iter(r.numbers.values())).get(key))
            for r in self.restored
            if r.numbers
        ]

    @property
    def charts(self) -> list[tuple[words.Panel, Markup]]:
        """The training log, drawn."""
        panels = words.panels({key for line in self.log for key in line})
        drawn = [
            (panel, chart(self._lines(panel), "updates", panel.log, panel.zero)) for panel in panels
        ]
        return [(panel, svg) for panel, svg in drawn if svg]

    def _lines(self, panel: words.Panel) -> list[Line]:
        """The last line has the method's colour, one before it ink."""
        return [
            Line(says, [(row["step"], row.get(key)) for row in self.log], style)
            for style, (key, says) in enumerate(panel.series.items(), 2 - len(panel.series))
        ]


def level_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")

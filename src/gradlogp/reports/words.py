"""What the page says: numbers as a person writes them, metrics, charts and methods in plain words."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from gradlogp.harness import Kind
from gradlogp.metrics import quantity
from gradlogp.reports.numbers import Key

OF_PICTURES = r"(?<![\w/.:_-])(?P<word>[Pp]ictures?|[Pp]ixels?)(?![\w/:_-]|\.\w)"


def of_kind(text: str, kind: type[Kind]) -> str:
    """A text that speaks of pictures and pixels, which rows and waveforms are not, in the words of
    its data; names of methods and files are left as they are.
    """
    return re.sub(OF_PICTURES, lambda found: renamed(found["word"], kind), text)


def renamed(word: str, kind: type[Kind]) -> str:
    """ "Pictures" -> "Volumes"."""
    if "picture" in kind.noun:
        return word
    names = {"picture": (kind.noun, kind.plural), "pixel": ("entry", "entries")}
    plural = word.lower().endswith("s")
    new = names[word.lower().removesuffix("s")][plural]
    return new.capitalize() if word[0].isupper() else new


class Word(NamedTuple):
    """A metric: its name, and what it says to somebody who has never met it."""

    name: str
    says: str


HEADLINE = ("fd", "precision", "recall", "coverage", "agreement", "memorisation")


class Panel(NamedTuple):
    """A chart of the training log: name in the log -> label of the line, and how to read it. zero:
    0 is the mark.
    """

    series: Mapping[str, str]
    title: str
    says: str
    log: bool = False
    zero: bool = False


ENERGY_PANELS = (
    Panel(
        {"gap": "energy gap"},
        "Energy gap",
        "Energy where the model's own chains end, minus energy of real pictures. Healthy: it hovers"
        " near 0, so that neither can be told from the other. Far above 0, the chains do not keep"
        " up with the model; far below, they found a hole in the landscape.",
        zero=True,
    ),
    Panel(
        {"displacement": "displacement"},
        "Langevin displacement",
        "How far a chain moves a pixel during one update, on average (black to white is 2). Near 0"
        " the chains are stuck, and the model learns nothing.",
        zero=True,
    ),
    Panel(
        {"energy_data": "real pictures", "energy_chains": "chains"},
        "Energy",
        "Low means likely. The two lines should stay together and stay small; lines that run away"
        " are a model about to diverge.",
        zero=True,
    ),
    Panel(
        {"loss": "loss"},
        "Loss, which says little",
        "The gap with its sign turned, plus a term that keeps energies small. A model that is right"
        " has a loss near 0, and so has one that has learned nothing.",
        zero=True,
    ),
)
SCORE_PANELS = (
    Panel(
        {"loss_per_dim": "loss"},
        "Denoising loss per pixel",
        "The error in guessing the noise that was added, weighted over noise levels. Unlike the"
        " loss of an energy it does fall as the model learns, but never to 0: nobody can guess all"
        " of the noise.",
        log=True,
    ),
    Panel(
        {"grad_norm": "size of the gradient"},
        "Size of the gradient",
        "How hard each update pulls at the weights. A spike now and then is nothing; a steady rise"
        " is trouble.",
        log=True,
    ),
)
OTHER_PANELS = (Panel({"loss": "loss"}, "Loss", "What training makes smaller."),)


def panels(logged: set[str]) -> tuple[Panel, ...]:
    """The charts for a log that holds these numbers."""
    if "gap" in logged:
        return ENERGY_PANELS
    return SCORE_PANELS if "loss_per_dim" in logged else OTHER_PANELS


# How an axis is said after the name of a metric; by default its value alone.
AXES = {
    "noise": "at noise {}",
    "steps": "after {} steps",
    "start": "from {}",
    "by": "by {}",
    "over": "over {}",
    "to": "to {}",
    "against": "against {}",
    "variance": "on variance {}",
    "step": "at step {}",
}


def axis_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def axes(key: Key) -> str:
    """("fd", (("steps", 20),)) -> after 20 steps"""
    said = (AXES.get(name, "{}").format(axis_value(value)) for name, value in key.axes)
    return " ".join(said)


def metric(key: Key) -> Word:
    """The words for a metric and its axes; a new one keeps its bare name."""
    known = quantity(key.metric)
    name, meaning = (known.name, known.meaning) if known else (key.metric, "")
    return Word(f"{name} {axes(key)}".strip(), meaning)


def together(keys: Sequence[Key]) -> str:
    """The names of several metrics, what they share said once: accuracy 3v5, 4v9; precision."""
    rests: dict[str, list[str]] = {}
    for key in keys:
        rests.setdefault(metric(Key(key.metric)).name, []).append(axes(key))
    return "; ".join(_shared(name, found) for name, found in rests.items())


def _shared(name: str, rests: Sequence[str]) -> str:
    split = [rest.split() for rest in rests]
    beginnings = zip(*(rest[:-1] for rest in split), strict=False)
    same = len(list(takewhile(lambda column: len(set(column)) == 1, beginnings)))
    ends = ", ".join(" ".join(rest[same:]) for rest in split)
    return " ".join([name, *split[0][:same], ends]).replace(" ,", ",").strip()


def fixed(value: float, decimals: int) -> str:
    """With so many decimals."""
    return (
        f"{value:,.{decimals}f}".replace("-", "\u2212") if math.isfinite(value) else number(value)
    )


def number(value: Any, stderr: Any = None) -> str:
    """As far as its standard error allows (to its first digit, or its second after a leading 1 or
    2), else to three digits.
    """
    if not isinstance(value, int | float):
        return "\u2013"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "\u221e" if value > 0 else "\u2212\u221e"
    decimals = 2
    if isinstance(stderr, int | float) and 0 < stderr < math.inf:
        size = math.floor(math.log10(stderr))
        decimals = (1 if stderr / 10.0**size < 2.95 else 0) - size
    elif value:
        decimals = 2 - math.floor(math.log10(abs(value)))
    if 0 < abs(value) < 5e-6:
        return f"{value:.0e}".replace("-", "\u2212")
    return f"{value:,.{min(max(decimals, 0), 5)}f}".replace("-", "\u2212")


def count(value: Any) -> str:
    """12,345; 1.2 million; 3.4 billion."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "\u2013"
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def duration(seconds: Any) -> str:
    """3 ms; 4.5 s; 12 min; 3 h 20 min."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "\u2013"
    if seconds < 100:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

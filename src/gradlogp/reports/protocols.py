"""How it was measured, said once: the protocols of rows, those merged that say the same."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from gradlogp.reports import words
from gradlogp.reports.numbers import Key
from gradlogp.reports.read import Page

NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)")


def protocols(page: Page, metrics: Sequence[Key] | None = None) -> list[tuple[str, str]]:
    """(metrics, how they were measured): said once where the words are the same but for their
    numbers.

    Those then stand side by side in the order of the metrics. `metrics` are all that there are,
    unless some are named.
    """
    found: dict[tuple[tuple[tuple[str, ...], str], ...], dict[Key, list[str]]] = {}
    for metric in page.numbers.metrics if metrics is None else metrics:
        ways = _ways(page, metric)
        key = tuple(
            (tuple(titles) if len(ways) > 1 else (), NUMBER.sub("#", text))
            for text, titles in ways.items()
        )
        found.setdefault(key, {})[metric] = list(ways)
    return [
        (
            words.together(list(said)),
            _told([who for who, _ in key], list(map(_beside, zip(*said.values(), strict=True)))),
        )
        for key, said in found.items()
        if key
    ]


def _ways(page: Page, metric: Key) -> dict[str, list[str]]:
    """Protocol -> titles of the methods that were measured so, names where titles are alike."""
    alike = Counter(method.title for method in page.methods)
    ways: dict[str, list[str]] = {}
    for method in page.methods:
        called = method.title if alike[method.title] == 1 else method.name
        for row in page.numbers.rows.get((method.name, metric), ())[:1]:
            ways.setdefault(str(row.get("protocol") or ""), []).append(called)
    return {text: titles for text, titles in ways.items() if text}


def _beside(texts: Sequence[str]) -> str:
    """Texts that differ in numbers alone as one: 1902/1991 labelled examples."""
    between = NUMBER.split(texts[0])
    numbers = zip(*map(NUMBER.findall, texts), strict=True)
    said = [several[0] if len(set(several)) == 1 else "/".join(several) for several in numbers]
    return "".join(word + number for word, number in zip(between, [*said, ""], strict=True))


def _told(owners: Sequence[tuple[str, ...]], texts: Sequence[str]) -> str:
    """What all share, then what is said of some methods, then of all others."""
    if len(texts) == 1:
        return texts[0]
    clauses = [text.split("; ") for text in texts]
    same = len(
        list(
            takewhile(
                lambda column: len(set(column)) == 1, zip(*(c[:-1] for c in clauses), strict=False)
            )
        )
    )
    most = max(owners, key=len)
    named = ["all others" if who is most and len(who) > 2 else ", ".join(who) for who in owners]
    parts = sorted(zip(named, clauses, strict=True), key=lambda part: part[0] == "all others")
    return "; ".join(
        [*clauses[0][:same], *(f"{who}: {'; '.join(rest[same:])}" for who, rest in parts)]
    )

"""`detect`: a score, a flag and what speaks for it, for each row or file of one's own."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradlogp.baselines.detectors import (
    DETECTORS,
    Detector,
    Standardised,
    cross_fitted,
    subsample,
)
from gradlogp.cli import show
from gradlogp.cli.checks import data_of, known, spared, writable
from gradlogp.cli.describe import write_rows
from gradlogp.cli.terminal import Terminal
from gradlogp.cli.using import Detect
from gradlogp.core.errors import UserError
from gradlogp.core.words import are, counted
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness import load
from gradlogp.harness.detection import Scores, Threshold, model_scores, occluded, threshold
from gradlogp.harness.forms import Form, Items, form_of, learned
from gradlogp.harness.located import is_run

MOST = 10_000  # rows that a detector learns from
EXPLAINED = 500  # flagged examples, the most anomalous first, whose columns are named
LEAST = 0.05  # of a score, for a column to be named
NAMED = 3  # columns that are named
SHOWN = 5  # flagged examples that are printed


def detect(args: Detect, terminal: Terminal) -> None:
    writable(args.out, ".csv")
    spared(args.out, args.train, *args.new)
    known(args.detector, DETECTORS, "detector")
    found = (_by_run if is_run(args.train) else _by_detector)(args, terminal)
    items = found.items
    if not len(items):
        raise UserError("; ".join(items.wrong) or f"{args.train}: nothing to score.")
    for line in (*items.notes, *items.wrong) if args.new else ():
        terminal.say(line)
    flagged = found.scores > found.limit.value
    because = explained(found, flagged, terminal)
    why = [reasons(each) for each in because]
    columns = [found.scores.tolist(), flagged.int().tolist(), why]
    write_rows(args.out, items, ["score", "flagged", "because"], columns)
    _say(args, found, flagged, because, terminal)
    if items.wrong:
        raise UserError(
            f"{counted(len(items.wrong), 'file')} could not be read, each said above; {args.out} holds the"
            f" scores of the others."
        )


class Found(NamedTuple):
    """Scored examples, and how: the scores [n], the function that is asked what speaks for
    them, what is usual, the threshold, and by what in words.
    """

    form: Form
    items: Items
    scores: Tensor
    score: Scores
    usual: Tensor
    limit: Threshold
    by: str


def _by_detector(args: Detect, terminal: Terminal) -> Found:
    """By a detector that learns from TRAIN; its threshold from rows that it has not learned."""
    form, normal = learned(args.train, args.ignore, args.size)
    detector = DETECTORS[args.detector]()
    detector = detector if form.one_unit else Standardised(detector)
    for line in (*normal.notes, *normal.wrong):
        terminal.say(line)
    x = subsample(normal.x, MOST, args.seed)
    if len(x) < len(normal):
        terminal.say(
            f"{args.detector} learns from {len(x):,} of {len(normal):,}, drawn by the seed"
        )
    held_out = _held_out(detector, x, args)
    limit = threshold(held_out, args.share, args.clean)
    items = form.read(args.new) if args.new else normal
    # what speaks for an outlier is asked of a detector that has learned neither it nor its like
    plain = detector.fit(x[held_out <= limit.value], seed=args.seed)
    own = not args.new and len(x) == len(normal)
    scores = held_out if own else detector.fit(x, seed=args.seed)(items.x).double()
    return Found(form, items, scores, plain, middle(x), limit, args.detector)


def middle(x: Tensor) -> Tensor:
    """The median of every entry of x [n, *shape]."""
    return x.flatten(1).median(0).values.view(x.shape[1:])


def _held_out(detector: Detector, x: Tensor, args: Detect) -> Tensor:
    if len(x) < 10:
        raise UserError(
            f"{args.train}: a detector learns from 10 rows or files at least, got {len(x)}."
        )
    return cross_fitted(detector, x, seed=args.seed)


def _by_run(args: Detect, terminal: Terminal) -> Found:
    """By a trained model; its threshold from the validation part of its data."""
    if not args.new:
        raise UserError(f"detect {args.train}: expected the files to score as well, got none.")
    fitted = load(args.train)
    data = data_of(fitted.run, args.data, terminal)
    form = form_of(fitted.spec, data)
    normal = data.validation.scaled()
    score, by = model_scores(fitted, normal)
    limit = threshold(score(normal), args.share, args.clean)
    items = form.read(args.new)
    scores = score(items.x) if len(items) else torch.empty(0)
    usual = middle(data.train.scaled(slice(0, MOST)))
    return Found(form, items, scores, score, usual, limit, by)


def explained(found: Found, flagged: Tensor, terminal: Terminal) -> list[list[tuple[str, float]]]:
    """For each example the groups that speak for its score, the most first, where it is flagged."""
    because: list[list[tuple[str, float]]] = [[] for _ in flagged]
    order = found.scores.argsort(descending=True)
    worst = order[flagged[order]][:EXPLAINED]
    if not len(worst):
        return because
    groups, names = found.form.groups()
    shares = occluded(found.score, found.items.x[worst], groups, found.usual, terminal)
    for i, row in zip(worst.tolist(), shares, strict=True):
        most, place = row.topk(min(NAMED, len(row)))
        pairs = zip(place.tolist(), most.tolist(), strict=True)
        because[i] = [(names[g], share) for g, share in pairs if share >= LEAST]
    return because


def reasons(why: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in why)


def _say(
    args: Detect,
    found: Found,
    flagged: Tensor,
    because: Sequence[Sequence[tuple[str, float]]],
    terminal: Terminal,
) -> None:
    items, scores, limit = found.items, found.scores, found.limit
    n = int(flagged.sum())
    terminal.say(
        f"{n:,} of {len(items):,} {found.form.noun} {are(n)} flagged by {found.by}: {args.out}"
    )
    terminal.say(f"threshold {show.number(limit.value)}: {limit.says}")
    worst = [i for i in scores.argsort(descending=True).tolist() if flagged[i]]
    if worst:
        table = show.titled("the most anomalous", "which", "score", "because")
        for i in worst[:SHOWN]:
            table.add_row(items.names[i], show.number(float(scores[i])), reasons(because[i]))
        terminal.show(table)
    result: dict[str, Any] = {
        "out": args.out,
        "n": len(items),
        "flagged": n,
        "share": args.share,
        "threshold": limit.value,
        "says": limit.says,
        "outliers": limit.outliers,
        "detector": found.by,
        "wrong": list(items.wrong),
    }
    terminal.result(result)

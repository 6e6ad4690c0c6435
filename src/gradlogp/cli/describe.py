"""The verbs that say what a file is to a trained model: classify and embed."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlogp import tasks
from gradlogp.cli.checks import data_of, spared, writable
from gradlogp.cli.terminal import Terminal
from gradlogp.cli.using import Classify, Embed
from gradlogp.core.errors import UserError
from gradlogp.core.files import replacing
from gradlogp.core.words import counted
from gradlogp.data import Dataset
from gradlogp.experiments import RECIPES as RECIPES  # its settings' classes are loaded by name
from gradlogp.harness import Fitted, evaluator_beside, evaluator_of, load
from gradlogp.harness.evaluator import own_logits
from gradlogp.harness.forms import Items, form_of
from gradlogp.harness.turns import classless
from gradlogp.models.mixture import without_proposal
from gradlogp.runs.files import write_text

BATCH = 500


def classify(args: Classify, terminal: Terminal) -> None:
    writable(args.out, ".csv")
    spared(args.out, *args.files)
    fitted = load(args.run)
    dataset = data_of(fitted.run, args.data, terminal)
    if classless(dataset):
        raise UserError(f"{args.run} was trained on {dataset.name}, which has no classes.")
    items = _items(args.files, fitted, dataset, terminal)
    logits, by = _classifier(fitted, dataset, terminal)
    probabilities = tasks.probabilities(logits, items.x, BATCH)
    most, label = probabilities.max(1)
    names = dataset.classes
    columns = [[names[i] for i in label.tolist()], *probabilities.T.tolist()]
    heads = ["class", *(f"p({name})" for name in names)]
    write_rows(args.out, items, heads, columns)
    terminal.say(f"{len(items):,} classified by {by}: {args.out}")
    found = {name: int((label == i).sum()) for i, name in enumerate(names)}
    terminal.say(", ".join(f"{name}: {n:,}" for name, n in found.items() if n))
    terminal.result(
        {
            "out": args.out,
            "n": len(items),
            "by": by,
            "classes": found,
            "mean_probability": float(most.mean()),
            "wrong": list(items.wrong),
        }
    )
    _complain(items, args.out)


def _classifier(
    fitted: Fitted, dataset: Dataset, terminal: Terminal
) -> tuple[Callable[[Tensor], Tensor], str]:
    """Examples in their own range -> logits, and by what: the energy's own, else the evaluation
    classifier's beside the run.
    """
    if (own := own_logits(fitted)) is not None:
        return own, "the energy's own p(y | x)"
    evaluator = evaluator_of(dataset, evaluator_beside(fitted.run.path, dataset), terminal)
    return lambda x: evaluator.logits(x.float()), f"the {evaluator.name} beside the run"


def embed(args: Embed, terminal: Terminal) -> None:
    writable(args.out, ".npz", ".csv")
    spared(args.out, *args.files)
    fitted = load(args.run)
    dataset = data_of(fitted.run, args.data, terminal)
    items = _items(args.files, fitted, dataset, terminal)
    features, by = _embedding(args, fitted, dataset, items.x.float(), terminal)
    if args.out.suffix.lower() == ".csv":
        heads = [f"f{i + 1}" for i in range(features.shape[1])]
        write_rows(args.out, items, heads, features.T.tolist())
    else:
        _write_arrays(args.out, items, features)
    terminal.say(
        f"{counted(len(items), 'vector')} of {features.shape[1]} numbers, {by}: {args.out}"
    )
    terminal.result(
        {"out": args.out, "n": len(items), "width": features.shape[1], "by": by}
        | {"wrong": list(items.wrong)}
    )
    _complain(items, args.out)


def _embedding(
    args: Embed, fitted: Fitted, dataset: Dataset, x: Tensor, terminal: Terminal
) -> tuple[Tensor, str]:
    if args.by == "evaluator":
        evaluator = evaluator_of(dataset, evaluator_beside(fitted.run.path, dataset), terminal)
        return evaluator.features(x), f"by the {evaluator.name}"
    sigma = args.level * fitted.spec.std
    seen = fitted.spec.coordinates.to_model(x).to(fitted.device)
    model = without_proposal(fitted.model)
    name = type(model).__name__
    levels = hasattr(getattr(model, "net", None), "features")
    by = (
        f"the middle of its {name} at noise level {sigma:.3g}"
        if levels
        else f"before the last layer of its {name}"
    )
    return tasks.embed(fitted.model, seen, sigma).cpu(), by


def _items(files: Sequence[Path], fitted: Fitted, dataset: Dataset, terminal: Terminal) -> Items:
    items = form_of(fitted.spec, dataset).read(files)
    if not len(items):
        raise UserError("; ".join(items.wrong) or "expected files, got none.")
    for line in (*items.notes, *items.wrong):
        terminal.say(line)
    return items


def _complain(items: Items, out: Path) -> None:
    if items.wrong:
        raise UserError(
            f"{counted(len(items.wrong), 'file')} could not be read, each said above; {out} holds the others."
        )


def write_rows(
    path: Path, items: Items, heads: Sequence[str], columns: Sequence[Sequence[Any]]
) -> None:
    """A CSV of the file and row of each example, and further columns; numbers with six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "row", *heads])
    for file, row, *cells in zip(items.files, items.rows, *columns, strict=True):
        shown = [f"{c:.6g}" if isinstance(c, float) else c for c in cells]
        writer.writerow([file, row or "", *shown])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def _write_arrays(path: Path, items: Items, features: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        "features": features.to(torch.float32).numpy(),
        "files": np.array([str(file) for file in items.files]),
        "rows": np.array(items.rows),
    }
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

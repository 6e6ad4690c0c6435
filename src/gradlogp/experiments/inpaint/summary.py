"""Strips of the same pictures, filled by every method: the mean of its completions and one of them."""

from collections.abc import Mapping
from pathlib import Path

import torch

from gradlogp.data.picture import label_rows
from gradlogp.harness.compare import Runs
from gradlogp.harness.kinds import Picture
from gradlogp.harness.record import Items, Rows, add_captions
from gradlogp.harness.trial import items

DRAWING = ("score", "energy")  # methods whose single completions are worth a row of their own


def summary(folder: Path, runs: Runs) -> Rows:
    """A strip for each mask, of the first seed."""
    first = {method: items(paths[0]) for method, paths in runs.items()}
    masks = [axes["mask"] for axes in next(iter(first.values())).axes("clean")]
    captions: dict[str, str] = {}
    for mask in masks:
        captions |= _strip(folder / "samples" / f"figure-{mask}.png", first, mask)
    add_captions(folder / "samples" / "figures.json", captions)
    return []


def _strip(path: Path, found: Mapping[str, Items], mask: str) -> dict[str, str]:
    axes = {"mask": mask}
    some = next(iter(found.values()))
    rows = {"what is seen": some.at("seen", axes), "the truth": some.at("clean", axes)}
    for method, kept in found.items():
        if method in DRAWING:
            rows[f"{method}, one completion"] = kept.at("one", axes)
            rows[f"{method}, their mean"] = kept.at("mean", axes)
        else:
            rows[method] = kept.at("one", axes)
    columns = len(some.at("clean", axes))
    Picture().preview(path, torch.cat(list(rows.values())), columns=columns)
    label_rows(path, list(rows))
    return {path.name: f"The same pictures, row by row from the top: {'; '.join(rows)}."}

"""A folder of one class: what needs classes is left out, and the features say what they are."""

from dataclasses import replace
from pathlib import Path

import torch

from gradlogp import data
from gradlogp.data import Dataset, Split
from gradlogp.harness import evaluator_of, measure_samples

BY_CLASS = {"rarest_class", "commonest_class", "class_entropy", "inception_score", "cas"}


def one_class(digits: Dataset) -> Dataset:
    def alike(split: Split) -> Split:
        return replace(split, labels=torch.zeros(len(split), dtype=torch.long))

    parts = {name: alike(getattr(digits, name)) for name in ("train", "validation", "test")}
    return replace(digits, classes=("icons",), **parts)


def test_one_class_is_told_from_nothing(tmp_path: Path) -> None:
    icons = one_class(data.load("digits"))
    evaluator = evaluator_of(icons, tmp_path / "evaluator")
    assert evaluator.name.startswith("random features") and "accuracy" not in evaluator.name
    measures = measure_samples(icons.test.scaled(slice(0, 60)), icons, evaluator)
    names = {measure.metric for measure in measures}
    assert {"fd", "precision"} <= names and not names & BY_CLASS

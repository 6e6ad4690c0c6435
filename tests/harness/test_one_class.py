"""Examples without classes: features are learned by telling in which way each is shown, and what needs
classes is left out.
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch

from gradlogp import data
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness import evaluator_of, measure_samples
from gradlogp.harness.turns import WAYS, classless, turned, ways
from gradlogp.training import Training

BY_CLASS = {"rarest_class", "commonest_class", "class_entropy", "inception_score", "cas"}
PARTS = ("train", "validation", "test")


def one_class(given: Dataset) -> Dataset:
    """All in one folder."""

    def alike(split: Split) -> Split:
        return replace(split, labels=torch.zeros(len(split), dtype=torch.long))

    parts = {name: alike(getattr(given, name)) for name in PARTS}
    return replace(given, classes=("icons",), **parts)


def unlabelled(given: Dataset) -> Dataset:
    parts = {name: replace(getattr(given, name), labels=None) for name in PARTS}
    return replace(given, classes=(), **parts)


@pytest.mark.parametrize("strip", [one_class, unlabelled])
def test_what_needs_classes_is_left_out(strip, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gradlogp.harness.evaluator.budget", lambda *_: Training(640))
    icons = strip(data.load("digits"))
    few = replace(icons, train=icons.train[:200], name="few")
    evaluator = evaluator_of(few, tmp_path / "evaluator")
    assert evaluator.name.startswith("classifier of ways to show an example ")
    measures = measure_samples(icons.test.scaled(slice(0, 60)), icons, evaluator)
    names = {measure.metric for measure in measures}
    assert {"fd", "precision"} <= names and not names & BY_CLASS


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 6, 8), (6,), (1, 1200), (1, 6, 6, 6)])
def test_each_example_is_shown_in_one_of_four_ways(shape: tuple[int, ...]) -> None:
    """Of every kind: no two ways are the same, no number is lost, and labels say which it was."""
    kinds = {1: "row", 2: "waveform", 3: "picture", 4: "volume"}
    x = torch.rand(40, *shape, generator=seeded(0))
    parts = [Split(x[rows], None, 1) for rows in torch.arange(40).split([20, 8, 12])]
    given = Dataset("some", *parts, kind=kinds[len(shape)], rate=8000)
    found = turned(given)
    assert classless(given) and not classless(found) and len(found.classes) == WAYS
    for part in PARTS:
        before, after = getattr(given, part), getattr(found, part)
        assert after.labels.tolist() == [i % WAYS for i in range(len(before))]
        for old, new, way in zip(before.x, after.x, after.labels.tolist(), strict=True):
            shown = [show(old[None])[0] for show in ways(given)]
            torch.testing.assert_close(new, shown[way])
            gaps = [float((a - b).abs().max()) for a, b in combinations(shown, 2)]
            assert min(gaps) > 1e-3
    torch.testing.assert_close(found.train.x[::WAYS], given.train.x[::WAYS])


def test_worse_pictures_are_further_by_ways_as_by_classes(tmp_path: Path, monkeypatch) -> None:
    """Digits with more and more noise: the mean features leave by those of classes and of ways."""
    monkeypatch.setattr("gradlogp.harness.evaluator.budget", lambda *_: Training(12_800))
    digits = data.load("digits")
    bare = replace(unlabelled(digits), name="bare")
    test = digits.test.scaled()
    noise = torch.randn(test.shape, generator=seeded(0))
    found = []
    for given in (digits, bare):
        evaluator = evaluator_of(given, tmp_path / given.name)
        real = evaluator.features(test[::2])
        steps = [(test + level * noise).clamp(0, 1)[1::2] for level in (0.0, 0.1, 0.2, 0.4)]
        means = [(evaluator.features(x).mean(0) - real.mean(0)).square().sum() for x in steps]
        found.append([float(m) for m in means])
    assert all(order == sorted(order) for order in found)

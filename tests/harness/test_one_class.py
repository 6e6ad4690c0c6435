"""Examples without classes: features are learned by telling their clusters apart, and what needs
classes is left out.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradlogp import data
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness import evaluator_of, measure_samples
from gradlogp.harness.clusters import CLUSTERS, classless, clustered
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
    assert evaluator.name.startswith(f"classifier of {CLUSTERS} clusters ")
    measures = measure_samples(icons.test.scaled(slice(0, 60)), icons, evaluator)
    names = {measure.metric for measure in measures}
    assert {"fd", "precision"} <= names and not names & BY_CLASS


@pytest.mark.parametrize("shape", [(1, 12, 12), (6,), (1, 1200), (1, 6, 6, 6)])
def test_a_cluster_holds_what_is_alike(shape: tuple[int, ...]) -> None:
    """Three clouds far apart, of any kind: each cluster lies within one of them."""
    kinds = {1: "row", 2: "waveform", 3: "picture", 4: "volume"}
    generator = seeded(0)
    centres = torch.randn(3, *shape, generator=generator)
    cloud = torch.arange(400) % 3
    x = (0.5 + 0.1 * centres[cloud] + 0.005 * torch.randn(400, *shape, generator=generator)).clamp(
        0, 1
    )
    parts = [Split(x[rows], None, 1) for rows in torch.arange(400).split([300, 50, 50])]
    given = Dataset("clouds", *parts, kind=kinds[len(shape)], rate=8000)
    assert classless(given)
    found = clustered(given)
    assert not classless(found) and len(found.classes) == CLUSTERS
    for part, rows in zip(PARTS, torch.arange(400).split([300, 50, 50]), strict=True):
        labels = getattr(found, part).labels
        for label in labels.unique():
            assert len(cloud[rows][labels == label].unique()) == 1


def test_worse_pictures_are_further_by_clusters_as_by_classes(tmp_path: Path, monkeypatch) -> None:
    """Digits with more and more noise: the mean features leave by those of classes and clusters."""
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

"""The evaluation classifier by kind and shape of the data: what digits take has not changed."""

import re

import pytest
import torch

from gradlogp.core.batch import Batch
from gradlogp.core.progress import Silent
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness.evaluator import EvaluatorRecipe, budget, evaluator_of
from gradlogp.harness.fit import build
from gradlogp.harness.recipe import DataSpec
from gradlogp.models import ConvClassifier, ResidualClassifier
from gradlogp.objectives import Augmented, CrossEntropy
from gradlogp.training import Training

GREY = DataSpec((1, 28, 28), (10,) * 3, 0.6)
COLOUR = DataSpec((3, 32, 32), (10,) * 3, 0.5)
TABLES = DataSpec((3,), (10,) * 3, 1.0, "row", (0.0,) * 3, (1.0,) * 3)


class Heard(Silent):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def built(spec):
    return build(EvaluatorRecipe("some", budget(spec, 20_000)), spec, "cpu")


def test_grey_pictures_take_what_they_took():
    learner = built(GREY)
    assert type(learner.model) is ConvClassifier and type(learner.objective) is CrossEntropy
    usual = Training(150_000, batch=128, learning_rate=3e-3, checkpoint_every=200)
    assert budget(GREY, 55_000) == budget(TABLES, 55_000) == usual
    assert budget(GREY, 1257).images == 60 * 1257


def test_natural_pictures_take_a_residual_network_flipped_and_shifted_over_one_cycle():
    learner = built(COLOUR)
    assert type(learner.model) is ResidualClassifier and type(learner.objective) is Augmented
    training = budget(COLOUR, 50_000)
    rates = [training.rate(step) for step in range(training.steps)]
    peak = max(range(len(rates)), key=rates.__getitem__)
    assert training.images == 300_000 and 0.15 < peak / len(rates) < 0.25
    assert rates[0] < 1e-4 and rates[-1] < 1e-6


def test_each_picture_is_seen_otherwise_at_every_update():
    """Another seed flips and shifts others, so an untrained network gives other losses."""
    learner = built(COLOUR)
    batch = Batch(torch.rand(8, 3, 32, 32, generator=seeded(0)), torch.arange(8) % 3)
    learner.model.eval()
    a, b = (learner.objective(learner.model, batch, seeded(s)).value.detach() for s in (1, 2))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_it_is_trained_and_read_back(shape, tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.harness.evaluator.budget", lambda *_: Training(64, batch=16))
    g = seeded(0)
    parts = [Split(torch.rand(24, *shape, generator=g), torch.arange(24) % 2, 1) for _ in range(3)]
    data = Dataset("some", *parts, classes=("a", "b"))
    heard = Heard()
    found = evaluator_of(data, tmp_path / "evaluator", heard)
    (said,) = heard.said
    assert re.search(r"classifier of some is trained first.*about \d+ seconds", said)
    again = evaluator_of(data, tmp_path / "evaluator", heard)
    assert heard.said == [said]
    x = data.test.scaled()
    assert found.name == again.name and torch.equal(found.features(x), again.features(x))
    assert float(found.features(data.validation.scaled()).square().mean()) == pytest.approx(1)

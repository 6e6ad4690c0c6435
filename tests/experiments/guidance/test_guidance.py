"""Guidance on two Gaussians, where it is known, and every method in miniature on the digits."""

import importlib
import itertools
import json
import math

import pytest
import torch

from gradlogp import data
from gradlogp.core.guidance import EnergyGuided, class_energy
from gradlogp.experiments.guidance import COMPARISON
from gradlogp.experiments.guidance.methods import SCALES
from gradlogp.experiments.guidance.toy import GaussianPair
from gradlogp.harness import Evaluator, Target, prepare, run_comparison
from gradlogp.harness.kinds import Picture
from gradlogp.metrics import classes
from gradlogp.models import ConvClassifier
from gradlogp.runs import Run, read_results

F64 = torch.float64
TINY = [
    "classifier_free:images=320",
    "by_classifier:images=320",
    "conditional_gan:images=320",
    "classifier_free:samples=20",
    "by_classifier:samples=20",
    "conditional_gan:samples=20",
    "classifier_free:levels=2",
    "by_classifier:levels=2",
    "class_gaussians:levels=2",
    "gaussian_pair:levels=20",
    "ebm_class:training.images=320",
    "ebm_class:net.channels=4,8",
    "ebm_class:net.width=8",
    "ebm_class:chain_steps=2",
    "ebm_class:generate_steps=4",
    "ebm_class:evaluation.steps=0,2",
    "ebm_class:evaluation.samples=20",
    "ebm_class:evaluation.sigmas=()",
]


def pair(**changes):
    return GaussianPair("gaussian_pair", "digits", "quick", 0, **changes)


def test_without_guidance_the_flow_draws_the_class():
    """From N(0, S^2) at the level S = 80 the flow goes to mean m (1 - s / n) and standard deviation
    s S / n, n^2 = s^2 + S^2: within the solver's second order and the ends of the quantiles.
    """
    n = math.hypot(0.7, 80)
    found = pair(levels=400).drawn(0.0)
    assert found[:2] == pytest.approx((1 - 0.7 / n, 0.7 * 80 / n), abs=1e-3)
    right = 0.5 * math.erfc(-1 / 0.7 / math.sqrt(2))
    assert pair().tilted(0.0) == pytest.approx((1.0, 0.7, right), abs=1e-4)


def test_a_classifier_guides_as_the_two_fields_do():
    """w + 1 of the exact class posterior on the marginal is w of classifier-free guidance."""
    toy = pair()
    x = torch.linspace(-3, 3, 31, dtype=F64)[:, None]
    sigma = torch.logspace(-1, 1, 31, dtype=F64)

    def logits(x, sigma):
        half = toy.center * x[:, 0] / (toy.std**2 + sigma**2)
        return torch.stack([half, -half], 1)

    free = toy.field(1.5)
    asked = class_energy(logits, torch.zeros(31, dtype=torch.long))
    found = EnergyGuided(free.marginal, asked, 2.5).denoise(x, sigma)
    torch.testing.assert_close(found, free.denoise(x, sigma), rtol=1e-10, atol=1e-10)


def test_guidance_takes_variety_and_leaves_the_tilted_density():
    drawn = [pair(levels=60).drawn(scale) for scale in SCALES]
    assert all(a.std > b.std and a.right <= b.right for a, b in itertools.pairwise(drawn))
    assert abs(drawn[-1].mean - pair().tilted(SCALES[-1]).mean) > 0.05


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    digits = data.load("digits")
    classifier = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    evaluator = Evaluator(classifier, Picture(), 1.0, 0.1, "untrained")
    out = tmp_path_factory.mktemp("compare") / "out"

    def accuracy(x, data, evaluator, asked=None):
        seen = evaluator.labels(x)
        return [classes.agreement(seen, seen if asked is None else asked, evaluator.accuracy)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradlogp.harness.compare._evaluator", lambda *_: evaluator)
        patch.setattr("gradlogp.experiments.guidance.methods.SCALES", (0.0, 2.0))
        for room in ("evaluate", "reference"):
            module = importlib.import_module(f"gradlogp.harness.{room}")
            patch.setattr(module, "measure_samples", accuracy)
        entries = prepare(COMPARISON, Target.of(digits), "quick", out, (0,), TINY)
        run_comparison("guidance", COMPARISON, digits, entries, out, TINY)
    return out


def test_every_method_is_measured_by_the_class_that_was_asked_for(folder):
    rows = read_results(folder)
    methods = (
        "classifier_free",
        "by_classifier",
        "conditional_gan",
        "ebm_class",
        "class_gaussians",
    )
    for method in methods:
        own = [row for row in rows if row["method"] == method and row["metric"] == "agreement"]
        assert [row for row in own if not row.get("axes")]
    captions = json.loads((folder / "samples" / "figures.json").read_text())
    assert all((folder / "samples" / name).exists() for name in captions) and len(captions) == 2


def test_guided_methods_are_measured_at_every_scale_and_in_the_interval(folder):
    free = Run.open(folder / "classifier_free").results()
    at = {(r["metric"], *r["axes"].items()) for r in free if r.get("axes")}
    expected = {("fd", (axis, 2.0)) for axis in ("scale", "interval_scale")}
    assert expected | {("recall", ("scale", 0.0))} <= at
    cost = {r["axes"]["scale"]: r["evaluations"] for r in free if "scale" in r.get("axes", {})}
    assert cost == {0.0: 2, 1.0: 4, 2.0: 4}


def test_the_gaussians_of_the_classes_alone_are_asked_no_network(folder):
    alone = Run.open(folder / "class_gaussians").results()
    assert {row["evaluations"] for row in alone if row.get("axes")} == {0}

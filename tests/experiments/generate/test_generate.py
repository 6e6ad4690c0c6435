"""Energies, a VAE and GANs in one comparison: trained, chosen, judged and summed up on the digits,
in miniature.
"""

import json

import numpy as np
import pytest
import torch

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.core.random import seeded
from gradlogp.experiments import RECIPES
from gradlogp.experiments.generate import RIVALS
from gradlogp.experiments.recipes.chains import energies
from gradlogp.experiments.recipes.mixture import drawn, fitted
from gradlogp.experiments.recipes.proposal import Proposal
from gradlogp.harness import (
    Evaluator,
    Target,
    evaluate,
    fit,
    load,
    override,
    prepare,
    run_comparison,
    specify,
)
from gradlogp.harness.cas import classification_accuracy
from gradlogp.harness.fit import snapshot
from gradlogp.harness.kinds import Picture
from gradlogp.models import ConvClassifier, Proposed
from gradlogp.runs import Run, read_results
from tests.targets import DIGITS

METHODS = tuple(RIVALS.methods)
LEARNED = tuple(
    m for m in METHODS if m != "mixture"
)  # what is fitted in closed form trains on nothing
to_model = Picture().to_model

EVALUATED = ["evaluation.samples=60", "evaluation.trial=20", "evaluation.snapshots=2"]
SMALL = ["training.images=320", "training.batch=32", "net.channels=4,8", "net.width=8"]
TINY = EVALUATED + SMALL
CHAINS = [
    f"{m}:{change}"
    for m in METHODS[:2]
    for change in (
        "generate_steps=6",
        "evaluation.steps=0,2,9",
        "chain_steps=2",
        "evaluation.sigmas=()",
    )
]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def evaluator():
    torch.manual_seed(0)
    classifier = (
        ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    )  # any fixed features will do here
    return Evaluator(classifier, Picture(), 1.0, 0.1, "untrained")


@pytest.fixture(scope="module")
def folder(digits, evaluator, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradlogp.harness.compare._evaluator", lambda *_: evaluator)
        patch.setattr("gradlogp.harness.cas.IMAGES", 64)
        changes = [*EVALUATED, *(f"{m}:{change}" for m in LEARNED for change in SMALL), *CHAINS]
        entries = prepare(RIVALS, Target.of(digits), "quick", out, (0,), changes)
        run_comparison("ebm_generate", RIVALS, digits, entries, out, changes)
    return out


def test_every_method_is_chosen_measured_and_summed_up(folder):
    rows = read_results(folder)
    for method in METHODS:
        learned = {"taken_at"} if method in LEARNED else set()
        found = {row["metric"] for row in rows if row["method"] == method}
        assert {
            "fd",
            "kid",
            "precision",
            "coverage",
            "1nna",
            "c2st",
            "cas",
            "inception_score",
            "memorisation",
            *learned,
        } <= found
    assert {
        row["evaluations"] for row in rows if row["method"] == "vae" and row["metric"] == "fd"
    } == {1}
    gain = next(row for row in rows if row["metric"] == "fd_gain")
    fd = {r["method"]: r["value"] for r in rows if r["metric"] == "fd" and "axes" not in r}
    assert gain["value"] == pytest.approx(fd["ebm_no_buffer"] - fd["ebm"]) and gain["n"] == 1
    captions = json.loads((folder / "samples" / "figures.json").read_text())
    assert all((folder / "samples" / name).exists() for name in captions) and len(captions) == 2


def test_long_chains_pass_through_the_samples_that_were_measured(folder, digits):
    """Steps 0, 2, 6, 9 of one pass: at 6 the Frechet distance is that of the fresh samples."""
    rows = {
        (row["metric"], *row.get("axes", {}).items()): row["value"]
        for row in Run.open(folder / "ebm").results()
    }
    with np.load(folder / "ebm" / "items.npz") as kept:
        assert kept["steps"].tolist() == [0, 2, 6, 9]
        assert kept["fd"][2] == pytest.approx(rows["fd",], rel=1e-3)
        assert kept["fd"][3] == pytest.approx(rows["fd", ("steps", 9)], rel=1e-3)
    fitted = load(folder / "ebm")
    x = digits.test.scaled(slice(0, 50))
    with torch.no_grad():
        torch.testing.assert_close(energies(fitted, x), fitted.model(to_model(x)))
    expected = {
        ("retention", ("start", "data"), ("steps", 2)),
        ("fd", ("start", "data"), ("steps", 20)),
        ("fd", ("start", "buffer")),
        ("energy", ("of", "noise")),
        ("energy_gap",),
    }
    assert expected <= rows.keys()


def test_the_snapshot_of_the_lowest_distance_becomes_the_model(
    digits, evaluator, tmp_path, monkeypatch
):
    monkeypatch.setattr("gradlogp.harness.cas.IMAGES", 64)
    recipe = override(RECIPES["vae"](DIGITS, "quick", 0), TINY)
    with fit(recipe, digits, tmp_path / "vae") as run:
        run.write_results(
            [{"metric": "bits_per_dim", "value": 3.0}, {"metric": "fd", "value": -1.0}]
        )  # of another task, and old
    rows = evaluate(load(tmp_path / "vae"), digits, evaluator, Silent())
    assert Run.open(tmp_path / "vae").results() == [{"metric": "bits_per_dim", "value": 3.0}, *rows]
    taken = next(row for row in rows if row["metric"] == "taken_at")
    step = round(taken["value"] * 10)
    run = Run.open(tmp_path / "vae")
    for name, tensor in run.load(snapshot(step))[0].items():
        assert torch.equal(run.load("ema")[0][name], tensor)
    first, second = (
        float(part.split(" after")[0]) for part in taken["protocol"].rpartition(": ")[2].split(", ")
    )
    assert step == (5 if first <= second else 10)


def test_a_classifier_taught_by_real_digits_knows_digits_and_one_taught_by_one_class_knows_one(
    digits,
):
    x = digits.train.scaled(slice(0, 400))
    y = digits.train.labels[:400]
    taught = classification_accuracy(x, y, digits, 6000)
    assert float(taught) > 0.85 and taught.stderr == pytest.approx(
        (taught.value * (1 - taught.value) / 360) ** 0.5
    )
    one = classification_accuracy(x, torch.full((400,), 3), digits, 2000)
    assert float(one) == pytest.approx(float((digits.test.labels == 3).double().mean()), abs=0.03)


def test_an_adversarial_network_cannot_restore(digits):
    recipe = RECIPES["gan"](DIGITS, "quick", 0)
    with pytest.raises(UserError, match="no encoder"):
        recipe.restoration(None, specify(digits), torch.zeros(1, 1, 8, 8), 0.3, 0)


def test_the_mixture_draws_where_chains_begin(digits):
    """Draws of the planes alone: the deviation across them is left to the chains."""
    model = fitted(Proposal(8), digits, 0)
    begun = Proposed(None, model).begin_(torch.empty(50, 1, 8, 8), seeded(3, "draws"))
    torch.testing.assert_close(drawn(model, digits, 50, 3), Picture().from_model(begun))
    assert torch.equal(drawn(model, digits, 50, 3), drawn(model, digits, 50, 3))

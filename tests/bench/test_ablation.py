"""The ablation of contrastive divergence: equal evaluations, one change at a time, and every run in
its line, diverged or not.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gradlogp import data as shelf
from gradlogp.bench.ablation import VARIANTS, Variant, outcome, page, recipe_of
from gradlogp.harness import Evaluator, leaves
from gradlogp.harness.kinds import Picture
from gradlogp.models import ConvClassifier

BY_NAME = {variant.name: variant for variant in VARIANTS}


def spent(recipe):
    return recipe.training.steps * recipe.training.batch * recipe.evaluations_per_example


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_every_variant_spends_the_same_and_changes_what_it_says(variant):
    plain = recipe_of(VARIANTS[0], 0)
    changed = recipe_of(variant, 0)
    assert spent(changed) / spent(plain) == pytest.approx(1, abs=0.015)
    before, after = leaves(plain), leaves(changed)
    different = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    different -= {"training.images", "experiment"}
    said = {change.partition("=")[0] for change in variant.changes}
    assert different == (said or {key for key in different if key.startswith("buffer")})


@pytest.fixture(scope="module")
def digits():
    return shelf.load("digits")


@pytest.fixture(scope="module")
def evaluator():
    torch.manual_seed(0)
    model = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    return Evaluator(model, Picture(), 1.0, 0.1, "untrained")


def tiny(variant):
    recipe = recipe_of(variant, 0, 640)
    return replace(recipe, generate_steps=5, net=replace(recipe.net, channels=(4, 8), width=8))


def test_runs_are_measured_at_both_chain_lengths_and_one_that_diverges_is_counted(
    digits, evaluator, tmp_path
):
    found = outcome(tiny(Variant("K = 2", ("chain_steps=2",))), digits, evaluator, tmp_path / "a")
    assert (
        found["fd"] != found["fd_short"]
        and 0 <= found["coverage"] <= 1
        and 0 <= found["rarest"] <= 0.1
    )
    assert not found["diverged"] and found["updates"] == 640 * 22 // 4 // 64
    hopeless = Variant("hopeless", ("training.learning_rate=100.", "guard.max_rollbacks=0"))
    lost = outcome(tiny(hopeless), digits, evaluator, tmp_path / "b")
    assert lost["diverged"] and lost["rollbacks"] == 0 and "fd" not in lost


def test_the_page_has_a_line_for_each_change_with_mean_and_deviation_of_the_seeds():
    shared = {
        "chain_steps": 20,
        "learning_rate": 0.01,
        "updates": 187,
        "evaluations": 263_296,
        "skipped": 0,
        "warned": 0,
    }
    good = {"diverged": False, "rollbacks": 1, "coverage": 0.5, "rarest": 0.02, "fd_short": 3.0}
    rows = [{"name": "real", "fd": 0.2, "coverage": 0.98, "rarest": 0.075}]
    rows += [
        {"name": "the recipe", "seed": seed, **shared, **good, "fd": 1.0 + seed}
        for seed in range(3)
    ]
    rows += [
        {"name": "lost", "seed": seed, **shared, "diverged": True, "rollbacks": 5}
        for seed in range(3)
    ]
    lines = page(rows).splitlines()
    assert (
        "| the recipe | 187 | 2.00 +- 1.00 | 3.00 +- 0.00 | 0.50 +- 0.00 | 2.0% +- 0.0% | 0 of 3"
        " | 3 |" in lines
    )
    assert "| lost | 187 | none left | none left | none left | none left | 3 of 3 | 15 |" in lines


def test_the_committed_page_has_every_variant():
    text = (Path(__file__).parents[2] / "docs" / "ablation.md").read_text()
    assert [
        name for name in BY_NAME if f"| {name} |" not in text
    ] == [] and "Not yet written" not in text

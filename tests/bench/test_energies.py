"""Energies by their training: every variant trains, and lost runs are counted."""

import pytest
import torch

from gradlogp import data as shelf
from gradlogp.bench import energies, race
from gradlogp.bench.ablation import Variant
from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness import Evaluator, Target, override
from gradlogp.harness.kinds import KINDS
from gradlogp.models import ConvClassifier
from gradlogp.training import Diverged


def row(method, seed, seconds, fd, **more):
    looks = {"precision": 0.9, "coverage": 0.8, "evaluations": 60, "diverged": False}
    about = {"method": method, "seed": seed, "begins": "noise", "rate": 1e-3}
    return {**about, "seconds": seconds, "fd": fd, **looks, **more}


ROWS = [
    row(race.MIXTURE, 0, 3.0, 1.04, begins="mixture", rate=None, evaluations=1),
    *(row("a", seed, 10.0 * i, 4.0 - i + seed) for seed in (0, 1) for i in range(6)),
    *(row("b", 0, 10.0 * i, 2.0 + i) for i in range(6)),
    {"method": "b", "seed": 1, "diverged": True, "begins": "noise", "rate": 1e-3},
    {"method": "c", "seed": 0, "diverged": True, "begins": "noise", "rate": 1e-3},
]


def test_the_tables_have_means_over_seeds_and_count_what_diverged(tmp_path):
    text = energies.page(ROWS)
    assert "| a | noise | 4.50 | 3.50 | 2.50 | 1.50 | 0.50 | -0.50 |" in text
    assert "| mixture alone | mixture | 1.04 |  |" in text
    assert "| b | 0.001 | 2.00 | 7.00 | 0.90 | 0.80 | 60 | 1 of 2 |" in text
    assert "| c | 0.001 | none left | none left | none left | none left |  | 1 of 1 |" in text
    energies.figure(ROWS, tmp_path / "energies.png")
    assert (tmp_path / "energies.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("variant", energies.VARIANTS, ids=lambda c: c.name)
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_every_variant_goes_with_its_recipe_and_says_where_it_begins(variant, name):
    target = Target(name, "picture", (1, 28, 28), 55_000)
    recipe = override(RECIPES[variant.experiment](target, "quick", 0), variant.changes)
    assert energies.begins(recipe) == (
        "noise" if energies.FROM_NOISE in variant.changes else "mixture"
    )
    assert getattr(recipe, "generate_steps", recipe.sampler_field and 60) == 60


@pytest.fixture
def digits():
    return shelf.load("digits")


@pytest.fixture
def evaluator():
    torch.manual_seed(0)
    network = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    return Evaluator(network, KINDS["picture"](), 1.0, 0.1, "untrained")


def test_a_variant_leaves_its_curve_and_a_lost_run_one_row(
    digits, evaluator, tmp_path, monkeypatch
):
    changes = ("objective.kind=equilibrium_matching", "chain.kind=descent", "chain.step_size=0.01")
    variant = Variant("a", (*changes, "generate_steps=5"))
    found = energies._rows(variant, 1, 0.5, digits, evaluator, tmp_path / "a")
    assert len(found) == race.SNAPSHOTS and all(line["fd"] > 0 for line in found)
    assert {line["begins"] for line in found} == {"noise"}

    def lost(*arguments):
        raise Diverged("the energies exploded")

    monkeypatch.setattr(race, "run_of", lost)
    (only,) = energies._rows(variant, 1, 0.5, digits, evaluator, tmp_path / "b")
    assert only["diverged"] and only["method"] == "a"

"""The race: every snapshot has its seconds and its looks, and the table says when a goal was
reached.
"""

import pytest
import torch

from gradlogp import data as shelf
from gradlogp.bench import race
from gradlogp.bench.ablation import Variant
from gradlogp.bench.race import (
    GOALS,
    SNAPSHOTS,
    closed_form,
    curves,
    figure,
    page,
    reached,
    recipe_of,
    run_of,
    seconds_of,
)
from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness import Evaluator, Target, override
from gradlogp.harness.kinds import KINDS
from gradlogp.models import ConvClassifier, ConvEnergy


def row(method, seed, seconds, fd, **more):
    looks = {"precision": 0.9, "coverage": 0.8, "evaluations": 60}
    return {"method": method, "seed": seed, "seconds": seconds, "fd": fd, **looks, **more}


ROWS = [
    *(
        row("ebm", seed, 10.0 * i + seed, fd)
        for seed in (0, 1, 2)
        for i, fd in enumerate((9, 1.8, 0.5))
    ),
    *(row("gan", seed, 10.0 * i, fd) for seed in (0, 1) for i, fd in enumerate((9, 5, 1.4 + seed))),
]


def test_a_goal_is_reached_at_the_first_snapshot_that_is_as_near():
    curve = [row("a", 0, t, fd) for t, fd in ((1, 3.0), (2, 1.5), (3, 1.6), (4, 0.9))]
    assert [reached(curve, goal) for goal in GOALS] == [2, 2, 4]
    assert reached(curve, 0.5) is None


def test_the_table_holds_medians_over_seeds_and_never_where_one_seed_failed():
    text = page(ROWS)
    assert "| `ebm` | 11 | 21 | 21 | 0.50 | 0.90 | 0.80 | 60 |" in text
    assert "| `gan` | never | never | never | 1.90 | 0.90 | 0.80 | 60 |" in text


def test_curves_are_by_method_and_seed():
    found = curves(ROWS)
    assert [len(runs) for runs in found.values()] == [3, 2]
    assert all(len(curve) == 3 for runs in found.values() for curve in runs)


def test_the_figure_is_a_picture(tmp_path):
    figure(ROWS, tmp_path / "race.png")
    assert (tmp_path / "race.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("method", ["wgan_gp"])
def test_a_run_of_a_second_leaves_its_curve(method, tmp_path):
    digits = shelf.load("digits")
    torch.manual_seed(0)
    network = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    evaluator = Evaluator(network, KINDS["picture"](), 1.0, 0.1, "untrained")
    (mixture,) = closed_form(1, digits, evaluator)
    assert mixture["evaluations"] == 1 and mixture["seconds"] > 0
    variant = Variant("a name", experiment=method)
    recipe = recipe_of(variant, 0, 0.5, digits)
    found = run_of(variant, recipe, digits, evaluator, tmp_path / "run")
    assert {line["method"] for line in found} == {"a name"}
    assert len(found) == SNAPSHOTS
    assert [line["seconds"] for line in found] == sorted(line["seconds"] for line in found)
    assert all(line["evaluations"] == 1 and line["fd"] > 0 for line in found)


def test_the_pace_is_the_mean_over_a_warm_up_and_what_follows(monkeypatch):
    """On a clock that only the network's passes move: half of the updates cost one, half K + 2."""
    digits = shelf.load("digits")
    changes = ("objective.warm_up=0.5", "chain_steps=4")
    recipe = override(RECIPES["ebm"](Target.of(digits), "quick", 0), changes)
    passes = []
    forward = ConvEnergy.forward
    monkeypatch.setattr(ConvEnergy, "forward", lambda *a: passes.append(1) or forward(*a))
    monkeypatch.setattr(race.time, "perf_counter", lambda: float(len(passes)))
    once, chained = 1, 4 + 1
    assert seconds_of(recipe, digits)["update"] == (once + chained) / 2

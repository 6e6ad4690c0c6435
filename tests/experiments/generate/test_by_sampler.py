"""Every sampler spends what it is asked to, and the comparison in miniature on the digits chooses a
walk on validation.
"""

import pytest
import torch

from gradlogp import data
from gradlogp.core.noise import VarianceExploding
from gradlogp.core.progress import Silent
from gradlogp.experiments import COMPARISONS
from gradlogp.experiments.generate.by_sampler import SAMPLERS, Walk, best_of, spent
from gradlogp.harness import Evaluator, Target, prepare, run_comparison
from gradlogp.harness.kinds import Picture
from gradlogp.models import ConvClassifier

NAME = "score_generate"
RIVALS = ("gan", "wgan_gp", "vae")
TINY = [
    "score:recipe.training.images=128",
    "score:recipe.net.channels=4,8",
    "score:evaluation.samples=20",
    "score:budgets=4,8",
    *(f"{m}:training.images=64" for m in RIVALS),
    *(f"{m}:evaluation.samples=20" for m in RIVALS),
    *(f"{m}:net.channels=4,8" for m in RIVALS),
    *(f"{m}:decoder=8,4" for m in RIVALS),
    *(f"{m}:net.width=8" for m in RIVALS),
    *(f"{m}:training.batch=16" for m in RIVALS),
]


def untrained():
    torch.manual_seed(0)
    network = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    return Evaluator(network, Picture(), 1.0, 0.1, "untrained")


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("asked", [10, 20, 40, 80])
def test_a_walk_spends_no_more_than_was_asked(name, asked):
    used = spent(SAMPLERS[name](VarianceExploding(0.05, 10.0), asked))
    assert asked - 2 <= used <= asked + 1


def test_the_walk_with_the_least_distance_on_validation_is_chosen():
    walks = [Walk(f"{fd}", None, fd) for fd in (2.0, 0.5, 3.0)]
    assert best_of(walks).name == "0.5"


def test_the_walk_of_the_first_table_is_one_of_those_measured_drawn_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.harness.compare._evaluator", lambda *_: untrained())
    monkeypatch.setattr("gradlogp.harness.cas.IMAGES", 64)
    some = {name: SAMPLERS[name] for name in ("DDIM", "Heun")}
    monkeypatch.setattr("gradlogp.experiments.generate.by_sampler.SAMPLERS", some)
    digits, comparison = data.load("digits"), COMPARISONS[NAME]
    entries = prepare(comparison, Target.of(digits), "quick", tmp_path, changes=TINY)
    rows = run_comparison(NAME, comparison, digits, entries, tmp_path, TINY, Silent())
    mine = [r for r in rows if r["method"] == "score" and r["metric"] == "fd"]
    walks = {(r["axes"]["sampler"], r["axes"]["at_most"]): r for r in mine if r.get("axes")}
    assert walks.keys() == {(s, n) for s in some for n in (4, 8)}
    (first,) = [r for r in mine if not r.get("axes")]
    assert first["value"] not in [r["value"] for r in walks.values()]  # of draws of its own
    chosen = [f"; {name}, {r['evaluations']} evaluations" for (name, _), r in walks.items()]
    assert any(words in first["protocol"] for words in chosen)
    assert {r["method"] for r in rows if r["metric"] == "fd"} >= {"score", *RIVALS}
    assert (tmp_path / "samples" / "figure-evaluations.png").is_file()
    assert (tmp_path / "samples" / "figure-samples.png").is_file()

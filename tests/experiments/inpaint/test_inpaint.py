"""Holes are where they should be, what is known stays, errors are those of the hole alone, and every
method in miniature on the digits.
"""

import math

import pytest
import torch

from gradlogp import data
from gradlogp.baselines.context_encoder import AnyOf, BlockHole, Half, Scattered
from gradlogp.core.progress import Silent
from gradlogp.experiments.inpaint import COMPARISON
from gradlogp.experiments.inpaint.common import diversity, every_mask, hole_psnr, masks_of
from gradlogp.harness import Evaluator, Target, prepare, run_comparison
from gradlogp.harness.kinds import Picture
from gradlogp.harness.trial import items
from gradlogp.models import ConvClassifier

TINY = [
    "images=64",
    "pictures=12",
    "context_encoder:batch=32",
    "encoder:batch=32",
    *(f"{m}:samples=2" for m in ("score", "energy")),
    "score:levels=4",
    "score:resamples=2",
    "score:begin=0.5",
    "energy:steps=3",
]


def untrained():
    torch.manual_seed(0)
    network = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    return Evaluator(network, Picture(), 1.0, 0.1, "untrained")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_left_half_is_unknown():
    known = Half()(torch.zeros(3, 2, 4, 6), generator())
    assert known.shape == (3, 1, 4, 6)
    assert not known[..., :3].any() and known[..., 3:].all()


def test_any_mask_takes_each_alike_often():
    x = torch.zeros(3000, 1, 8, 8)
    unknown = (~every_mask(8)(x, generator())).flatten(1).sum(1)
    hole, half = float((unknown == 16).double().mean()), float((unknown == 32).double().mean())
    chance = math.comb(64, 32) / 2**64  # that scattered pixels are just half
    error = math.sqrt(2 / 9 / 3000)
    assert abs(hole - 1 / 3) < 4 * error
    assert abs(half - (1 + chance) / 3) < 4 * error
    assert AnyOf((BlockHole(2),))(x[:2], generator()).equal(BlockHole(2)(x[:2], generator()))


def test_errors_count_in_the_hole_alone():
    clean = torch.full((5, 3, 8, 8), 0.5)
    for known in (mask(clean, generator()) for mask in masks_of(8).values()):
        wrong = torch.where(known, clean + 0.4, clean + 0.1)
        found = hole_psnr(clean, known, wrong, "")
        assert found.value == pytest.approx(20.0, abs=1e-4)
        assert found.stderr == pytest.approx(0.0, abs=1e-4)


def test_the_error_in_decibels_is_that_of_the_mean_by_its_slope():
    """Pictures with errors 1 and 3 in the hole: mean 2, standard error 1, so 10 / ln 10 x 1 / 2 dB;
    a single picture has none.
    """
    clean, known = torch.zeros(2, 1, 4, 4), BlockHole(2)(torch.zeros(2, 1, 4, 4), generator())
    filled = torch.tensor([1.0, 3.0]).sqrt().view(2, 1, 1, 1).expand_as(clean)
    found = hole_psnr(clean, known, filled, "")
    assert found.value == pytest.approx(-10 * math.log10(2), abs=1e-6)
    assert found.stderr == pytest.approx(10 / math.log(10) / 2, abs=1e-6)
    assert hole_psnr(clean[:1], known[:1], filled[:1], "").stderr is None
    exact = hole_psnr(clean, known, clean, "")
    assert (exact.value, exact.stderr) == (math.inf, None)


def test_diversity_is_the_standard_deviation_of_completions():
    known = Scattered(0.5)(torch.zeros(40, 1, 16, 16), generator(1))
    noise = torch.randn(50, 40, 1, 16, 16, generator=generator(2))
    done = torch.where(known, 0.0, 0.3 * noise)
    found = diversity(known, done)
    assert abs(found.value - 0.3) < 4 * found.stderr + 1e-3
    assert diversity(known, done[:1]).value == 0


def test_every_method_in_miniature_keeps_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.harness.compare._evaluator", lambda *_: untrained())
    digits = data.load("digits")
    entries = prepare(COMPARISON, Target.of(digits), "quick", tmp_path, changes=TINY)
    rows = run_comparison("ebm_inpaint", COMPARISON, digits, entries, tmp_path, TINY, Silent())
    found = {r["method"]: r for r in rows if r["metric"] == "hole_psnr" and r["axes"] == HOLE}
    assert set(found) == set(COMPARISON.methods)
    assert found["linear"]["value"] > found["mean"]["value"]
    ways = {r["axes"]["way"] for r in rows if "way" in r.get("axes", {})}
    assert ways == {"repaint", "replacement"}
    kept = items(tmp_path / "energy")
    clean, one = (kept.at(name, HOLE) for name in ("clean", "one"))
    known = BlockHole(4)(clean, generator()).expand_as(clean)
    torch.testing.assert_close(one[known], clean[known])
    assert not torch.equal(one[~known], clean[~known])
    assert (tmp_path / "samples" / "figure-hole.png").is_file()


HOLE = {"mask": "hole"}

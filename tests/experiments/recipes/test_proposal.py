"""Walks that begin at a mixture: which recipes do, what it is fitted to, and what it leaves alone."""

from dataclasses import replace

import pytest
import torch

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.experiments.recipes import RECIPES
from gradlogp.harness import fit, load, override, specify
from gradlogp.harness.fit import build
from tests.targets import DIGITS, TARGETS

MNIST = TARGETS["mnist"]


def tiny():
    changes = (
        "training.images=64",
        "net.channels=8,",
        "proposal.components=5",
        "proposal.rank=2",
        "sampler.process.sigma_max=0.7",
        "sampler.levels=4",
    )
    return override(RECIPES["ncsn"](DIGITS, "quick"), changes)


def test_scores_of_larger_pictures_begin_at_a_mixture_and_others_at_noise():
    large = RECIPES["ncsn"](MNIST, "quick")
    assert (large.proposal.components, large.sampler.steps) == (400, 30)
    assert large.sampler.ladder[0] == pytest.approx(0.7)
    few = replace(MNIST, name="folder:mine", examples=2000)
    assert RECIPES["ncsn"](few).proposal.components == 2000 // 40
    small = RECIPES["ncsn"](DIGITS)
    assert replace(small, experiment="ncsn_from_noise") == RECIPES["ncsn_from_noise"](DIGITS)
    others = ("ncsn_from_noise", "ncsn_single", "ncsn_class")
    assert not any(RECIPES[name](MNIST).proposal.components for name in others)
    with pytest.raises(UserError, match="knows no classes"):
        replace(large, conditional=True)


def test_likelihood_still_begins_where_nothing_is_left_of_an_example():
    from_noise = RECIPES["ncsn_from_noise"](MNIST).coarsest_level()
    assert tiny().coarsest_level() == pytest.approx(from_noise) == 10.0


def test_the_walk_begins_at_a_draw_with_the_noise_of_its_first_level(tmp_path):
    digits = data.load("digits")
    recipe, spec = tiny(), specify(digits)
    learner = build(recipe, spec, "cpu", digits.train)
    begin = recipe.sampling(learner.model, spec).prior
    noisy = begin(torch.empty(2000, 1, 8, 8), seeded(1))
    clean = learner.model.begin_(torch.empty(2000, 1, 8, 8), seeded(1))
    error = 0.7 / (2 * noisy.numel()) ** 0.5
    assert abs(float((noisy - clean).std()) - recipe.sampler.ladder[0]) < 4 * error
    fitted = load(fit(recipe, digits, tmp_path / "run").path)
    assert torch.equal(fitted.model.proposal.means, learner.model.proposal.means)
    assert torch.equal(fitted.draw(3, 7)[0], fitted.draw(5, 7)[0][:3])


def test_scores_of_two_valued_entries_are_taught_those_alone(tmp_path):
    recipe = override(RECIPES["ncsn_from_noise"](DIGITS), ("two_valued=true", "net.channels=8,"))
    digits = data.load("digits")
    with pytest.raises(UserError, match="values between; set two_valued=false"):
        fit(recipe, digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"for net\.kind=unet"):
        override(recipe, ("net.kind=wavenet",))

"""The recipes of energies: rivals spend as much as the method, and a conditional one is followed
like the others.
"""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gradlogp import data
from gradlogp.core.errors import UserError
from gradlogp.core.progress import Silent
from gradlogp.core.random import seeded
from gradlogp.experiments.recipes import RECIPES, chains
from gradlogp.harness import Evaluator, evaluate, fit, load, override, specify
from gradlogp.harness.kinds import Picture
from gradlogp.models import ConvClassifier
from gradlogp.samplers import SAMPLERS, STEP_SAMPLERS
from tests.contracts.test_samplers import EXAMPLES
from tests.targets import DIGITS, TARGETS

fitting = importlib.import_module("gradlogp.harness.fit")

TINY = [
    "training.images=320",
    "training.batch=32",
    "evaluation.samples=40",
    "net.channels=4,8",
    "net.width=8",
    "generate_steps=4",
    "evaluation.steps=0,2",
    "chain_steps=2",
    "evaluation.sigmas=.1,.3",
    "evaluation.denoise=30",
    "posterior.steps=10",
    "posterior.samples=2",
    "posterior.weights=10,100",
]


def untrained() -> Evaluator:
    model = ConvClassifier((1, 8, 8), 10, (4, 8), 8).eval().requires_grad_(False)
    return Evaluator(model, Picture(), 1.0, 0.1, "untrained")


def evaluations(recipe):
    return recipe.training.steps * recipe.training.batch * recipe.evaluations_per_example


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
@pytest.mark.parametrize("preset", ["quick", "full", "gpu"])
def test_long_chains_spend_the_evaluations_of_the_buffer_on_five_times_the_steps(dataset, preset):
    buffered, short, long = (
        RECIPES[name](TARGETS[dataset], preset, 0)
        for name in ("ebm_from_noise", "ebm_no_buffer", "ebm_long_chains")
    )
    assert long.buffer is None and (buffered.chain_steps, short.chain_steps, long.chain_steps) == (
        20,
        20,
        100,
    )
    assert (buffered.evaluations_per_example, long.evaluations_per_example) == (22, 102)
    assert evaluations(short) == evaluations(buffered)
    assert evaluations(long) / evaluations(buffered) == pytest.approx(1, abs=0.005)
    assert {long.chain_steps, *short.evaluation.steps} == set(long.evaluation.steps)
    assert long.generate_steps == buffered.generate_steps


def test_chains_of_larger_pictures_begin_at_a_mixture_and_others_at_noise():
    large = RECIPES["ebm"](TARGETS["mnist"], "quick", 0)
    assert (large.proposal.components, large.net.patch, large.generate_steps) == (400, 4, 60)
    small = RECIPES["ebm"](DIGITS, "quick", 0)
    assert replace(small, experiment="ebm_from_noise") == RECIPES["ebm_from_noise"](DIGITS)
    few = replace(TARGETS["mnist"], name="folder:mine", examples=2000)
    assert RECIPES["ebm"](few).proposal.components == 2000 // 40
    assert not any(
        RECIPES[name](TARGETS["mnist"]).proposal.components
        for name in ("ebm_from_noise", "ebm_no_buffer", "ebm_class")
    )
    with pytest.raises(UserError, match="knows no classes"):
        replace(large, conditional=True)


def proposed():
    tiny = override(RECIPES["ebm"](DIGITS, "quick"), TINY)
    return override(tiny, ["proposal.components=5", "proposal.rank=2", "net.patch=2"])


def test_every_sampler_that_fits_an_energy_begins_at_the_mixture():
    recipe, spec = proposed(), specify(data.load("digits"))
    model, x = recipe.model(spec), torch.empty(2, 1, 8, 8)
    for name in STEP_SAMPLERS:
        chosen = replace(recipe, chain=SAMPLERS[name](**EXAMPLES[name]))
        assert chosen.sampling(model, spec).prior(x.fill_(torch.nan), seeded(1)).isfinite().all()


@pytest.mark.parametrize("buffered", [True, False])
def test_the_mixture_is_fitted_before_the_first_update_and_travels_with_the_weights(
    tmp_path, buffered
):
    """Chains begin at its draws, within the chains' range, in the buffer, at a restart and in a
    sample; the run folder brings the same mixture back.
    """
    digits = data.load("digits")
    recipe = proposed() if buffered else replace(proposed(), buffer=None)
    learner = fitting.build(recipe, specify(digits), "cpu", digits.train)
    assert learner.seconds > 0
    mixture = learner.model.proposal
    assert torch.equal(learner.ema.module.proposal.means, mixture.means)
    begin = recipe.sampling(learner.model, specify(digits)).prior
    begun = begin(torch.empty(200, 1, 8, 8), seeded(1))
    assert begun.abs().max() <= 1
    near = float(torch.cdist(begun.flatten(1), mixture.means).min(1).values.mean())
    uniform = torch.rand(200, 64, generator=seeded(2)) * 2 - 1
    assert near < 0.5 * torch.cdist(uniform, mixture.means).min(1).values.mean()
    starts = learner.objective.starts
    chains_ = starts.buffer.x if buffered else starts.noise(torch.empty(200, 1, 8, 8), seeded(3))
    kept = float(torch.cdist(chains_.flatten(1), mixture.means).min(1).values.mean())
    assert kept == pytest.approx(near, rel=0.1)
    fitted = load(fit(recipe, digits, tmp_path / "run").path)
    assert torch.equal(fitted.model.proposal.means, mixture.means)
    assert torch.equal(fitted.draw(3, 7)[0], fitted.draw(5, 7)[0][:3])


def test_a_conditional_energy_is_studied_by_the_classes_of_its_pictures(tmp_path, monkeypatch):
    """Chains from noise have each class in turn, chains from pictures the pictures' own; restoring
    ends at what was measured.
    """
    digits = data.load("digits")
    asked = []
    film = fitting.film

    def watched(how, start, n, seed, at, cond, first):
        asked.append((start is None, cond))
        return film(how, start, n, seed, at, cond, first)

    monkeypatch.setattr(fitting, "film", watched)
    monkeypatch.setattr("gradlogp.harness.cas.IMAGES", 64)
    torch.manual_seed(0)
    evaluator = untrained()
    fit(override(RECIPES["ebm_class"](DIGITS, "quick", 0), TINY), digits, tmp_path / "run").close()
    found = evaluate(load(tmp_path / "run"), digits, evaluator, Silent())
    restored = next(row for row in found if row.get("axes") == {"noise": 0.3})
    assert torch.equal(torch.cat([cond for noise, cond in asked if noise]), torch.arange(40) % 10)
    assert torch.equal(
        torch.cat([cond for noise, cond in asked if not noise]),
        digits.test.labels[: chains.FROM_DATA],
    )
    with np.load(tmp_path / "run" / "items.npz") as kept:
        assert kept["restoring_steps"].tolist() == [0, 2, 5, 10] and kept["restoring"].shape == (
            1,
            4,
        )  # .1 is not followed
        taken = (
            kept["restoring_steps"].tolist().index(restored["evaluations"] // 2)
        )  # two chains a picture
        assert kept["restoring"][0, taken] == pytest.approx(restored["value"], abs=1e-4)
    assert "figure-restoring.png" in json.loads(
        (tmp_path / "run" / "samples" / "figures.json").read_text()
    )


def test_a_test_part_of_a_few_pictures_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlogp.harness.cas.IMAGES", 64)
    digits = data.load("digits")
    few, n = replace(digits, test=digits.test[:8]), 8
    evaluator = untrained()
    fit(override(RECIPES["ebm"](DIGITS, "quick", 0), TINY), few, tmp_path / "run").close()
    rows = evaluate(load(tmp_path / "run"), few, evaluator, Silent())
    assert next(row for row in rows if row["metric"] == "fd")["n"] == n
    films = json.loads((tmp_path / "run" / "samples" / "films.json").read_text())
    with Image.open(tmp_path / "run" / "samples" / "chain-data.png") as picture:
        assert (
            round(picture.height / picture.width * len(films["chain-data"])) == n
        )  # a chain a row
